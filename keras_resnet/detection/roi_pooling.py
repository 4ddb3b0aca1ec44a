"""ROIAlign (He et al. 2017, sec. 3): feature maps of one size from boxes of any size.

Three ways with the same results, which are torchvision's and Detectron2's:

- *gather* takes the four pixels around each point, on any backend;
- *crop* lets TensorFlow's ``crop_and_resize`` take them, faster, with a gradient of our own
  (XLA has no such kernel, and on GPUs TensorFlow refuses the gradient of large batches);
- *dense* multiplies with the weights of all pixels, rows first. It has static shapes where
  the number of points depends on the box.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_resnet.detection.boxes import Tensor

# An object of this many pixels squared, ImageNet's, belongs to the level with stride 16:
# Lin et al. 2017, eq. 1.
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4
# Boxes per image, so that what lies between two products stays small.
DENSE_AT_ONCE = 32


def roi_align(
    maps: Sequence[Tensor],
    boxes: Tensor,
    strides: Sequence[int],
    size: int = 7,
    *,
    sampling_ratio: int = 2,
    aligned: bool = False,
    method: str | None = None,
) -> Tensor:
    """Pools a map of ``size x size`` cells from each box.

    Args:
        maps: Feature maps ``(batch, height, width, channels)``, from the finest to the
            coarsest. Of several, a box is pooled from the one whose stride fits its size
            (Lin et al. 2017, eq. 1).
        boxes: ``(batch, n, 4)``, ``x1, y1, x2, y2`` in pixels of the image, finite.
        strides: Of the maps: powers of 2.
        size: Side of what is pooled, in cells.
        sampling_ratio: Points per cell in each direction, whose mean is taken. 0 is one
            for each pixel of the cell, rounded up; then there must be one map only, and
            no box may be larger than it.
        aligned: Whether the boxes are shifted by half a pixel of the map, so that a
            pixel's value is at its centre (Detectron2); without, a box has a side of at
            least one such pixel (torchvision).
        method: ``"gather"``, ``"crop"`` or ``"dense"`` (see the module). By default crop
            on TensorFlow without GPUs, else gather, and dense where it is needed.

    Returns:
        Float32 ``(batch, n, size, size, channels)``. Gradients flow to the maps alone.

    Raises:
        ValueError: If ``method`` can't do what the other arguments ask for.
    """
    method = method or _fastest(sampling_ratio)
    _check(method, len(maps), sampling_ratio)
    boxes = ops.stop_gradient(ops.cast(boxes, "float32"))
    if method == "dense":
        return _dense(maps[0], boxes, strides[0], size, sampling_ratio, aligned)
    levels = _levels(boxes, strides)
    scales = ops.convert_to_tensor([1 / one for one in strides], "float32")
    scale = ops.take(scales, levels)
    edges = boxes * scale[..., None] - (0.5 if aligned else 0.0)
    y, x = (
        _points(edges[..., axis], edges[..., axis + 2], size, sampling_ratio, aligned)
        for axis in (1, 0)
    )
    pool = _crop if method == "crop" else _gather
    points = pool(maps, levels, y, x)
    shape = (*ops.shape(boxes)[:2], size, sampling_ratio, size, sampling_ratio)
    points = ops.reshape(points, (*shape, ops.shape(maps[0])[3]))
    return ops.mean(points, axis=(3, 5))


def _fastest(sampling_ratio):
    if sampling_ratio == 0:
        return "dense"
    if keras.backend.backend() != "tensorflow":
        return "gather"
    return "gather" if keras.distribution.list_devices("gpu") else "crop"


def _check(method, maps, sampling_ratio):
    if method not in ("gather", "crop", "dense"):
        raise ValueError(
            "`method` must be 'gather', 'crop', 'dense' or None. "
            f"Received: method={method!r}."
        )
    if method == "crop" and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`method='crop'` needs Keras's TensorFlow backend. Received: "
            f"{keras.backend.backend()}. Use 'gather' instead."
        )
    if sampling_ratio == 0 and method != "dense":
        raise ValueError(
            f"`sampling_ratio=0` needs `method='dense'`. Received: method={method!r}."
        )
    if method == "dense" and maps != 1:
        raise ValueError(
            f"`method='dense'` pools from one feature map. Received: {maps} maps."
        )


def _levels(boxes, strides):
    """The index of the map that each box is pooled from: Lin et al. 2017, eq. 1."""
    extent = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    side = ops.sqrt(extent[..., 0] * extent[..., 1])
    level = ops.floor(CANONICAL_LEVEL + ops.log2(side / CANONICAL_SIDE) + 1e-6)
    lowest = round(math.log2(strides[0]))
    return ops.cast(ops.clip(level - lowest, 0, len(strides) - 1), "int32")


def _points(low, high, size, count, aligned):
    """Where points lie between two edges of a box, ``(batch, n, size x count)``."""
    cell = _extent(low, high, aligned) / size
    whole = ops.cast(ops.arange(size), "float32")[:, None]
    part = (ops.cast(ops.arange(count), "float32") + 0.5) / count
    points = low[..., None, None] + (whole + part) * cell[..., None, None]
    return ops.reshape(points, (*ops.shape(low), size * count))


def _extent(low, high, aligned):
    return high - low if aligned else ops.maximum(high - low, 1.0)


def _neighbours(points, length):
    """The pixels on both sides of points, and their weights.

    Within a pixel of the border the value is the border's, beyond that it is 0.
    """
    inside = ops.cast((points >= -1) & (points <= length), "float32")
    points = ops.minimum(ops.maximum(points, 0.0), length - 1)
    before = ops.floor(points)
    after = ops.minimum(before + 1, length - 1)
    share = points - before
    pixels = (ops.cast(before, "int32"), ops.cast(after, "int32"))
    return zip(pixels, ((1 - share) * inside, share * inside), strict=True)


# --- Gather -----------------------------------------------------------------------


def _gather(maps, levels, y, x):
    """Values at the points ``y`` times ``x``: ``(batch, n, points, points, channels)``."""
    batch, channels = ops.shape(maps[0])[0], ops.shape(maps[0])[3]
    by_image = [ops.reshape(one, (batch, -1, channels)) for one in maps]
    pixels = ops.reshape(ops.concatenate(by_image, axis=1), (-1, channels))
    total = 0.0
    for index, weight in _corners(maps, levels, y, x):
        values = ops.cast(ops.take(pixels, index, axis=0), "float32")
        total = total + values * weight[..., None]
    return total


def _corners(maps, levels, y, x):
    """The four pixels around each point.

    Yields:
        Their indices and their weights, ``(batch, n, points, points)`` both. Counted are
        the pixels of all maps of the first image, then those of the next.
    """
    sizes = [ops.shape(one)[1:3] for one in maps]
    areas = (height * width for height, width in sizes)
    *starts, per_image = itertools.accumulate(areas, initial=0)
    heights, widths, starts = (
        ops.take(ops.stack([ops.cast(one, "int32") for one in values]), levels)[
            ..., None
        ]
        for values in (*zip(*sizes, strict=True), starts)
    )
    starts = starts + ops.arange(ops.shape(y)[0])[:, None, None] * per_image
    columns = list(_neighbours(x, ops.cast(widths, "float32")))
    for row, row_weight in _neighbours(y, ops.cast(heights, "float32")):
        for column, column_weight in columns:
            index = (starts + row * widths)[..., None] + column[:, :, None]
            yield index, row_weight[..., None] * column_weight[:, :, None]


# --- Crop -------------------------------------------------------------------------


def _crop(maps, levels, y, x):
    """As `_gather`, by TensorFlow's ``crop_and_resize``, with a gradient of our own.

    TensorFlow's gradient is wrong on several cores: the threads add to the same pixels
    without a lock, and sums get lost. Of 256 large boxes on two cores, 8 % of the
    gradient's values were off by 1e-3 or more, by up to 2.5 times their standard deviation
    (tensorflow/core/kernels/image/crop_and_resize_op.cc, ``CropAndResizeBackpropImage``).
    """
    import tensorflow as tf

    @tf.custom_gradient
    def pooled(*maps):
        given = maps, levels, y, x
        return _cropped(*given), functools.partial(_crops_gradient, *given)

    return pooled(*(tf.cast(one, "float32") for one in maps))


def _cropped(maps, levels, y, x):
    """Values at the points, ``(batch x n, points, points, channels)``.

    ``crop_and_resize`` extrapolates from the border on, so each map gets a border of one
    more pixel.
    """
    import tensorflow as tf

    image = tf.repeat(tf.range(tf.shape(y)[0]), tf.shape(y)[1])
    points = y.shape[2]
    ends = tf.stack([y[..., 0], x[..., 0], y[..., -1], x[..., -1]], axis=-1)
    ends, levels = tf.reshape(ends, (-1, 4)) + 1.0, tf.reshape(levels, (-1,))
    indices, crops = [], []
    for level, features in enumerate(maps):
        bordered = tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        last = tf.cast(tf.tile(tf.shape(bordered)[1:3] - 1, [2]), "float32")
        chosen = tf.where(levels == level)[:, 0]
        boxes, images = tf.gather(ends, chosen) / last, tf.gather(image, chosen)
        size = (points, points)
        crops.append(tf.image.crop_and_resize(bordered, boxes, images, size))
        indices.append(tf.cast(chosen, "int32"))
    return tf.dynamic_stitch(indices, crops)


def _crops_gradient(maps, levels, y, x, upstream):
    """The gradients of the maps.

    All values are a sparse matrix, points x pixels with four weights in a row, times the
    pixels. Their gradient is its transpose times ``upstream``. TensorFlow's kernel for
    that has one thread, so that no sum is lost and the bits are the same each time.
    """
    import tensorflow as tf

    images, channels = tf.shape(maps[0])[0], maps[0].shape[3]
    areas = tf.stack([tf.reduce_prod(tf.shape(one)[1:3]) for one in maps])
    index, weights = (
        tf.reshape(tf.stack(four, axis=-1), (-1,))
        for four in zip(*_corners(maps, levels, y, x), strict=True)
    )
    upstream = tf.reshape(upstream, (-1, channels))
    points = tf.shape(upstream)[0]
    matrix = tf.SparseTensor(
        tf.cast(tf.stack([tf.repeat(tf.range(points), 4), index], axis=1), "int64"),
        weights,
        tf.cast([points, images * tf.reduce_sum(areas)], "int64"),
    )
    gradient = tf.sparse.sparse_dense_matmul(matrix, upstream, adjoint_a=True)
    gradient = tf.reshape(gradient, (images, -1, channels))
    parts = tf.split(gradient, areas, axis=1)
    return [tf.reshape(part, tf.shape(m)) for part, m in zip(parts, maps, strict=True)]


# --- Dense ------------------------------------------------------------------------


def _dense(features, boxes, stride, size, sampling_ratio, aligned):
    features = ops.cast(features, "float32")
    height, width, channels = ops.shape(features)[1:]
    edges = boxes / stride - (0.5 if aligned else 0.0)
    rows, columns = (
        _weights(edges[..., axis::2], length, size, sampling_ratio, aligned)
        for axis, length in ((1, height), (0, width))
    )
    pooled = []
    for begin in range(0, boxes.shape[1], DENSE_AT_ONCE):
        some = slice(begin, begin + DENSE_AT_ONCE)
        part = ops.einsum("bnih,bhwc->bniwc", rows[:, some], features)
        pooled.append(ops.einsum("bniwc,bnjw->bnijc", part, columns[:, some]))
    return ops.concatenate(pooled, axis=1)


def _weights(ends, length, size, sampling_ratio, aligned):
    """How much each pixel counts in each cell, ``(batch, n, size, length)``."""
    low, high = ends[..., 0], ends[..., 1]
    cell = _extent(low, high, aligned) / size
    if sampling_ratio:
        most, count = sampling_ratio, ops.full_like(cell, sampling_ratio)
    else:
        # A box that isn't larger than the map has no more points than this.
        most, count = length // size + 2, ops.ceil(cell)
    number = ops.cast(ops.arange(most), "float32")
    used = number < count[..., None]
    within = (number + 0.5) * (cell / ops.maximum(count, 1.0))[..., None]
    begin = low[..., None] + ops.cast(ops.arange(size), "float32") * cell[..., None]
    points = begin[..., None] + within[:, :, None]
    pixel = ops.arange(length)
    total = 0.0
    for neighbour, weight in _neighbours(points, ops.cast(length, "float32")):
        weight = weight * ops.cast(used, "float32")[:, :, None]
        here = ops.cast(neighbour[..., None] == pixel, "float32")
        total = total + ops.sum(here * weight[..., None], axis=-2)
    return total / ops.maximum(count, 1.0)[..., None, None]
