"""Callbacks that log a run to other tools: TensorBoard, Weights & Biases, MLflow.

They log the rows of the history, each under its step. When a run goes on, a row that the
process before has logged isn't logged again.

A run that the user has begun in the other tool, or has named by a variable of the
environment, stays the user's: rows are added to it, and it is neither ended nor renamed
nor deleted.
"""

import functools
import importlib
import os
import pathlib
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_resnet.config.lookup import find
from keras_resnet.files import local_path
from keras_resnet.training.callbacks import Logs
from keras_resnet.training.history import read_history

IN_EACH_ROW = "loss"
MLFLOW_HOLDER = "keras_resnet.identity"  # Of a user's run: whose rows it holds.


class _RowLogger(keras.callbacks.Callback):
    """Logs the rows of a run's history, first those from before the start."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder: pathlib.Path = local_path(folder)
        # `fit` has them read from memory: the file is written as well as it can be.
        self.history: Callable[[], list[dict[str, float]]] = functools.partial(
            read_history, self.folder / "history.csv"
        )
        self.rows: int | None = None
        self.logged: int = -1  # The last step that the other tool had at the begin.
        self.failed: bool = False

    def begin(self) -> int:
        """Opens the other tool's log; returns the last step there, -1 if there is none."""
        raise NotImplementedError

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs one row."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the other tool's log."""
        raise NotImplementedError

    def on_train_begin(self, logs: Logs = None) -> None:
        if self.rows is None:  # A run that goes on calls `fit` more than once.
            self.rows = 0
            self._try(self._begin)
            self._try(self._log_new)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._try(self._log_new)

    def end(self) -> None:
        """Closes what `begin` opened, if it did."""
        if self.rows is not None:
            self._try(self.close)

    def identity(self, tool: str) -> str:
        """The run's id in the other tool, which is kept in the run's folder.

        A folder that is removed and made again, or one of the same name on another
        machine, holds another run; a copy of a folder is the same run.
        """
        path = self.folder / f"{tool}_id.txt"
        if not path.exists():
            path.write_text(uuid.uuid4().hex)
        return path.read_text()

    def _try(self, function: Callable[[], None]) -> None:
        # A tool that fails is no reason to end the training.
        if self.failed:
            return
        try:
            function()
        except Exception as error:
            self.failed = True
            warnings.warn(
                f"{type(self).__name__} can't log {self.folder} any more "
                f"({type(error).__name__}: {error}); training goes on without it.",
                stacklevel=2,
            )

    def _begin(self) -> None:
        self.logged = self.begin()

    def _log_new(self) -> None:
        rows = self.history()
        for row in rows[self.rows :]:
            if row["step"] > self.logged:
                values = {name: row[name] for name in row if name != "step"}
                self.log(int(row["step"]), values)
        self.rows = len(rows)


class TensorBoard(_RowLogger):
    """Writes scalars, images and the graph to ``tensorboard/`` in the run's folder.

    Args:
        folder: The run's folder.
        images: uint8 images ``(n, height, width, channels)`` as training sees them.
    """

    def __init__(self, folder: pathlib.Path, images: np.ndarray | None = None) -> None:
        super().__init__(folder)
        self.images: np.ndarray | None = images
        self.writer: Any = None

    def begin(self) -> int:
        import tensorflow as tf

        shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        self.writer = tf.summary.create_file_writer(str(self.folder / "tensorboard"))
        with self.writer.as_default(step=0):
            if self.images is not None:
                tf.summary.image("training images", self.images, max_outputs=16)
            if keras.backend.backend() == "tensorflow":
                forward = tf.function(lambda images: self.model(images, training=False))
                shape = (None, *self.model.input.shape[1:])
                signature = tf.TensorSpec(shape, tf.float32)
                tf.summary.graph(forward.get_concrete_function(signature).graph)
        return -1

    def log(self, step: int, values: Mapping[str, float]) -> None:
        import tensorflow as tf

        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases(_RowLogger):
    """Logs to the user's run of Weights & Biases, else to one named like the run's folder.

    The user's is the one that is active in this process, or that ``WANDB_RUN_ID`` names. It
    counts its own steps, so rows bring theirs as the metric ``keras_resnet/step``. Of a run
    of ours, ``WANDB_PROJECT``, ``WANDB_NAME``, ``WANDB_DIR`` and ``WANDB_RESUME`` decide
    what they name.
    """

    run: Any = None
    opened: bool = False
    own: bool = False

    def begin(self) -> int:
        import wandb

        identity = self.identity("wandb")
        self.opened = wandb.run is None
        self.own = self.opened and not os.environ.get("WANDB_RUN_ID")
        self.run = wandb.init(**self._options(identity)) if self.opened else wandb.run
        if self.own:
            return self.run.starting_step - 1
        summary = self.run.summary
        before = summary.get("keras_resnet/run") == identity
        summary["keras_resnet/run"] = identity
        return summary.get("keras_resnet/step", -1) if before else -1

    def _options(self, identity: str) -> dict[str, Any]:
        """What `wandb.init` is told: what variables of the user's say, else ours."""
        # Not left to wandb, which reads variables once for all runs of a process.
        read = os.environ.get
        return {
            "project": read("WANDB_PROJECT") or "keras_resnet",
            "name": read("WANDB_NAME") or (self.folder.name if self.own else None),
            "id": read("WANDB_RUN_ID") or identity,
            "dir": read("WANDB_DIR") or self.folder,
            "resume": read("WANDB_RESUME") or "allow",
        }

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.own:
            self.run.log(values, step=step)
            return
        for name in values:
            self.run.define_metric(name, step_metric="keras_resnet/step")
        self.run.log({**values, "keras_resnet/step": step})

    def close(self) -> None:
        if self.opened:
            self.run.finish()


class MLflow(_RowLogger):
    """Logs to the user's run of MLflow, else to one that is named like the run's folder.

    The user's is the one that is active in this process, or that ``MLFLOW_RUN_ID`` names.
    Where it holds another training's rows already, this one's run becomes its child. A run
    of ours is in the experiment that ``MLFLOW_EXPERIMENT_ID`` (which
    `mlflow.set_experiment` sets) or ``MLFLOW_EXPERIMENT_NAME`` names, else in one called
    ``keras_resnet``. MLflow's active run and experiment stay as they are.
    """

    client: Any = None
    run_id: str = ""
    own: bool = False

    def begin(self) -> int:
        import mlflow

        # Not `mlflow.start_run` and the like, which change what is active for everybody.
        self.client = mlflow.MlflowClient()
        active = mlflow.active_run()
        given = active.info.run_id if active else os.environ.get("MLFLOW_RUN_ID")
        identity = self.identity("mlflow")
        self.own = not (given and self._is_free(given, identity))
        self.run_id = self._own_run(identity, given) if self.own else given
        if not self.own and self._holder(self.run_id) is None:
            self.client.set_tag(self.run_id, MLFLOW_HOLDER, identity)
            return -1
        history = self.client.get_metric_history(self.run_id, IN_EACH_ROW)
        return max((metric.step for metric in history), default=-1)

    def _holder(self, run_id: str) -> str | None:
        """The identity of the training whose rows a run of the user's holds."""
        return self.client.get_run(run_id).data.tags.get(MLFLOW_HOLDER)

    def _is_free(self, run_id: str, identity: str) -> bool:
        return self._holder(run_id) in (None, identity)

    def _own_run(self, identity: str, parent: str | None) -> str:
        """The id of this run's own run in MLflow, which is made if there is none."""
        from mlflow.tracking.context.registry import resolve_tags

        experiment = self._experiment(parent)
        before = self.client.search_runs(
            [experiment], filter_string=f"tags.identity = '{identity}'"
        )
        if before:
            run_id = before[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {"identity": identity, "folder": str(self.folder.resolve())}
        if parent:
            tags["mlflow.parentRunId"] = parent
        # With what MLflow says itself: the user, the program and its commit.
        made = self.client.create_run(
            experiment, run_name=self.folder.name, tags=resolve_tags(tags)
        )
        return made.info.run_id

    def _experiment(self, parent: str | None) -> str:
        """The id of the experiment for a run of ours, which is made if there is none."""
        if parent:
            return self.client.get_run(parent).info.experiment_id
        chosen = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if chosen:
            return chosen
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "keras_resnet"
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics)

    def close(self) -> None:
        if self.own:
            self.client.set_terminated(self.run_id)


LOGGERS: dict[str, type[_RowLogger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def check(names: Iterable[str]) -> None:
    """Raises an error unless there are loggers of these names, with their packages.

    Raises:
        ValueError: If there is no such logger.
        ImportError: If its package is not installed.
    """
    for name in names:
        find(LOGGERS, name, kind="logger")
        importlib.import_module(name)
