"""What other people's tools are told of a run, by stand-ins for their packages."""

import sys
import types

import pytest

from keras_resnet.training import loggers

HISTORY = "step,loss\n2,1.5\n4,1.25\n"


class Server:
    """Keeps runs as an MLflow server does, as far as the logger asks."""

    def __init__(self):
        self.runs = {}

    def set_experiment(self, name):
        self.experiment = name

    def search_runs(self, filter_string, output_format):
        key, _, value = filter_string.removeprefix("tags.").split(" ", 2)
        return [
            types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id))
            for run_id, run in self.runs.items()
            if f"'{run['tags'][key]}'" == value
        ]

    def delete_run(self, run_id):
        del self.runs[run_id]

    def start_run(self, run_name, tags):
        self.current = {"name": run_name, "tags": tags, "rows": {}}
        self.runs[max(self.runs, default=0) + 1] = self.current

    def log_metrics(self, values, step):
        self.current["rows"][step] = values

    def end_run(self):
        self.current = None


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)
    return server


def log(folder):
    folder.mkdir(exist_ok=True)
    (folder / "history.csv").write_text(HISTORY)
    logger = loggers.MLflow(folder)
    logger.on_train_begin()
    logger.end()
    assert not logger.failed


def test_a_run_that_goes_on_is_one_run_of_mlflow(server, tmp_path):
    log(tmp_path / "run")
    log(tmp_path / "run")
    [run] = server.runs.values()
    assert run["name"] == "run"
    assert run["rows"] == {2: {"loss": 1.5}, 4: {"loss": 1.25}}


def test_a_run_of_the_same_folder_name_is_another(server, tmp_path):
    log(tmp_path / "it's mine")
    (tmp_path / "it's mine").rename(tmp_path / "before")
    log(tmp_path / "it's mine")
    assert len(server.runs) == 2
