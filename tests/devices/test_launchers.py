"""Who starts several processes by a launcher that isn't read is told so."""

import warnings

import pytest

from keras_resnet.devices.find import find_devices
from keras_resnet.devices.launchers import LAUNCHERS, NAMING

VERTEX = '{"cluster": {"workerpool0": ["a:1"]%s}, "task": {"type": "workerpool0"}}'


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*LAUNCHERS, *NAMING):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORLD_SIZE", "2"),
        ("OMPI_COMM_WORLD_SIZE", "4"),
        ("PMI_SIZE", "2"),
        ("SM_HOSTS", '["algo-1", "algo-2"]'),
        ("CLUSTER_SPEC", VERTEX % ', "workerpool1": ["b:1"]'),
        ("JOB_COMPLETION_INDEX", "1"),
    ],
)
def test_a_launcher_that_is_not_read_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.warns(UserWarning, match=f"{name}=.*this process trains alone") as said:
        find_devices("cpu")
    assert len(said) == 1
    # By this a user says that alone is meant.
    monkeypatch.setenv("KERAS_RESNET_WORKERS", "localhost:1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_devices("cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORLD_SIZE", "1"),
        ("WORLD_SIZE", "large"),
        ("SM_HOSTS", '["algo-1"]'),
        ("SM_HOSTS", "3"),
        ("CLUSTER_SPEC", VERTEX % ""),
        ("CLUSTER_SPEC", "[]"),
    ],
)
def test_one_process_is_no_reason_to_warn(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_devices("cpu")
