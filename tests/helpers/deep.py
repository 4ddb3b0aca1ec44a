"""Files of 16 bits per channel; needs TensorFlow, since Pillow writes no such colours."""

import tensorflow as tf


def deep_png(pixels):
    """The bytes of a PNG of 16 bits: pixels are uint16 ``(height, width, channels)``."""
    return tf.io.encode_png(tf.constant(pixels, tf.uint16)).numpy()


def of_bits(pixels, bits):
    """Values of so many bits, whose upper 8 are those of uint8 pixels."""
    spare, pixels = 2 ** (bits - 8), pixels.astype("uint16")
    return pixels * spare + pixels[::-1] % spare
