"""Which parts of an image speak for a class: class activation maps, Grad-CAM, occlusion."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.analysis.asked import (
    Asked,
    Attribution,
    Classes,
    channels_in_place,
    channels_last,
)
from keras_resnet.analysis.differentiation import (
    as_array,
    as_tensors,
    stateless,
    value_and_gradients,
)
from keras_resnet.analysis.dissection import dissect

Progress: TypeAlias = Callable[[int, int], object]


def class_activation_map(
    model: keras.Model,
    images: np.ndarray,
    classes: Classes = None,
    *,
    batch_size: int = 64,
) -> Attribution:
    """Computes class activation maps (Zhou et al. 2016, sec. 2).

    The mean of a map over its positions is the score of the class without the classifier's
    bias.

    Args:
        model: A functional classifier that ends with global average pooling
            (`keras.layers.GlobalAveragePooling2D`) and a `keras.layers.Dense`, or with the
            pooling of one map for each class.
        images: ``(n, height, width, channels)``, as the model takes them.
        classes: A class for all images, or integers ``(n,)``; by default the class that the
            network predicts for each.
        batch_size: How many images are computed at a time.

    Raises:
        ValueError: If the model is not functional, does not end that way, has fewer than
            two classes or NaN in its weights, or if images or classes do not fit it.
    """
    network = dissect(model)
    if network.pooled is None:
        raise ValueError(
            "`model` must end with global average pooling and one dense layer, for which "
            "alone class activation maps are defined. Received: a model named "
            f"{model.name!r} that ends otherwise. `grad_cam` takes it, too."
        )
    asked = Asked(network, images, classes, batch_size)
    maps = channels_last(asked.maps(network.tensors[network.pooled]))
    if network.classifier is None:  # Each map is that of a class.
        weights = np.eye(maps.shape[-1])
    else:
        kernel = keras.ops.convert_to_numpy(network.classifier.kernel)
        weights = kernel.astype("float64")
    weighted = np.einsum("nhwc,cn->nhw", maps, weights[:, asked.classes])
    return asked.attribution("cam", network.pooled, weighted)


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    classes: Classes = None,
    *,
    layer: str | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Attribution:
    """Computes Grad-CAM before its ReLU (Selvaraju et al. 2017, sec. 3, eq. 1 and 2).

    Of a network with global average pooling and a dense layer at its end it is the class
    activation map, divided by the number of positions.

    Args:
        model: A functional classifier.
        images: As of `class_activation_map`.
        classes: As of `class_activation_map`.
        layer: Name of the layer whose feature maps are weighted; by default of that whose
            maps are pooled or, without global average pooling, of the last one with maps.
        batch_size: As of `class_activation_map`.
        progress: Called with the number of images done and that of all.

    Raises:
        ValueError: If the model is not functional, has fewer than two classes or NaN in
            its weights; if the layer gives no feature maps; or if images or classes do not
            fit the model.
    """
    network = dissect(model)
    layer = network.maps(layer)
    asked = Asked(network, images, classes, batch_size)
    gradients = _by_maps(model, layer, network.tensors[layer].dtype)
    maps = asked.maps(network.tensors[layer])
    weighted = []
    for part in asked.parts:
        gradient = gradients(maps[part], asked.images[part], asked.classes[part])
        weights = channels_last(gradient).astype("float64").mean(axis=(1, 2))
        of_part = channels_last(maps[part])
        weighted.append(np.einsum("nhwc,nc->nhw", of_part, weights))
        if progress:
            progress(part.start + len(of_part), len(maps))
    return asked.attribution("grad_cam", layer, np.concatenate(weighted))


def _by_maps(model: keras.Model, layer: str, dtype: str) -> Callable[..., np.ndarray]:
    """The function that computes the gradients of classes' scores by feature maps.

    They are the gradients by an offset of 0 that is added to the maps; so they are right,
    too, where other ways lead past these maps to the scores.
    """
    offset: list[Any] = []
    added = keras.layers.Lambda(
        lambda maps: maps + offset[0] if offset else maps, dtype=dtype
    )
    network = dissect(model, {layer: added})
    scores = keras.Model(network.model.input, network.scores)
    called = stateless(lambda images: scores(images, training=False))

    def total(values: list[Any], images: Any, chosen: Any) -> Any:
        offset[:] = values
        return keras.ops.sum(called([], images) * chosen)

    def gradients(
        maps: np.ndarray, images: np.ndarray, classes: np.ndarray
    ) -> np.ndarray:
        chosen = np.eye(network.scores.shape[-1])[classes].astype(network.scores.dtype)
        zeros = as_tensors([np.zeros(maps.shape, dtype)])
        others = as_tensors([images, chosen])
        return as_array(value_and_gradients(total)(zeros, *others)[1][0])

    return gradients


def occlusion(
    model: keras.Model,
    images: np.ndarray,
    classes: Classes = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    value: float | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Attribution:
    """Measures what a class loses where a patch covers the image.

    Zeiler & Fergus 2014, sec. 4.2. The number of a pixel is by how much the probability of
    the class falls, averaged over the patches that cover the pixel.

    Args:
        model: A functional classifier.
        images: As of `class_activation_map`.
        classes: As of `class_activation_map`.
        patch: Side of the square patch in pixels; by default a quarter of the images'
            shorter side.
        stride: From one patch to the next, in pixels; by default half of the patch. The
            last patch of a row or column ends with the image.
        value: Of the covered pixels; by default the mean colour of each image.
        batch_size: As of `class_activation_map`.
        progress: Called with the number of patches done and that of all.

    Raises:
        ValueError: If the model is not functional, has fewer than two classes or NaN in
            its weights; if images or classes do not fit it; or if the patch is larger than
            the images, or the stride than the patch.
    """
    asked = Asked(dissect(model), images, classes, batch_size)
    patch = max(1, min(asked.size) // 4) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    windows = _windows(asked.size, patch, stride)
    pixels = channels_last(asked.images)
    cover = pixels.mean(axis=(1, 2), keepdims=True) if value is None else value
    whole = asked.probability(asked.images)
    falls, covered = np.zeros(pixels.shape[:3]), np.zeros(asked.size)
    for number, window in enumerate(windows, start=1):
        shown = pixels.copy()
        shown[:, *window] = cover
        fall = whole - asked.probability(channels_in_place(shown))
        falls[:, *window] += fall[:, None, None]
        covered[window] += 1
        if progress:
            progress(number, len(windows))
    return asked.attribution("occlusion", None, falls / covered)


def _windows(size: tuple[int, int], patch: int, stride: int) -> list[Any]:
    """The rows and columns of each patch; together they cover the image."""
    if not 1 <= stride <= patch <= min(size):
        raise ValueError(
            "`patch` must be from 1 to the shorter side of the images, and `stride` from 1 "
            f"to the patch. Received: patch={patch!r}, stride={stride!r}, images of "
            f"{size[0]}x{size[1]} pixels."
        )
    rows, columns = (
        [
            slice(i, i + patch)
            for i in sorted({*range(0, side - patch, stride), side - patch})
        ]
        for side in size
    )
    return [(row, column) for row in rows for column in columns]
