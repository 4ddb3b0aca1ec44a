"""What other people's tools are told of a run, and what is left as the user has it.

By stand-ins for the tools; by MLflow itself too where it is installed (`slow`).
"""

import os
import sys
import types

import pytest

from keras_resnet.training import loggers
from tests.helpers import fake_mlflow

ROWS = [(2, 1.5), (4, 1.25)]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "WANDB_")):
            monkeypatch.delenv(name)


def log(logger_of, folder, rows=ROWS):
    """What a training does with a logger, when it has these rows at its begin."""
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{step},{loss}\n" for step, loss in rows)
    (folder / "history.csv").write_text(f"step,loss\n{lines}")
    logger = logger_of(folder)
    logger.on_train_begin()
    logger.end()
    assert not logger.failed


# --- MLflow ------------------------------------------------------------------------


@pytest.fixture(params=["stand-in", pytest.param("mlflow", marks=pytest.mark.slow)])
def mlflow(request, monkeypatch, tmp_path):
    if request.param == "mlflow":
        mlflow = pytest.importorskip("mlflow")
        monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
        yield mlflow
        mlflow.end_run()
        mlflow.set_tracking_uri(None)
        return
    for name, module in fake_mlflow.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield sys.modules["mlflow"]


def runs_of(mlflow, experiment):
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def rows_of(mlflow, run):
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    return [(metric.step, metric.value) for metric in history]


def test_a_run_that_goes_on_is_one_run_of_mlflow(mlflow, tmp_path):
    log(loggers.MLflow, tmp_path / "run", ROWS[:1])
    [first] = runs_of(mlflow, "keras_resnet")
    log(loggers.MLflow, tmp_path / "run")
    [run] = runs_of(mlflow, "keras_resnet")
    assert run.info.run_id == first.info.run_id  # With what the user noted on it.
    assert run.info.run_name == "run"
    assert run.info.status == "FINISHED"
    assert run.data.tags["folder"] == str(tmp_path / "run")
    assert "mlflow.user" in run.data.tags
    assert rows_of(mlflow, run) == ROWS
    assert mlflow.active_run() is None


def test_a_run_of_the_same_folder_name_is_another_of_mlflow(mlflow, tmp_path):
    log(loggers.MLflow, tmp_path / "it's mine")
    (tmp_path / "it's mine").rename(tmp_path / "before")
    log(loggers.MLflow, tmp_path / "it's mine")
    assert len(runs_of(mlflow, "keras_resnet")) == 2


def test_the_users_experiment_of_mlflow_is_theirs(mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cats")
    log(loggers.MLflow, tmp_path / "named")
    assert [run.info.run_name for run in runs_of(mlflow, "cats")] == ["named"]
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    chosen = mlflow.MlflowClient().create_experiment("dogs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", chosen)  # As `set_experiment` does.
    log(loggers.MLflow, tmp_path / "by its id")
    assert [run.info.run_name for run in runs_of(mlflow, "dogs")] == ["by its id"]
    assert runs_of(mlflow, "keras_resnet") == []


def test_later_runs_of_the_user_are_where_they_would_have_been(mlflow, tmp_path):
    log(loggers.MLflow, tmp_path / "run")
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ
    later = mlflow.start_run()
    assert later.info.experiment_id == "0"


@pytest.mark.parametrize("named_by", ["it is active", "MLFLOW_RUN_ID"])
def test_the_users_run_of_mlflow_gets_the_rows_and_stays(
    mlflow, tmp_path, monkeypatch, named_by
):
    client = mlflow.MlflowClient()
    if named_by == "MLFLOW_RUN_ID":
        theirs = client.create_run("0", run_name="theirs").info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", theirs)
    else:
        theirs = mlflow.start_run().info.run_id
    client.set_tag(theirs, "identity", "of the user's own")
    name = client.get_run(theirs).info.run_name
    log(loggers.MLflow, tmp_path / "run", ROWS[:1])
    log(loggers.MLflow, tmp_path / "run")
    run = client.get_run(theirs)
    assert rows_of(mlflow, run) == ROWS
    assert (run.info.run_name, run.info.status) == (name, "RUNNING")
    assert run.info.lifecycle_stage == "active"
    assert run.data.tags["identity"] == "of the user's own"
    assert os.environ.get("MLFLOW_RUN_ID") == (
        theirs if named_by == "MLFLOW_RUN_ID" else None
    )
    # A further training, as of the next seed, has a run of its own beneath it.
    log(loggers.MLflow, tmp_path / "other", [(2, 7.0)])
    assert rows_of(mlflow, run) == ROWS
    [child] = [r for r in client.search_runs(["0"]) if r.info.run_id != theirs]
    assert child.data.tags["mlflow.parentRunId"] == theirs
    assert rows_of(mlflow, child) == [(2, 7.0)]
    log(loggers.MLflow, tmp_path / "other", [(2, 7.0), (4, 6.0)])
    assert rows_of(mlflow, child) == [(2, 7.0), (4, 6.0)]


# --- Weights & Biases ----------------------------------------------------------------


class FakeRun:
    """A run of Weights & Biases: what is logged under steps of its own counting."""

    def __init__(self, starting_step=0, **options):
        self.options, self.starting_step = options, starting_step
        self.summary, self.rows, self.x, self.finished = {}, {}, {}, False

    def log(self, values, step=None):
        step = max(self.rows, default=-1) + 1 if step is None else step
        assert step not in self.rows
        self.rows[step] = values
        self.summary |= values

    def define_metric(self, name, step_metric):
        self.x[name] = step_metric

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    module = types.ModuleType("wandb")
    module.run = None
    module.runs = []

    def init(**options):
        before = [run for run in module.runs if run.options.get("id") == options["id"]]
        start = max(before[-1].rows) + 1 if before else 0
        module.runs.append(FakeRun(start, **options))
        return module.runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_run_that_goes_on_is_one_run_of_wandb(wandb, tmp_path):
    log(loggers.WeightsAndBiases, tmp_path / "run", ROWS[:1])
    log(loggers.WeightsAndBiases, tmp_path / "run", [*ROWS[:1], (3, 1.3), (4, 1.25)])
    first, second = wandb.runs
    assert first.options == second.options
    assert first.options["project"] == "keras_resnet"
    assert first.options["name"] == "run"
    assert first.rows == {2: {"loss": 1.5}}
    assert second.rows == {3: {"loss": 1.3}, 4: {"loss": 1.25}}
    assert first.finished and second.finished


def test_variables_of_wandb_decide_what_they_name(wandb, tmp_path, monkeypatch):
    for name in ("PROJECT", "NAME", "DIR", "RESUME"):
        monkeypatch.setenv(f"WANDB_{name}", "theirs")
    log(loggers.WeightsAndBiases, tmp_path / "run")
    [run] = wandb.runs
    own = (tmp_path / "run" / "wandb_id.txt").read_text()
    assert run.options.pop("id") == own
    assert set(run.options.values()) == {"theirs"}


def test_the_run_that_wandb_is_told_to_take_is_taken(wandb, tmp_path, monkeypatch):
    # As the agent of a sweep does it.
    monkeypatch.setenv("WANDB_RUN_ID", "theirs")
    log(loggers.WeightsAndBiases, tmp_path / "run")
    [run] = wandb.runs
    assert (run.options["id"], run.options["name"]) == ("theirs", None)
    assert [row["keras_resnet/step"] for row in run.rows.values()] == [2, 4]
    assert run.finished


def test_the_users_active_run_of_wandb_gets_the_rows_and_stays(wandb, tmp_path):
    wandb.run = FakeRun()
    wandb.run.log({"theirs": 1}, step=100)  # It counts its own steps.
    log(loggers.WeightsAndBiases, tmp_path / "run", ROWS[:1])
    log(loggers.WeightsAndBiases, tmp_path / "run")
    rows = [row for row in wandb.run.rows.values() if "loss" in row]
    assert [(row["keras_resnet/step"], row["loss"]) for row in rows] == ROWS
    assert wandb.run.x == {"loss": "keras_resnet/step"}
    assert not wandb.run.finished
    assert wandb.runs == []
    log(loggers.WeightsAndBiases, tmp_path / "other", ROWS[:1])  # Of the next seed.
    assert wandb.run.rows[103] == {"loss": 1.5, "keras_resnet/step": 2}
