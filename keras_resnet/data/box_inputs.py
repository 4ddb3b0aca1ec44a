"""How an image becomes what a detector takes, in TensorFlow: resized, and padded.

What is exported and served, and the batches of `box_pipelines`, take it from here, so that
a detector sees an image in the same way wherever it is asked.
"""

from __future__ import annotations

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data.decoding import decode
from keras_resnet.devices.host import Tensor, tensorflow


def decode_upright(contents: Tensor) -> Tensor:
    """Decodes an image file, and turns it as its EXIF orientation says.

    Args:
        contents: Scalar string tensor, the bytes of the file.

    Returns:
        uint8 tensor ``(height, width, 3)``, RGB.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are no image.
    """
    return decode(contents, 3, exif_orientation=True)


def resize(image: Tensor, size: Tensor) -> Tensor:
    """Resizes an image, not antialiased, as in torchvision's detectors.

    Args:
        image: uint8 tensor ``(height, width, channels)``.
        size: Its new height and width, int32 ``(2,)``.

    Returns:
        float32 tensor of this size.
    """
    tf = tensorflow()
    # The kernel takes bytes: as float32 a photograph would take four times the memory.
    # Where the size is known to stay, `resize` gives them back as they are.
    return tf.cast(tf.image.resize(image, size), tf.float32)


def resized_size(size: Tensor, settings: BoxBatches) -> Tensor:
    """`canvases.resized` in TensorFlow, by the last of the settings' ``shorter_sides``.

    Args:
        size: Height and width of an image, int32 ``(2,)``.
        settings: How images are resized.

    Returns:
        int32 ``(2,)``.
    """
    tf = tensorflow()
    sides = tf.cast(size, tf.float64)
    scale = tf.minimum(
        settings.shorter_sides[-1] / tf.reduce_min(sides),
        settings.longer_side / tf.reduce_max(sides),
    )
    half = 0.5 if settings.rounding == "half_up" else 0.0
    return tf.maximum(tf.cast(tf.floor(sides * scale + half), tf.int32), 1)


def on_canvas(image: Tensor, settings: BoxBatches) -> tuple[Tensor, Tensor]:
    """Resizes an image, and pads it to the smallest canvas that it has room on.

    Args:
        image: uint8 tensor ``(height, width, 3)``.
        settings: How images are resized and padded.

    Returns:
        float32 tensor ``(height, width, 3)``, both multiples of the settings' ``multiple``,
        with 0 at the bottom and at the right; and height and width without this padding,
        int32 ``(2,)``.
    """
    tf = tensorflow()
    size = resized_size(tf.shape(image)[:2], settings)
    height, width = tf.unstack(-(-size // settings.multiple) * settings.multiple)
    padded = tf.image.pad_to_bounding_box(resize(image, size), 0, 0, height, width)
    return tf.ensure_shape(padded, (None, None, 3)), size
