"""The one builder: from a row of `config/architectures.py` to a Keras model."""

import sys
from functools import partial

import keras
from keras import layers

from keras_resnet.models import blocks, shortcuts
from keras_resnet.models.layers import (
    bn_relu,
    conv_bn_leaky,
    conv_bn_leaky_timm,
    conv_relu,
    initializer,
    relu,
)
from keras_resnet.models.stems import STEMS

GLOBAL_POOLING = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}
ENDS = {  # What follows the last block, in most cases an activation it leaves out.
    "preactivation": bn_relu,
    "keras_v2": bn_relu,
    "relu_only_preactivation": relu,
    # Of the FitNet's fully connected layer of 500 units; see _highway in architectures.
    "highway": partial(conv_relu, filters=500, kernel_size=1),
}

DOWNSAMPLINGS = {"darknet": conv_bn_leaky, "darknet_timm": conv_bn_leaky_timm}


def build(
    spec,
    *,
    input_shape=None,
    input_tensor=None,
    include_top=True,
    pooling=None,
    classes=None,
    classifier_activation=None,
    name=None,
):
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
    classes = spec.classes if classes is None else classes
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


def _input(spec, shape, tensor, include_top):
    if tensor is not None:
        check_shape(tensor.shape[1:], spec)
        return tensor
    shape = shape or default_shape(spec, include_top)
    check_shape(shape, spec)
    return keras.Input(shape, name="image")


def _model(input_tensor, outputs, name):
    inputs = keras.utils.get_source_inputs(input_tensor)
    # A list of one would make Keras warn at every call with a bare array.
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name)


def backbone(spec, *, input_shape=None, input_tensor=None, name=None):
    """Builds the network without its classifier, with all its feature maps.

    Args:
        spec: A `ResNetSpec`.
        input_shape: As of `build`; images of any size by default.
        input_tensor: As of `build`.
        name: As of `build`.

    Returns:
        A `keras.Model` from images to a dict of feature maps, ``"stem"`` (before its
        pooling), ``"stage1"``, …, each ``(batch, height / stride, width / stride,
        channels)`` with the stride that ``spec.strides`` gives. The last one is
        activated; those before it are what the next stage gets.
    """
    allow_depth(spec.depth)
    input_tensor = _input(spec, input_shape, input_tensor, include_top=False)
    return _model(input_tensor, features(input_tensor, spec), name)


def features(x, spec):
    """The feature maps of the stem and of every stage, by name, in order."""
    convolutions, pool = STEMS[spec.stem]
    x = convolutions(x, spec.stem_filters)
    maps = {"stem": x}
    x = pool(x)
    total = sum(stage.repeats for stage in spec.stages)
    done = 0
    for number, stage in enumerate(spec.stages, start=1):
        x = _stage(x, spec, number, block=done + 1, of=total)
        done += stage.repeats
        maps[f"stage{number}"] = x
    if spec.order in ENDS:
        maps[f"stage{number}"] = ENDS[spec.order](x, name="final")
    return maps


def _stage(x, spec, number, block, of):
    """The blocks of a stage, of which the first is the network's number ``block``."""
    stage, name = spec.stages[number - 1], f"stage{number}"
    convolutions = blocks.CONVOLUTIONS[stage.block]
    order = blocks.ORDERS[spec.order]
    if stage.block == "conv" and spec.order == "original":
        order = blocks.plain  # The ends of dilated residual networks.
    strided = stage.repeats if spec.order == "keras_v2" else 1
    if spec.order in DOWNSAMPLINGS:
        unit = DOWNSAMPLINGS[spec.order]
        x = unit(
            x, stage.output_filters, 3, stride=stage.stride, name=f"{name}_downsample"
        )
        strided = None
    if spec.order == "highway" and stage.stride > 1:
        x = layers.MaxPooling2D(stage.stride, name=f"{name}_pool")(x)
        strided = None
    for index in range(1, stage.repeats + 1):
        stride = stage.stride if index == strided else 1
        x = order(
            x,
            convolutions(stage, stride, stage.dilations(index), spec.groups),
            parts(spec, stage, block + index - 1, of),
            name=f"{name}_block{index}",
        )
    return x


def parts(spec, stage, block, of):
    """The functions that a spec asks for, for block ``block`` of ``of``, in ``stage``."""
    stem_activates = spec.stem not in ("bare", "keras_v2")
    return blocks.Parts(
        shortcut=shortcuts.shortcut_of(spec, stage),
        merge=shortcuts.merge_of(spec),
        transform=shortcuts.transform_of(spec, block, of),
        last_norm=shortcuts.last_norm_of(spec),
        activate=unchanged if block == 1 and stem_activates else bn_relu,
        between=partial(dropout, rate=spec.dropout) if spec.dropout else unchanged,
    )


def unchanged(x, *, name):
    """The identity."""
    return x


def freeze(model, stages):
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
    if not isinstance(stages, int) or not 0 <= stages <= len(there):
        raise ValueError(
            f"`stages` (--freeze) must be from 0 to {len(there)}, the network's stages. "
            f"Received: stages={stages!r}."
        )
    frozen = {"stem", *(f"stage{number}" for number in range(1, stages + 1))}
    for layer, part in zip(model.layers, parts, strict=True):
        if part in frozen:
            layer.trainable = False


def dropout(x, *, rate, name):
    """Dropout between convolutions (Zagoruyko & Komodakis 2016, sec. 2.4)."""
    return layers.Dropout(rate, name=f"{name}_dropout")(x)


def allow_depth(depth):
    """Lets Python recurse as deep as Keras does over a network of ``depth`` layers.

    Keras goes through a graph with a call within a call for every node, when it
    builds, loads or clones a model. That is up to 4 per layer, with batch norm and
    the rest, and Python stops at 1000 of them: ResNet-1202 needs 4,200. The limit is
    left raised, since the model is not done with it.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + 5 * depth))


def default_shape(spec, include_top):
    """Shape of one RGB image, in Keras's data format."""
    size = spec.image_size if include_top else None
    return with_channels((size, size), 3)


def with_channels(size, channels):
    """``(height, width)`` and channels in the order of Keras's data format."""
    if keras.config.image_data_format() == "channels_last":
        return (*size, channels)
    return (channels, *size)


def image_shape(model):
    """Height, width and channels of a model's input; `None` for any height or width."""
    _, *shape = model.input_shape
    if keras.config.image_data_format() == "channels_last":
        return tuple(shape)
    return (*shape[1:], shape[0])


def check_head(include_top, pooling, classes):
    """Raises `ValueError` unless the end of the network can be built."""
    if pooling not in (None, *GLOBAL_POOLING):
        raise ValueError(
            f"`pooling` must be None, 'avg' or 'max'. Received: pooling={pooling!r}."
        )
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ValueError(
            f"`classes` must be a positive integer. Received: classes={classes!r}."
        )


def check_shape(shape, spec):
    """Raises `ValueError` unless images of this shape can pass all stages."""
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(
            "`input_shape` must be the shape of one image, such as (224, 224, 3). "
            f"Received: input_shape={shape}."
        )
    last = keras.config.image_data_format() == "channels_last"
    sides, channels = (shape[:2], shape[2]) if last else (shape[1:], shape[0])
    if not isinstance(channels, int) or channels < 1:
        raise ValueError(
            "`input_shape` must give the number of channels, "
            f"{'last' if last else 'first'}. Received: input_shape={shape}."
        )
    if any(side is not None and side < spec.stride for side in sides):
        raise ValueError(
            f"Images must be at least {spec.stride}x{spec.stride} pixels: the network "
            f"divides each side by {spec.stride}. Received: input_shape={shape}."
        )
