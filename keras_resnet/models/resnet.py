"""The one builder: from a row of `config/architectures.py` to a Keras model."""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_resnet.config.checks import is_integer, plain_number
from keras_resnet.config.spec import ResNetSpec, Stage
from keras_resnet.models import merges, residuals
from keras_resnet.models.blocks import CONVOLUTIONS, Parts
from keras_resnet.models.layers import (
    bn_relu,
    frozen_batch_norms,
    initializer,
    unchanged,
)
from keras_resnet.models.orders import ORDERS
from keras_resnet.models.stems import STEMS

GLOBAL_POOLING: dict[str, type[keras.layers.Layer]] = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}


def build(
    spec: ResNetSpec,
    *,
    input_shape: tuple[int | None, ...] | None = None,
    input_tensor: keras.KerasTensor | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | Callable[..., Any] | None = None,
    name: str | None = None,
) -> keras.Model:
    """Builds the network that a spec describes, as a functional model.

    Args:
        spec: A `ResNetSpec`.
        input_shape: Shape of one image, e.g. ``(224, 224, 3)``; height and width may
            be `None`. Defaults to the paper's images with the classifier, to images
            of any size without.
        input_tensor: Keras tensor of images to build upon instead.
        include_top: Whether global average pooling and the classifier follow the
            last stage.
        pooling: Without the classifier, `None` gives the last feature map
            ``(batch, height, width, channels)``, ``"avg"`` and ``"max"`` pool it to
            ``(batch, channels)``.
        classes: Number of classes. Defaults to those of the paper's data set.
        classifier_activation: Of the classifier; `None` gives logits.
        name: Name of the model.

    Returns:
        A `keras.Model` from float images, normalized as the weights expect, to
        ``(batch, classes)`` or to features.

    Raises:
        ValueError: If the arguments cannot be met; the message says which.
    """
    allow_depth(spec.depth)
    classes = plain_number(spec.classes if classes is None else classes)
    check_head(include_top, pooling, classes)
    input_tensor = _input(spec, input_shape, input_tensor, include_top)
    x = list(features(input_tensor, spec).values())[-1]
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=initializer(),
            dtype="float32",  # A softmax over half-precision logits loses accuracy.
            name="logits",
        )(x)
    elif pooling:
        x = GLOBAL_POOLING[pooling](name="pool")(x)
    return _model(input_tensor, x, name)


def _input(
    spec: ResNetSpec,
    shape: tuple[int | None, ...] | None,
    tensor: keras.KerasTensor | None,
    include_top: bool,
) -> keras.KerasTensor:
    if tensor is not None:
        check_shape(shape_of(tensor), spec)
        return tensor
    shape = shape or default_shape(spec, include_top)
    check_shape(shape, spec)
    return keras.Input(shape, name="image")


def _model(
    input_tensor: keras.KerasTensor,
    outputs: keras.KerasTensor | dict[str, keras.KerasTensor],
    name: str | None,
) -> keras.Model:
    inputs = keras.utils.get_source_inputs(input_tensor)
    # A list of one would make Keras warn at every call with a bare array.
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name)


def backbone(
    spec: ResNetSpec,
    *,
    input_shape: tuple[int | None, ...] | None = None,
    input_tensor: keras.KerasTensor | None = None,
    frozen_batch_norm: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds the network without its classifier, with all its feature maps.

    Args:
        spec: A `ResNetSpec`.
        input_shape: As of `build`; images of any size by default.
        input_tensor: As of `build`.
        frozen_batch_norm: Whether batch norms are `layers.FrozenBatchNormalization`.
        name: As of `build`.

    Returns:
        A `keras.Model` from images to a dict of feature maps, ``"stem"`` (before its
        pooling), ``"stage1"``, …, each ``(batch, height / stride, width / stride,
        channels)`` with the stride that ``spec.strides`` gives. The last one is
        activated; those before it are what the next stage gets.
    """
    allow_depth(spec.depth)
    input_tensor = _input(spec, input_shape, input_tensor, include_top=False)
    with frozen_batch_norms() if frozen_batch_norm else contextlib.nullcontext():
        maps = features(input_tensor, spec)
    return _model(input_tensor, maps, name)


def features(x: keras.KerasTensor, spec: ResNetSpec) -> dict[str, keras.KerasTensor]:
    """The feature maps of the stem and of every stage, by name, in order."""
    stem = STEMS[spec.stem]
    x = stem.convolutions(x, spec.stem_filters)
    maps, x = {"stem": x}, stem.pool(x)
    for number in range(1, len(spec.stages) + 1):
        x = _stage(x, spec, number)
        maps[f"stage{number}"] = x
    maps[f"stage{number}"] = ORDERS[spec.order].end(x, name="final")
    return maps


def last_stage(x: keras.KerasTensor, spec: ResNetSpec) -> keras.KerasTensor:
    """The last stage alone, on what the stage before it puts out: a detector's head."""
    return ORDERS[spec.order].end(_stage(x, spec, len(spec.stages)), name="final")


def _stage(x: keras.KerasTensor, spec: ResNetSpec, number: int) -> keras.KerasTensor:
    order, name, stage = ORDERS[spec.order], f"stage{number}", spec.stages[number - 1]
    blocks_before = sum(before.repeats for before in spec.stages[: number - 1])
    block = order.single if stage.block == "conv" else order.block
    x = order.downsample(x, stage, name=name)
    for index, stride in enumerate(order.strides(stage), start=1):
        dilations = stage.dilations(index)
        x = block(
            x,
            CONVOLUTIONS[stage.block](stage, stride, dilations, spec.groups),
            parts(spec, stage, blocks_before + index),
            name=f"{name}_block{index}",
        )
    return x


def parts(spec: ResNetSpec, stage: Stage, block: int) -> Parts:
    """The functions that a spec asks for in one block of a stage.

    Args:
        spec: The `ResNetSpec`.
        stage: One of its stages.
        block: The block's number in the network, from 1.
    """
    activated = block == 1 and STEMS[spec.stem].activates
    return Parts(
        shortcut=ORDERS[spec.order].shortcut_of(spec, stage),
        merge=merges.merge_of(spec),
        transform=residuals.transform_of(spec, block, spec.blocks),
        last_norm=residuals.last_norm_of(spec),
        activate=unchanged if activated else bn_relu,
        between=partial(dropout, rate=spec.dropout) if spec.dropout else unchanged,
    )


def freeze(model: keras.Model, stages: int) -> None:
    """Keeps the stem and the first stages of a network as they are in training.

    Their weights do not move, and their batch norms use and keep their statistics.

    Args:
        model: Of `build` or `backbone`, not yet compiled.
        stages: How many stages; 0 freezes the stem alone.

    Raises:
        ValueError: If the network hasn't as many stages.
    """
    # "stage2_block1_1_conv" is a layer of the second stage.
    parts = [layer.name.split("_")[0] for layer in model.layers]
    there = {part for part in parts if part.startswith("stage")}
    if not is_integer(stages, 0, len(there)):
        raise ValueError(
            f"`stages` (--freeze) must be from 0 to {len(there)}, the network's stages. "
            f"Received: stages={stages!r}."
        )
    frozen = {"stem", *(f"stage{number}" for number in range(1, stages + 1))}
    for layer, part in zip(model.layers, parts, strict=True):
        if part in frozen:
            layer.trainable = False


def dropout(x: keras.KerasTensor, *, rate: float, name: str) -> keras.KerasTensor:
    """Dropout between convolutions (Zagoruyko & Komodakis 2016, sec. 2.4)."""
    return layers.Dropout(rate, name=f"{name}_dropout")(x)


def allow_depth(depth: int) -> None:
    """Lets Python recurse as deep as Keras does over a network of ``depth`` layers.

    Keras goes through a graph with a call within a call for every node, when it
    builds, loads or clones a model. That is up to 4 per layer, with batch norm and
    the rest, and Python stops at 1000 of them: ResNet-1202 needs 4,200. The limit is
    left raised, since the model is not done with it.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 5 * depth))


def default_shape(spec: ResNetSpec, include_top: bool) -> tuple[int | None, ...]:
    """Shape of one RGB image, in Keras's data format."""
    size = spec.image_size if include_top else None
    return with_channels((size, size), 3)


def with_channels(
    size: tuple[int | None, int | None], channels: int
) -> tuple[int | None, ...]:
    """``(height, width)`` and channels in the order of Keras's data format."""
    if keras.config.image_data_format() == "channels_last":
        return (*size, channels)
    return (channels, *size)


def image_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Height, width and channels of a model's input; `None` for any height or width."""
    _, *shape = model.input_shape
    if keras.config.image_data_format() == "channels_last":
        return tuple(shape)
    return (*shape[1:], shape[0])


def shape_of(input_tensor: keras.KerasTensor) -> tuple[int | None, ...]:
    """Shape of one image of a Keras tensor of images.

    Raises:
        ValueError: If it is no Keras tensor, or not of images.
    """
    if not keras.utils.is_keras_tensor(input_tensor) or len(input_tensor.shape) != 4:
        raise ValueError(
            "`input_tensor` must be a Keras tensor of images with 4 dimensions, such as "
            f"`keras.Input((224, 224, 3))`. Received: input_tensor={input_tensor!r}."
        )
    return tuple(input_tensor.shape[1:])


def check_head(include_top: bool, pooling: str | None, classes: int) -> None:
    """Raises `ValueError` unless the end of the network can be built."""
    if pooling not in (None, *GLOBAL_POOLING):
        raise ValueError(
            f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}."
        )
    if include_top and not is_integer(classes, 1):
        raise ValueError(
            f"`classes` must be a positive integer. Received: classes={classes!r}."
        )


def check_shape(shape: tuple[int | None, ...], spec: ResNetSpec) -> None:
    """Raises `ValueError` unless images of this shape can pass all stages."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(
            "`input_shape` must be the shape of one image, such as (224, 224, 3). "
            f"Received: input_shape={shape}."
        )
    last = keras.config.image_data_format() == "channels_last"
    sides, channels = (shape[:2], shape[2]) if last else (shape[1:], shape[0])
    if not is_integer(channels, 1):
        raise ValueError(
            "`input_shape` must give the number of channels, "
            f"{'last' if last else 'first'}. Received: input_shape={shape}."
        )
    if any(side is not None and side < spec.stride for side in sides):
        raise ValueError(
            f"Images must be at least {spec.stride}x{spec.stride} pixels: the network "
            f"divides each side by {spec.stride}. Received: input_shape={shape}."
        )
