"""Images, the classes that they are asked about, and the maps that answer."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked, checked_images
from keras_resnet.analysis.differentiation import as_array, outputs
from keras_resnet.analysis.dissection import Dissected
from keras_resnet.analysis.graphs import without_xla

# One class for all images, one for each, or None: the class predicted for each.
Classes: TypeAlias = int | np.ndarray | list[int] | None


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """How much each part of an image speaks for a class.

    Attributes:
        method: ``"cam"``, ``"grad_cam"`` or ``"occlusion"``.
        layer: Name of the layer whose feature maps are used; `None` of occlusion.
        maps: ``(images, height, width)``, of the feature maps' size or, of occlusion, of
            the images'. What is positive speaks for the class, what is negative against.
        classes: The class that was asked for, by image, integers ``(images,)``.
        scores: Its score before the softmax, ``(images,)``.
        size: Height and width of the images.
    """

    method: str
    layer: str | None
    maps: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]

    def heat(self) -> np.ndarray:
        """The maps as pictures of what speaks for the class.

        As in Selvaraju et al. 2017, they go through a ReLU and are enlarged bilinearly.
        Here each is divided by its greatest value, too.

        Returns:
            Numbers from 0 to 1, ``(images, height, width)`` of the images' size; 0
            everywhere where nothing speaks for the class.
        """
        positive = np.maximum(self.maps, 0).astype("float32")[..., None]
        enlarged = keras.ops.image.resize(
            positive, self.size, interpolation="bilinear", data_format="channels_last"
        )
        heat = as_array(enlarged)[..., 0]
        greatest = heat.max(axis=(1, 2), keepdims=True)
        return heat / np.where(greatest > 0, greatest, 1)


class Asked:
    """Images, the classes that are asked for, and their scores."""

    def __init__(
        self, network: Dissected, images: Any, classes: Classes, batch_size: int
    ) -> None:
        model = network.model
        check_weights(model)
        self.images: np.ndarray = checked_images(model, images)
        n = len(self.images)
        self.parts: list[slice] = [
            slice(start, start + batch_size) for start in range(0, n, batch_size)
        ]
        # Class 0 is one of every classifier.
        asked = np.asarray(0 if classes is None else classes)
        given = np.full(n, asked) if asked.ndim == 0 else asked
        self.classes: np.ndarray = checked(model, self.images, given)[1]
        height, width = channels_last(self.images).shape[1:3]
        self.size: tuple[int, int] = height, width
        self._input: keras.KerasTensor = model.input
        self._scoring: keras.Model = self._up_to(network.scores)
        self._scores: np.ndarray = self.scores(self.images)
        if classes is None:
            self.classes = self._scores.argmax(axis=1)

    def _up_to(self, tensor: keras.KerasTensor) -> keras.Model:
        return without_xla(keras.Model(self._input, [tensor]))

    def _predicted(self, model: keras.Model, images: np.ndarray) -> np.ndarray:
        batches = (images[part] for part in self.parts)
        found = [one for (one,) in outputs(model, batches, training=False)]
        return np.concatenate(found)

    def maps(self, tensor: keras.KerasTensor) -> np.ndarray:
        """The feature maps of the images, in Keras's order of channels."""
        return self._predicted(self._up_to(tensor), self.images)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores of all classes for as many images, ``(images, classes)``."""
        return self._predicted(self._scoring, images)

    def probability(self, images: np.ndarray) -> np.ndarray:
        """The probability of each image's class, ``(images,)``."""
        scores = self.scores(images).astype("float64")
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers[np.arange(len(scores)), self.classes] / powers.sum(axis=1)

    def attribution(
        self, method: str, layer: str | None, maps: np.ndarray
    ) -> Attribution:
        """The result of an analysis."""
        return Attribution(
            method=method,
            layer=layer,
            maps=maps,
            classes=self.classes,
            scores=self._scores[np.arange(len(maps)), self.classes],
            size=self.size,
        )


def channels_last(images: np.ndarray) -> np.ndarray:
    """Images or maps in Keras's order of channels, with the channels last."""
    last = keras.config.image_data_format() == "channels_last"
    return images if last else np.moveaxis(images, 1, -1)


def channels_in_place(images: np.ndarray) -> np.ndarray:
    """Images with the channels last, in Keras's order of channels."""
    last = keras.config.image_data_format() == "channels_last"
    return images if last else np.moveaxis(images, -1, 1)
