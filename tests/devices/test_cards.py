"""A graphics card that isn't computed on is told of, and several commands share one."""

import os
import warnings

import pytest

from keras_resnet.__main__ import main
from keras_resnet.devices import cards, find
from keras_resnet.devices.cluster import Workers
from keras_resnet.runs import evaluate as evaluation
from keras_resnet.runs.predict import load_classifier
from tests.conftest import REPOSITORY


@pytest.fixture
def hidden(monkeypatch):
    """No variable hides cards, and there is neither a driver nor its program."""
    for name in cards.CPU_CHOSEN | cards.CPU_CHOSEN_IN_JAX:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(find, "_gpus", lambda backend: [])
    monkeypatch.setattr(find, "_cpus", lambda backend, count: find.ALONE)


@pytest.fixture
def no_card(hidden, monkeypatch, tmp_path):
    monkeypatch.setattr(cards, "DRIVER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture(params=["driver", "program"])
def card(no_card, tmp_path, request):
    """A card, of which the driver or `nvidia-smi` tells."""
    if request.param == "driver":
        (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    else:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
        program.chmod(0o755)


SAID = (
    "An NVIDIA graphics card is here, but tensorflow can't use it: this computes on the"
)


def test_a_card_that_cannot_be_used_is_told_of(card, monkeypatch):
    with pytest.warns(UserWarning, match=SAID) as told:
        assert find.find_devices() == find.ALONE
    assert len(told) == 1 and "\n" not in str(told[0].message)
    with monkeypatch.context() as patch:  # In a worker of two.
        patch.setattr(find, "find_workers", lambda: Workers(("a:1", "b:1"), 2))
        patch.setattr(find.workers, "join", lambda *_: None)
        with pytest.warns(UserWarning, match=SAID):
            assert find.find_devices().workers == 2
    monkeypatch.setattr(evaluation, "load", lambda run: 1 / 0)  # Comes later.
    with pytest.raises(ZeroDivisionError), pytest.warns(UserWarning, match=SAID):
        evaluation.evaluate("run")


@pytest.mark.parametrize(
    ("variable", "value"),
    [(name, value) for name, values in cards.CPU_CHOSEN.items() for value in values],
)
def test_who_chose_the_cpu_is_told_nothing(card, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with warnings.catch_warnings(action="error"):
        find.find_devices()


def test_what_jax_alone_reads_is_heeded_in_jax_alone(card, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with warnings.catch_warnings(action="error"):
        cards.warn_of_unused("jax")
    for backend in ("tensorflow", "torch"):
        with pytest.warns(UserWarning, match=f"but {backend} can't use it"):
            cards.warn_of_unused(backend)


def test_a_request_for_the_cpu_and_cards_in_use_are_told_nothing(card, monkeypatch):
    with warnings.catch_warnings(action="error"):
        find.find_devices("cpu")
        monkeypatch.setattr(find, "_gpus", lambda backend: ["gpu:0"])
        find.warn_of_unused_card()


def test_who_predicts_or_serves_is_told(card):
    with pytest.warns(UserWarning, match=SAID):
        load_classifier(REPOSITORY / "saved_models/quickstart_seed0")


@pytest.mark.parametrize("script", [None, "exit 9", "echo 'No devices were found'"])
def test_without_a_card_nothing_is_told(no_card, tmp_path, script):
    if script is not None:  # The program may lie where there is no card.
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    with warnings.catch_warnings(action="error"):
        find.find_devices()


@pytest.mark.parametrize(
    ("command", "grows"),
    [
        (["train", "--plan"], True),
        (["train"], False),
        (["evaluate", "run"], True),
        (["predict", "run", "a.png"], True),
        (["export", "run"], True),
        (["convert", "a.npz", "out"], True),
        (["serve", "run"], True),
    ],
)
@pytest.mark.parametrize("own", [None, "0"])
def test_all_but_training_share_a_card(monkeypatch, command, grows, own):
    names = {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    for name in names:
        monkeypatch.setenv(name, own or "")
        if own is None:
            monkeypatch.delenv(name)
    monkeypatch.setattr("keras_resnet.cli.run._done", lambda options: 0)
    assert main(command) == 0
    expected = own or (None if not grows else "new")
    for name, value in names.items():
        assert os.environ.get(name) == (value if expected == "new" else expected)
