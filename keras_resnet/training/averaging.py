"""An average of the weights of past updates, to validate and to keep."""

import keras
import numpy as np

from keras_resnet.devices import distribute
from keras_resnet.training import batch_norm
from keras_resnet.training.callbacks import synchronize
from keras_resnet.training.distillation import without_teacher


class AverageWeights(keras.callbacks.Callback):
    """Keeps an exponential moving average of weights and batch-norm statistics.

    Validation sees the average, and `put_in` leaves it in the model. Keras's own
    (``use_ema``) leaves the statistics out, with which the averaged weights then do not
    agree; torchvision (references/classification, ``ExponentialMovingAverage``) and
    timm average them too.

    Args:
        average: A `WeightAverage`. The first update copies the weights, and as in
            TensorFlow's the decay rises with the updates u of the average: it is at
            most ``(1 + u) / (10 + u)``, or short runs would end near their beginning.
        steps: `callbacks.Steps`.
    """

    def __init__(self, average, steps):
        super().__init__()
        self.average = average
        self.steps = steps
        self.averages = None
        self.updates = 0
        self.own = None

    def state(self):
        return {"updates": self.updates, "arrays": self.averages or []}

    def restore(self, state):
        self.updates = state["updates"]
        self.averages = state.get("arrays") or None

    def on_train_batch_end(self, batch, logs=None):
        if self.steps.done % self.average.every == 0:
            self.update()

    def update(self):
        """Moves the averages towards the model's weights."""
        synchronize(self.model)
        values = self._read()
        if self.averages is None:
            self.averages = values
        self.updates += 1
        decay = min(self.average.decay, (1 + self.updates) / (10 + self.updates))
        for mean, value in zip(self.averages, values, strict=True):
            mean += np.asarray((1 - decay) * (value - mean), mean.dtype)

    def on_test_begin(self, logs=None):
        self.own = self._read(replicas=True)
        self.put_in()

    def on_test_end(self, logs=None):
        self._write(self.own)
        self.own = None

    def put_in(self):
        """Gives the model the averages, if there are any yet."""
        if self.averages is not None:
            self._write(self.averages)
            # Of several workers each has averaged the statistics of its own replicas.
            batch_norm.average(self.model)

    def _write(self, values):
        for variable, value in zip(self._weights(), values, strict=True):
            distribute.write(variable, value)

    def _read(self, replicas=False):
        values = []
        for variable in self._weights():
            value = distribute.read(variable)
            if not replicas and value.ndim > len(variable.shape):
                value = value.mean(0)
            values.append(np.array(value))
        return values

    def _weights(self):
        return without_teacher(self.model.weights, self.model)
