"""The features that networks compute, and how alike those of two layers or networks are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_resnet.analysis.batches import check_weights, checked_images
from keras_resnet.analysis.differentiation import outputs
from keras_resnet.analysis.dissection import Dissected, dissect
from keras_resnet.analysis.graphs import without_xla


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How alike what the layers of two networks compute is, by linear CKA.

    Attributes:
        layers: Names of the one network's layers.
        other_layers: Names of the other's.
        cka: From 0 to 1, ``(layers, other_layers)``; NaN where what a layer gives is the
            same for all images.
        images: Number of images.
        pooled: Whether feature maps were averaged over their positions.
    """

    layers: tuple[str, ...]
    other_layers: tuple[str, ...]
    cka: np.ndarray
    images: int
    pooled: bool


def network_features(
    model: keras.Model,
    images: np.ndarray,
    *,
    layer: str | None = None,
    pooled: bool = True,
    batch_size: int = 128,
) -> np.ndarray:
    """Computes what a network's classifier, or another layer, makes of images.

    Args:
        model: A functional model of images.
        images: ``(n, height, width, channels)``, as the model takes them.
        layer: Name of the layer whose output is taken; by default the input of the
            `keras.layers.Dense` that is the classifier.
        pooled: Whether feature maps are averaged over their positions; else they are
            flattened.
        batch_size: How many images are computed at a time.

    Returns:
        Float32 of shape ``(n, features)``.

    Raises:
        ValueError: If the model is not functional or has NaN in its weights, if it has no
            classifier and no layer is named, or if images or the layer do not fit it.
    """
    network = dissect(model)
    if layer is not None:
        tensor = network.tensor(layer)
    elif network.features is not None:
        tensor = network.features
    else:
        raise ValueError(
            "Without a `layer`, `model` must end with a dense layer as its classifier. "
            f"Received: layer=None and a model named {model.name!r} that ends otherwise."
        )
    return _computed(network, [tensor], images, pooled, batch_size)[0]


def _computed(
    network: Dissected,
    chosen: Iterable[keras.KerasTensor],
    images: np.ndarray,
    pooled: bool,
    batch_size: int,
) -> list[np.ndarray]:
    """The features of each of the tensors, ``(images, features)``."""
    check_weights(network.model)
    images = checked_images(network.model, images)
    rows = [_as_rows(tensor, pooled) for tensor in chosen]
    part = without_xla(keras.Model(network.model.input, rows))
    batches = (
        images[start : start + batch_size]
        for start in range(0, len(images), batch_size)
    )
    found = list(outputs(part, batches, training=False))
    return [np.concatenate(one).astype("float32") for one in zip(*found, strict=True)]


def _as_rows(tensor: keras.KerasTensor, pooled: bool) -> keras.KerasTensor:
    """A tensor with one row of features for each image."""
    if len(tensor.shape) == 4 and pooled:
        return keras.layers.GlobalAveragePooling2D(dtype=tensor.dtype)(tensor)
    return keras.layers.Flatten(dtype=tensor.dtype)(tensor)


def linear_cka(features: np.ndarray, others: np.ndarray) -> float:
    """How alike two sets of features of the same images are, by linear CKA.

    Kornblith et al. 2019, "Similarity of neural network representations revisited", sec. 3:
    1 where one is a rotation and scaling of the other, 0 where no feature of one varies
    with one of the other.

    Args:
        features: ``(n, p)``.
        others: ``(n, q)``, of the same images in the same order.

    Raises:
        ValueError: If they are not two matrices of as many rows, of at least 2, and of
            finite numbers, or if all rows of one are the same.
    """
    x, y = _centred(features), _centred(others)
    if len(x) != len(y):
        raise ValueError(
            "`features` and `others` must be those of the same images. Received: "
            f"{len(x)} and {len(y)} rows."
        )
    if not x.any() or not y.any():
        raise ValueError(
            "Features must not be the same for all images. Received: rows of "
            f"`{'others' if x.any() else 'features'}` that are all the same."
        )
    if len(x) < max(x.shape[1], y.shape[1]):
        return float(np.sum(_kernel(x) * _kernel(y)))
    # The same number from matrices of the features' size (Kornblith et al., eq. 2).
    norm = np.linalg.norm
    return float(norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y)))


def _centred(features: np.ndarray) -> np.ndarray:
    """Features in float64 whose mean over the images is 0 and whose greatest value is 1."""
    features = np.asarray(features, "float64")
    if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
        raise ValueError(
            "Features must be finite numbers of shape (images, features), of 2 images at "
            f"least. Received: shape {features.shape}"
            f"{'' if np.isfinite(features).all() else ', NaN or infinite values'}."
        )
    constant = (features == features[0]).all(axis=0)  # The mean would be rounded.
    centred = np.where(constant, 0, features - features.mean(axis=0))
    greatest = np.abs(centred).max(initial=0)
    return centred / greatest if greatest else centred


def _kernel(centred: np.ndarray) -> np.ndarray:
    """The products of all pairs of rows, divided by the norm of all; NaN if they are 0."""
    products = centred @ centred.T
    with np.errstate(invalid="ignore"):
        return products / np.linalg.norm(products)


def cka_by_layer(
    model: keras.Model,
    other: keras.Model,
    images: np.ndarray,
    *,
    other_images: np.ndarray | None = None,
    layers: Sequence[str] | None = None,
    other_layers: Sequence[str] | None = None,
    pooled: bool = False,
    batch_size: int = 128,
) -> Similarity:
    """Compares the layers of two networks, or those of one, by `linear_cka`.

    Memory is needed for the outputs of all layers, and for a matrix of all pairs of images
    for each layer: a few hundred images are enough.

    Args:
        model: A functional model of images.
        other: Another, or the same.
        images: ``(n, height, width, channels)``, as ``model`` takes them.
        other_images: The same images as ``other`` takes them, where it differs.
        layers: Names of the layers of ``model``; by default its additions or, where it has
            none, its convolutions.
        other_layers: Names of the layers of ``other``, with the same default.
        pooled: Whether feature maps are averaged over their positions; by default they are
            flattened, as by Kornblith et al.
        batch_size: How many images are computed at a time.

    Raises:
        ValueError: If a model is not functional or has NaN in its weights, if images or
            layers do not fit it, or if there are fewer than 2 images or not as many others.
    """
    others = images if other_images is None else other_images
    if len(images) != len(others) or len(images) < 2:
        raise ValueError(
            "`images` and `other_images` must be the same images, 2 at least. Received: "
            f"{len(images)} and {len(others)}."
        )
    names, kernels = _kernels(model, images, layers, pooled, batch_size)
    if other is model and others is images and layers == other_layers:
        other_names, other_kernels = names, kernels
    else:
        other_names, other_kernels = _kernels(
            other, others, other_layers, pooled, batch_size
        )
    return Similarity(
        layers=names,
        other_layers=other_names,
        cka=np.array([[np.sum(a * b) for b in other_kernels] for a in kernels]),
        images=len(images),
        pooled=pooled,
    )


def _kernels(
    model: keras.Model,
    images: np.ndarray,
    layers: Sequence[str] | None,
    pooled: bool,
    batch_size: int,
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The layers' names, and the products of all pairs of images in each."""
    network = dissect(model)
    names = network.steps() if layers is None else tuple(layers)
    chosen = [network.tensor(name) for name in names]
    rows = _computed(network, chosen, images, pooled, batch_size)
    return names, [_kernel(_centred(one)) for one in rows]
