"""Callbacks that log a run to other tools: TensorBoard, Weights & Biases, MLflow.

They log the rows of ``history.csv``, each under its step. When a run goes on, what the
process before has logged after its last checkpoint is replaced, not doubled.
"""

import importlib
import pathlib
import shutil
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


class _RowLogger(keras.callbacks.Callback):
    """Logs the rows of a run's history, first those from before the start."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder: pathlib.Path = local_path(folder)
        self.rows: int | None = None
        self.failed: bool = False

    def begin(self) -> None:
        """Opens the other tool's log."""
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
            self._try(self.begin)
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

    def _log_new(self) -> None:
        rows = read_history(self.folder / "history.csv")
        for row in rows[self.rows :]:
            self.log(int(row["step"]), {k: v for k, v in row.items() if k != "step"})
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

    def begin(self) -> None:
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

    def log(self, step: int, values: Mapping[str, float]) -> None:
        import tensorflow as tf

        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases(_RowLogger):
    """Logs to a run of Weights & Biases that is named like the run's folder."""

    run: Any = None

    def begin(self) -> None:
        import wandb

        self.run = wandb.init(
            project="keras_resnet",
            name=self.folder.name,
            id=self.identity("wandb"),
            dir=self.folder,
            resume="allow",
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # Steps that it has already, it leaves as they are.
        if step > self.run.step or step == 0:
            self.run.log(values, step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow(_RowLogger):
    """Logs to a run of MLflow that is named like the run's folder."""

    def begin(self) -> None:
        import mlflow

        mlflow.set_experiment("keras_resnet")
        tags = {
            "identity": self.identity("mlflow"),
            "folder": str(self.folder.resolve()),
        }
        before = mlflow.search_runs(
            filter_string=f"tags.identity = '{tags['identity']}'", output_format="list"
        )
        for run in before:  # A part of this one.
            mlflow.delete_run(run.info.run_id)
        mlflow.start_run(run_name=self.folder.name, tags=tags)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        import mlflow

        mlflow.log_metrics(values, step=step)

    def close(self) -> None:
        import mlflow

        mlflow.end_run()


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
