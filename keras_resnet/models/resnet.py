"""The one builder: from a row of `config/architectures.py` to a Keras model."""

import sys
from functools import partial

import keras
from keras import layers

from keras_resnet.models import blocks

BLOCKS = {
    "plain": blocks.plain,
    "basic": blocks.basic,
    "bottleneck": blocks.bottleneck,
    "bottleneck_v1_5": blocks.bottleneck_v1_5,
    "basic_v2": blocks.basic_v2,
    "bottleneck_v2": blocks.bottleneck_v2,
}
SHORTCUTS = {
    None: None,
    "A": blocks.zero_padding,
    "B": blocks.projection,
    "C": blocks.projection_always,
}
SHORTCUTS_V2 = {
    "A": blocks.zero_padding,
    "B": blocks.convolution_projection,
    "C": blocks.convolution_projection_always,
}
GLOBAL_POOLING = {
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}


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
    if input_tensor is None:
        shape = input_shape or default_shape(spec, include_top)
        check_shape(shape, spec)
        input_tensor = keras.Input(shape, name="image")
    else:
        check_shape(input_tensor.shape[1:], spec)

    x = stages(stem(input_tensor, spec), spec)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=blocks.initializer(),
            dtype="float32",  # A softmax over half-precision logits loses accuracy.
            name="logits",
        )(x)
    elif pooling:
        x = GLOBAL_POOLING[pooling](name="pool")(x)
    inputs = keras.utils.get_source_inputs(input_tensor)
    # A list of one would make Keras warn at every call with a bare array.
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, x, name=name)


def stem(x, spec):
    """The layers before the first stage: to 1/4 of an ImageNet image's side."""
    if spec.stem == "cifar":
        return blocks.conv_bn_relu(x, spec.filters, 3, name="stem")
    x = blocks.conv_bn_relu(x, spec.filters, 7, stride=2, name="stem")
    # Behind a ReLU a border of zeros is as good as one of minus infinity.
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def stages(x, spec):
    """The residual stages, and the activation that ends a pre-activation net."""
    block = BLOCKS[spec.block]
    shortcut = (SHORTCUTS_V2 if spec.preactivation else SHORTCUTS)[spec.shortcut]
    for stage, repeats in enumerate(spec.blocks, start=1):
        for index in range(1, repeats + 1):
            first_of_all = stage == index == 1
            this_block = block
            if spec.preactivation and first_of_all:
                this_block = partial(block, activate=blocks.already_activated)
            x = this_block(
                x,
                spec.filters * 2 ** (stage - 1),
                stride=2 if stage > 1 and index == 1 else 1,
                shortcut=shortcut,
                name=f"stage{stage}_block{index}",
            )
    return blocks.bn_relu(x, name="final") if spec.preactivation else x


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
