"""How a run begins: its folder is taken when all its workers are ready."""

import contextlib
from types import SimpleNamespace

import pytest

from keras_resnet.devices import agreement
from keras_resnet.devices.find import ALONE
from keras_resnet.devices.links import Links, WorkerFailed
from keras_resnet.runs.begin import taken

JOB = SimpleNamespace(
    hardware=ALONE, splits=SimpleNamespace(root=None), settings=lambda: {"seed": 0}
)


def test_the_chief_takes_the_folder_alone(tmp_path):
    with contextlib.ExitStack() as held:
        assert not taken(JOB, tmp_path / "run", held)
    assert (tmp_path / "run" / "settings.json").exists()


def test_nothing_is_written_where_another_worker_cannot_build(tmp_path, monkeypatch):
    class Failed(Links):
        def exchange(self, value):
            raise WorkerFailed(1, "no such weights", True)

    monkeypatch.setattr(agreement, "_links", Failed(0, {}))
    with contextlib.ExitStack() as held:
        with pytest.raises(ValueError, match="Worker 1 can't begin: no such weights"):
            taken(JOB, tmp_path / "run", held)
    assert not (tmp_path / "run").exists()
