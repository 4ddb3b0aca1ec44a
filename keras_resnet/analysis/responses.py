"""How strong the responses of a network's 3x3 layers are (He et al. 2016a, fig. 7)."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked_images
from keras_resnet.analysis.differentiation import outputs
from keras_resnet.analysis.graphs import clone, tensors, without_xla


@dataclass(frozen=True, kw_only=True)
class Responses:
    """Standard deviations of the responses of a network's 3x3 layers.

    Attributes:
        layers: Names of the convolutions, in the order of the network.
        measured: Name of the layer whose output is measured for each of them: the batch
            norm right behind the convolution or, where there is none, as behind the last
            convolution of a block of v2, the convolution itself.
        deviation: Standard deviation of each response over all images, positions and
            channels, ``(layers,)``.
        images: Number of images.
        training: Whether batch norm normalized by the batch.
    """

    layers: tuple[str, ...]
    measured: tuple[str, ...]
    deviation: np.ndarray
    images: int
    training: bool

    def after_norm(self) -> np.ndarray:
        """Whether a batch norm's output is measured, Booleans of shape ``(layers,)``."""
        pairs = zip(self.layers, self.measured, strict=True)
        return np.array([layer != measured for layer, measured in pairs])


def layer_responses(
    model: keras.Model,
    images: np.ndarray,
    *,
    training: bool = False,
    batch_size: int = 128,
) -> Responses:
    """Measures the responses of a network's 3x3 layers.

    A response is the output of a layer after batch norm and before ReLU and addition
    (He et al. 2016a, sec. 4.2 and fig. 7): in a residual network it says how much a block
    changes what it gets. The figure shows them in the order of the layers, and sorted.

    Args:
        model: A functional model of images.
        images: ``(n, height, width, channels)``, as the model takes them.
        training: Whether batch norm normalizes by the batch, for a network that is not
            trained; by default it does by its moving statistics.
        batch_size: How many images are computed at a time.

    Raises:
        ValueError: If the model is not functional, has no 3x3 convolution or NaN in its
            weights, or if the images do not fit it.
    """
    finder = _Finder()
    cloned = clone(model, finder.call)
    if not finder.found:
        raise ValueError(
            "`model` must have 3x3 convolutions. Received: a model named "
            f"{model.name!r} without any."
        )
    check_weights(model)
    images = checked_images(model, images)
    measured = [_moments(tensor) for _, tensor in finder.found.values()]
    moments = without_xla(keras.Model(cloned.input, measured))
    batches = (
        images[start : start + batch_size]
        for start in range(0, len(images), batch_size)
    )
    total = sum(
        np.stack([np.float64(one).sum(axis=0) for one in of_batch])
        for of_batch in outputs(moments, batches, training=training)
    )
    mean, square = total.T / len(images)
    return Responses(
        layers=tuple(finder.found),
        measured=tuple(name for name, _ in finder.found.values()),
        deviation=np.sqrt(np.maximum(square - mean**2, 0)),
        images=len(images),
        training=training,
    )


def _moments(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """The mean and the mean square of each image's values, ``(batch, 2)``."""
    tensor = keras.ops.cast(tensor, keras.config.floatx())
    axes = tuple(range(1, len(tensor.shape)))
    parts = [keras.ops.mean(x, axis=axes) for x in (tensor, keras.ops.square(tensor))]
    return keras.ops.stack(parts, axis=1)


class _Finder:
    """Finds the output to measure for each 3x3 convolution: name and tensor."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, keras.KerasTensor]] = {}
        self._made: dict[int, str] = {}  # Which convolution made a tensor.

    def call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        """Calls an operation of the graph."""
        output = operation(*arguments, **options)
        if isinstance(operation, keras.layers.Conv2D):
            if operation.kernel_size == (3, 3) and operation.name not in self.found:
                self.found[operation.name] = operation.name, output
                self._made[id(output)] = operation.name
        elif isinstance(operation, keras.layers.BatchNormalization):
            for tensor in tensors(arguments):
                if id(tensor) in self._made:
                    self.found[self._made[id(tensor)]] = operation.name, output
        return output
