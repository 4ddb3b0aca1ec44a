"""Narrow networks of a few blocks on images of 8 pixels, and images for them."""

import functools

import keras
import numpy as np

from keras_resnet.analysis.routing import route
from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.models.resnet import build
from tests.helpers.reference import images, with_random_weights

SIZE = (8, 8, 3)
CLASSES = 5


def small_net(order="original", blocks=2, classes=CLASSES, **row):
    """A network of two stages with random weights and statistics."""
    row = {"shortcut": None if order == "plain" else "A"} | row
    spec = ResNetSpec(
        stem="cifar",
        stem_filters=4,
        stages=doubling(row.pop("block", "basic"), (blocks, blocks), 4),
        order=order,
        dataset="cifar10",
        paper="none",
        source="none",
        **row,
    )
    model = build(spec, input_shape=SIZE, classes=classes, name=order)
    return with_random_weights(model)


# One that no test changes.
shared_net = functools.cache(small_net)


@functools.cache
def shared_routed(*row, **options):
    """Its routed clone, which tests leave whole."""
    return route(shared_net(*row, **options))


def data(n=12):
    """Images and labels."""
    return images(n, *SIZE), np.arange(n) % CLASSES


def plain_gradients(model, x, y, training):
    """TensorFlow's own gradients of the summed cross-entropy: of images and kernels."""
    import tensorflow as tf

    kernels = {
        layer.name: layer.kernel.value
        for layer in model.layers
        if hasattr(layer, "kernel")
    }
    before = model.get_weights()
    pixels = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        losses = keras.losses.sparse_categorical_crossentropy(
            y, model(pixels, training=training), from_logits=True
        )
        loss = tf.reduce_sum(losses)
    model.set_weights(before)  # Batch norm's statistics have moved.
    of_kernels = {name: tape.gradient(loss, k).numpy() for name, k in kernels.items()}
    return tape.gradient(loss, pixels).numpy(), of_kernels
