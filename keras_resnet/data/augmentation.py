"""Random augmentation of images: the same seed gives the same result.

Seeds are integer tensors of shape ``(2,)``, as in `tf.random.stateless_uniform`. Each
draw gets a seed of its own, split off the given one.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras_resnet.data.order import split_seed
from keras_resnet.devices.host import Tensor, tensorflow

# Crops that are drawn before an image gets its central square instead: there, too.
TRIES = 10


def pad_crop_flip(
    images: Tensor,
    seed: Tensor,
    *,
    padding: int,
    flip: bool = True,
    mode: str = "zero",
    share: tuple[int, int] = (0, 1),
) -> Tensor:
    """Pads, crops to the original size, flips; He et al. 2016a, sec. 4.2.

    The papers pad images from which the mean has been subtracted: pass normalized
    images. Every image gets its own crop and its own flip.

    Args:
        images: Tensor ``(batch, height, width, channels)``.
        seed: Integer tensor ``(2,)``.
        padding: Pixels added on each side.
        flip: Whether half of the images are mirrored left to right.
        mode: ``"zero"``, or ``"reflect"`` for the image, reflected at its outermost
            pixels; szagoruyko/wide-residual-networks (train.lua, randomcrop).
        share: Which of how many equal parts of a batch ``images`` are; each image gets
            what it would get in the whole batch.

    Returns:
        Tensor like ``images``.
    """
    tf = tensorflow()
    count, height, width, channels = tf.unstack(tf.shape(images))
    whole, here = share[1] * count, slice(share[0] * count, (share[0] + 1) * count)
    row_seed, column_seed, flip_seed = split_seed(seed, 3)
    # Which rows and which columns of the padded image the result shows.
    rows = _integers([whole, 1], row_seed, 0, 2 * padding)[here] + tf.range(height)
    columns = _integers([whole, 1], column_seed, 0, 2 * padding)[here] + tf.range(width)
    if flip:
        mirrored = tf.random.stateless_uniform([whole, 1], flip_seed)[here] < 0.5
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    padded = tf.pad(
        images,
        [[0, 0], [padding] * 2, [padding] * 2, [0, 0]],
        mode={"zero": "CONSTANT", "reflect": "REFLECT"}[mode],
    )
    # One gather over the pixels of the batch, laid end to end: a map over images takes
    # about twice the time.
    rows += tf.range(count)[:, tf.newaxis] * (height + 2 * padding)
    pixels = rows[:, :, tf.newaxis] * (width + 2 * padding) + columns[:, tf.newaxis]
    cropped = tf.gather(tf.reshape(padded, [-1, channels]), pixels)
    return tf.ensure_shape(cropped, images.shape)


def scale_crop_flip(
    image: Tensor,
    seed: Tensor,
    *,
    shorter_side: tuple[int, int] = (256, 480),
    crop: int | tuple[int, int] = 224,
    flip: bool = True,
) -> Tensor:
    """Scales at random, crops a random square, flips; He et al. 2016a, sec. 3.4.

    Args:
        image: Tensor ``(height, width, channels)``, values from 0 to 255.
        seed: Integer tensor ``(2,)``.
        shorter_side: Smallest and largest length in pixels that the shorter side is
            scaled to; every length from one to the other is equally probable.
        crop: Side in pixels of the square that is cut out, or height and width.
        flip: Whether half of the images are mirrored left to right.

    Returns:
        float32 tensor ``(crop, crop, channels)``, values from 0 to 255.

    Raises:
        ValueError: If the crop does not fit into the smallest scale.
    """
    tf = tensorflow()
    from keras_resnet.data.images import resize_then_crop, scaled_size

    size = (crop, crop) if isinstance(crop, int) else tuple(crop)
    smallest, largest = shorter_side
    if not max(size) <= smallest <= largest:
        raise ValueError(
            "`shorter_side` must be a range that starts at `crop` or above. "
            f"Received: shorter_side={tuple(shorter_side)}, crop={crop}."
        )
    side_seed, top_seed, left_seed, flip_seed = split_seed(seed, 4)
    resized = scaled_size(image, _integers([], side_seed, smallest, largest))
    corner = tf.stack(
        [
            _integers([], top_seed, 0, resized[0] - size[0]),
            _integers([], left_seed, 0, resized[1] - size[1]),
        ]
    )
    image = resize_then_crop(image, resized, corner, size)
    return random_flip(image, flip_seed) if flip else image


def inception_crop(
    image: Tensor,
    seed: Tensor,
    *,
    size: Sequence[int | Tensor],
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    channels: int = 3,
    exif_orientation: bool = False,
    bit_depth: int = 16,
    flip: bool = True,
) -> Tensor:
    """Cuts out a random part, resizes it, flips; Szegedy et al. 2015, sec. 6.

    As fb.resnet.torch has it (datasets/transforms.lua, RandomSizedCrop), but resized as
    `images.resize_window` says instead of bicubically.

    Args:
        image: Tensor ``(height, width, channels)``, values from 0 to 255, or the bytes
            of an image file, a scalar string tensor: of a JPEG only the crop is decoded.
        seed: Integer tensor ``(2,)``.
        size: Height and width of the result: integers or integer tensors.
        area: Smallest and largest share of the image's area, see `random_window`.
        aspect: Smallest and largest width over height.
        channels: 1 or 3; of a file.
        exif_orientation: Whether to turn a file's image as its EXIF orientation says.
        bit_depth: Of a 16-bit file, how many bits its values take.
        flip: Whether half of the images are mirrored left to right.

    Returns:
        float32 tensor ``(*size, channels)``, values from 0 to 255.
    """
    tf = tensorflow()
    from keras_resnet.data.decoding import decode_window
    from keras_resnet.data.images import resize_window

    image = tf.convert_to_tensor(image)
    window_seed, flip_seed = split_seed(seed, 2)

    def choose(shape):
        return random_window(shape, window_seed, area=area, aspect=aspect)

    if image.dtype == tf.string:
        image = decode_window(
            image,
            choose,
            channels,
            size,
            exif_orientation=exif_orientation,
            bit_depth=bit_depth,
        )
    else:
        top, left, height, width = tf.unstack(choose(tf.shape(image)[:2]))
        image = image[top : top + height, left : left + width]
    image = resize_window(image, size)
    return random_flip(image, flip_seed) if flip else image


def random_window(
    shape: Tensor,
    seed: Tensor,
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Tensor:
    """Draws where an Inception crop lies; fb.resnet.torch, datasets/transforms.lua.

    Its share of the image's area and its ``width / height`` are uniform, then width and
    height change places in half of the cases. Ten such windows are drawn; the first
    that fits into the image gets a place at random, and if none fits, it is the largest
    square in the middle.

    Args:
        shape: Height and width of the image, int32 ``(2,)``.
        seed: Integer tensor ``(2,)``.
        area: Smallest and largest share of the image's area.
        aspect: Smallest and largest width over height.

    Returns:
        int32 ``(4,)``: top, left, height and width in pixels.
    """
    tf = tensorflow()
    draws = tf.unstack(tf.random.stateless_uniform([5, TRIES], seed))
    shape = tf.cast(shape, tf.float32)
    pixels = _between(area, draws[0]) * tf.reduce_prod(shape)
    ratio = _between(aspect, draws[1])
    ratio = tf.where(draws[2] < 0.5, 1 / ratio, ratio)
    sizes = tf.stack([tf.sqrt(pixels / ratio), tf.sqrt(pixels * ratio)], axis=1)
    sizes = tf.maximum(tf.round(sizes), 1)
    fits = tf.reduce_all(sizes <= shape, axis=1)
    first = tf.argmax(fits)
    size = sizes[first]
    corner = tf.floor(tf.stack([draws[3][first], draws[4][first]]) * (shape - size + 1))
    # A float32 just below 1, times the room, can round up to it.
    corner = tf.minimum(corner, shape - size)
    side = tf.reduce_min(shape)
    size = tf.where(fits[first], size, side)
    corner = tf.where(fits[first], corner, tf.floor((shape - side) / 2))
    return tf.cast(tf.concat([corner, size], axis=0), tf.int32)


def random_flip(image: Tensor, seed: Tensor) -> Tensor:
    """Mirrors half of the images left to right.

    Args:
        image: Tensor ``(height, width, channels)``.
        seed: Integer tensor ``(2,)``.

    Returns:
        Tensor like ``image``.
    """
    tf = tensorflow()
    # Slicing by -1 takes twenty times as long as this.
    return tf.cond(
        tf.random.stateless_uniform([], seed) < 0.5,
        lambda: tf.reverse(image, [1]),
        lambda: image,
    )


def _between(ends, share):
    return ends[0] + (ends[1] - ends[0]) * share


def _integers(shape, seed, smallest, largest):
    """Integers from ``smallest`` to ``largest``, both included, as int32."""
    tf = tensorflow()
    return tf.random.stateless_uniform(
        shape, seed, minval=smallest, maxval=largest + 1, dtype=tf.int32
    )
