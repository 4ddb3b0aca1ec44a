"""The rows of a run's history in other people's tools, if they are installed.

A row is logged when it is in ``history.csv``, under its step. When a run goes on, what
the process before logged after its last checkpoint is replaced, not doubled.
"""

import importlib
import shutil
import uuid
import warnings

import keras

from keras_resnet.config.lookup import find
from keras_resnet.training.history import read_history


class _RowLogger(keras.callbacks.Callback):
    """Logs the rows of the history; those of before the start first."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.rows = None
        self.failed = False

    def on_train_begin(self, logs=None):
        if self.rows is None:  # A run that goes on calls `fit` more than once.
            self.rows = 0
            self._try(self.begin)
            self._try(self._log_new)

    def on_epoch_end(self, epoch, logs=None):
        self._try(self._log_new)

    def end(self):
        """Closes what `begin` opened."""
        if self.rows is not None:
            self._try(self.close)

    def identity(self, tool):
        """Of the run in the other tool, kept in the run's folder.

        A folder that is removed and made again, or one of the same name on another
        machine, holds another run; a copy of a folder is the same run.
        """
        path = self.folder / f"{tool}_id.txt"
        if not path.exists():
            path.write_text(uuid.uuid4().hex)
        return path.read_text()

    def _try(self, function):
        # No training ends because someone else can't be told of it.
        if self.failed:
            return
        try:
            function()
        except Exception as error:
            self.failed = True
            warnings.warn(
                f"{type(self).__name__} can't be told of {self.folder} any more "
                f"({type(error).__name__}: {error}); training goes on without.",
                stacklevel=2,
            )

    def _log_new(self):
        rows = read_history(self.folder / "history.csv")
        for row in rows[self.rows :]:
            self.log(int(row["step"]), {k: v for k, v in row.items() if k != "step"})
        self.rows = len(rows)


class TensorBoard(_RowLogger):
    """Scalars, training images and the graph, under ``tensorboard/`` in the run.

    Args:
        folder: The run's.
        images: uint8 images ``(n, height, width, channels)`` as training sees them.
    """

    def __init__(self, folder, images=None):
        super().__init__(folder)
        self.images = images

    def begin(self):
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

    def log(self, step, values):
        import tensorflow as tf

        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()

    def close(self):
        self.writer.close()


class WeightsAndBiases(_RowLogger):
    """A run of Weights & Biases, named like the run's folder."""

    def begin(self):
        import wandb

        self.run = wandb.init(
            project="keras_resnet",
            name=self.folder.name,
            id=self.identity("wandb"),
            dir=self.folder,
            resume="allow",
        )

    def log(self, step, values):
        # Steps that it has already, it leaves as they are.
        if step > self.run.step or step == 0:
            self.run.log(values, step=step)

    def close(self):
        self.run.finish()


class MLflow(_RowLogger):
    """A run of MLflow, named like the run's folder."""

    def begin(self):
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

    def log(self, step, values):
        import mlflow

        mlflow.log_metrics(values, step=step)

    def close(self):
        import mlflow

        mlflow.end_run()


LOGGERS = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def check(names):
    """Raises an error unless there are loggers of these names, and they can log.

    Raises:
        ValueError: If there is no such logger.
        ImportError: If its package is not installed.
    """
    for name in names:
        find(LOGGERS, name, kind="logger")
        importlib.import_module(name)
