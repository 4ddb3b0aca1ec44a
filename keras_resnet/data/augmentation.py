"""Random augmentation, image to image; the same seed gives the same result.

Seeds are integer tensors of shape ``(2,)``, as in `tf.random.stateless_uniform`. Each
draw gets a seed of its own, split off the given one.
"""

# Eigenvalues and eigenvectors (in columns) of the covariance of ImageNet's RGB values
# in [0, 1]: fb.resnet.torch, datasets/imagenet.lua.
PCA_EIGENVALUES = (0.2175, 0.0188, 0.0045)
PCA_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def pad_crop_flip(images, seed, *, padding, flip=True):
    """Pads with zeros, crops to the original size, flips; He et al. 2016a, sec. 4.2.

    The papers pad images from which the mean has been subtracted: pass normalized
    images. Every image gets its own crop and its own flip.

    Args:
        images: Tensor ``(batch, height, width, channels)``.
        seed: Integer tensor ``(2,)``.
        padding: Pixels added on each side.
        flip: Whether half of the images are mirrored left to right.

    Returns:
        Tensor like ``images``.
    """
    import tensorflow as tf

    count, height, width, channels = tf.unstack(tf.shape(images))
    row_seed, column_seed, flip_seed = _split(seed, 3)
    # Which rows and which columns of the padded image the result shows.
    rows = _integers([count, 1], row_seed, 0, 2 * padding) + tf.range(height)
    columns = _integers([count, 1], column_seed, 0, 2 * padding) + tf.range(width)
    if flip:
        mirrored = tf.random.stateless_uniform([count, 1], flip_seed) < 0.5
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    padded = tf.pad(images, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])
    # One gather over the pixels of the batch, laid end to end: a map over images takes
    # about twice the time.
    rows += tf.range(count)[:, tf.newaxis] * (height + 2 * padding)
    pixels = rows[:, :, tf.newaxis] * (width + 2 * padding) + columns[:, tf.newaxis]
    cropped = tf.gather(tf.reshape(padded, [-1, channels]), pixels)
    return tf.ensure_shape(cropped, images.shape)


def scale_crop_flip(image, seed, *, shorter_side=(256, 480), crop=224, flip=True):
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
    import tensorflow as tf

    from keras_resnet.data.preprocessing import resize_then_crop, scaled_size

    size = (crop, crop) if isinstance(crop, int) else tuple(crop)
    smallest, largest = shorter_side
    if not max(size) <= smallest <= largest:
        raise ValueError(
            "`shorter_side` must be a range that starts at `crop` or above. "
            f"Received: shorter_side={tuple(shorter_side)}, crop={crop}."
        )
    side_seed, top_seed, left_seed, flip_seed = _split(seed, 4)
    resized = scaled_size(image, _integers([], side_seed, smallest, largest))
    corner = tf.stack(
        [
            _integers([], top_seed, 0, resized[0] - size[0]),
            _integers([], left_seed, 0, resized[1] - size[1]),
        ]
    )
    image = resize_then_crop(image, resized, corner, size)
    if flip:
        mirrored = tf.random.stateless_uniform([], flip_seed) < 0.5
        image = tf.where(mirrored, image[:, ::-1], image)
    return image


def pca_color(image, seed, *, alpha_std=0.1):
    """Shifts the colours along their principal components; Krizhevsky et al. 2012,
    sec. 4.1.

    Args:
        image: float32 tensor ``(height, width, 3)``, RGB values from 0 to 255.
        seed: Integer tensor ``(2,)``.
        alpha_std: Standard deviation of the factors of the three eigenvalues.

    Returns:
        Tensor like ``image``. Values may leave [0, 255], as in fb.resnet.torch.

    Raises:
        ValueError: If the image isn't RGB.
    """
    import tensorflow as tf

    if image.shape[-1] != 3:
        raise ValueError(
            f"`image` must have 3 channels. Received: an image of shape {image.shape}. "
            "Switch the colour noise off for greyscale images."
        )
    alpha = tf.random.stateless_normal([3], seed, stddev=alpha_std)
    shift = tf.linalg.matvec(PCA_EIGENVECTORS, alpha * PCA_EIGENVALUES)
    return image + 255.0 * shift


def _split(seed, count):
    import tensorflow as tf

    return tf.unstack(tf.random.split(seed, count))


def _integers(shape, seed, smallest, largest):
    """Integers from ``smallest`` to ``largest``, both included, as int32."""
    import tensorflow as tf

    return tf.random.stateless_uniform(
        shape, seed, minval=smallest, maxval=largest + 1, dtype=tf.int32
    )
