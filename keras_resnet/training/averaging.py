"""A moving average of the weights over past updates, to validate and to keep."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.training import batch_norm
from keras_resnet.training.callbacks import Logs, Steps, synchronize, updates_done
from keras_resnet.training.distillation import without_teacher


class AverageWeights(keras.callbacks.Callback):
    """Keeps an exponential moving average of weights and batch-norm statistics.

    The model has the averages during validation and its own weights again afterwards;
    when training ends, it keeps the averages. Keras's own average (``use_ema``) leaves
    the statistics out, with which the averaged weights then do not agree; torchvision
    (references/classification, ``ExponentialMovingAverage``) and timm average them too.

    What is saved at the end of an epoch, as by `keras.callbacks.ModelCheckpoint`, are
    the model's own weights. Place this callback before others that read the weights
    when training ends.

    Args:
        decay: Share of the average that is kept at each of its updates, in [0, 1). The
            first update copies the weights, and as in TensorFlow's
            ``ExponentialMovingAverage`` the decay rises with the updates u of the
            average: it is at most ``(1 + u) / (10 + u)``, or short trainings would end
            near their beginning.
        every: Updates of the weights between two updates of the average.
        steps: `Steps` that count the updates; `None` asks the optimizer.
        keep: Whether the model keeps the averages when training ends. Without,
            `put_in` gives them to it.

    Attributes:
        averages: The averages so far, NumPy arrays in the order of ``model.weights``, or
            `None` before the first update.
        updates: Number of updates of the average so far.

    Raises:
        ValueError: If ``decay`` is outside [0, 1), or ``every`` is less than 1.
    """

    def __init__(
        self,
        decay: float,
        every: int = 1,
        *,
        steps: Steps | None = None,
        keep: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= decay < 1 or every < 1:
            raise ValueError(
                "`decay` must be in [0, 1) and `every` at least 1. "
                f"Received: decay={decay}, every={every}."
            )
        self.decay: float = decay
        self.every: int = every
        self.steps: Steps | None = steps
        self.keep: bool = keep
        self.averages: list[np.ndarray] | None = None
        self.updates: int = 0
        self.own: list[np.ndarray] | None = None

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on."""
        return {"updates": self.updates, "arrays": self.averages or []}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.updates = state["updates"]
        self.averages = state.get("arrays") or None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.every == 1 or updates_done(self.steps, self.model) % self.every == 0:
            self.update()

    def update(self) -> None:
        """Moves the averages towards the model's weights."""
        synchronize(self.model)
        values = self._read()
        if self.averages is None:
            self.averages = values
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, value in zip(self.averages, values, strict=True):
            mean += np.asarray((1 - decay) * (value - mean), mean.dtype)

    def on_test_begin(self, logs: Logs = None) -> None:
        self.own = self._read(replicas=True)
        self.put_in()

    def on_test_end(self, logs: Logs = None) -> None:
        if self.own is not None:
            self._write(self.own)
        self.own = None

    def on_train_end(self, logs: Logs = None) -> None:
        if self.keep:
            self.put_in()

    def put_in(self) -> None:
        """Gives the model the averages, if there are any yet."""
        if self.averages is not None:
            self._write(self.averages)
            # Of several workers each has averaged the statistics of its own replicas.
            batch_norm.average(self.model)

    def of(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        """The averages of some of the model's weights.

        Args:
            variables: Among ``model.weights``, once there are averages.
        """
        weights = map(id, self._weights())
        found = dict(zip(weights, self.averages or [], strict=True))
        return [found[id(variable)] for variable in variables]

    def _write(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self._weights(), values, strict=True):
            distribute.write(variable, value)

    def _read(self, replicas: bool = False) -> list[np.ndarray]:
        values = []
        for variable in self._weights():
            value = distribute.read(variable)
            if not replicas and value.ndim > len(variable.shape):
                value = value.mean(0)
            values.append(np.array(value))
        return values

    def _weights(self) -> list[keras.Variable]:
        return without_teacher(self.model.weights, self.model)
