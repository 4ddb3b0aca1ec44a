"""Reads darknet's ``.weights`` files, into arrays by our own names in Keras's layout."""

import os

import numpy as np

from keras_resnet.config.preprocessing import CROP_ROUNDING, Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.files import local_path

# Pixels from 0 to 1, as in darknet's examples/classifier.c.
PREPROCESSING = Preprocessing(
    channels=3,
    resize=256,
    size=(256, 256),
    mean=(0.0,) * 3,
    std=(255.0,) * 3,
    crop_rounding=CROP_ROUNDING["darknet"],
    exif_orientation=False,
)
# The variables of batch norm in the order in which darknet writes them.
VECTORS = ("beta", "gamma", "moving_mean", "moving_variance")
CLASSIFIER = ("logits/bias", "logits/kernel")


def read(path: str | os.PathLike[str], spec: ResNetSpec) -> dict[str, np.ndarray]:
    """Reads a ``.weights`` file of darknet 53, in the form that its `parser.c` writes.

    The header has three int32 (major, minor, revision) and the number of images seen in
    training, an int64 since version 0.2 and an int32 before. Then each convolution
    follows: offset, scale, mean and variance of its batch norm (the classifier has a
    bias instead) and its kernel (out, in, height, width), all little-endian float32.
    Files that end before the classifier, such as ``darknet53.conv.74``, are read too.

    Args:
        path: Path of the file.
        spec: The `ResNetSpec` of the network. It gives the shapes, since the file holds
            none.

    Returns:
        From our names to float32 arrays in Keras's layout, those of the classifier only
        where the file has it.

    Raises:
        ValueError: If the network isn't darknet's, or the file has another length than
            this network's.
    """
    path = local_path(path)
    if spec.order != "darknet":
        raise ValueError(
            f"A .weights file is darknet's, for the network 'darknet53'. Received: {path} "
            f"for a network with order={spec.order!r}."
        )
    contents = path.read_bytes()
    major, minor = np.frombuffer(contents[:8].ljust(8, b"\0"), "<i4")
    header = 12 + (8 if major * 10 + minor >= 2 else 4)
    shapes = _darknet_shapes(spec)
    whole = header + _bytes_of(shapes)
    classifier = {name: one for name, one in shapes.items() if name in CLASSIFIER}
    without = whole - _bytes_of(classifier)
    if len(contents) == without:
        shapes = {name: one for name, one in shapes.items() if name not in CLASSIFIER}
    elif len(contents) != whole:
        raise ValueError(
            f"{path} must have {whole:,} bytes, those of darknet 53 with "
            f"{spec.classes} classes, or {without:,} without its classifier, as "
            f"darknet53.conv.74; it has {len(contents):,}. Is it cut off, or another "
            "network's, as a detector's?"
        )
    values, state = np.frombuffer(contents, "<f4", offset=header), {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        array, values = values[:size].reshape(shape), values[size:]
        if len(shape) == 4:
            array = array.transpose(2, 3, 1, 0)
        state[name] = np.ascontiguousarray(array, "float32")
    return state


def _bytes_of(shapes):
    """How many bytes arrays of these shapes take in a file."""
    return 4 * sum(int(np.prod(shape)) for shape in shapes.values())


def _darknet_shapes(spec):
    """The shapes by our names, in the file's order, kernels as (out, in, height, width)."""
    shapes = {}

    def convolution(layer, filters, channels, size):
        for name in VECTORS:
            shapes[f"{layer}_bn/{name}"] = (filters,)
        shapes[f"{layer}_conv/kernel"] = (filters, channels, size, size)

    channels = spec.stem_filters
    convolution("stem", channels, 3, 3)
    for number, stage in enumerate(spec.stages, start=1):
        filters = stage.output_filters
        convolution(f"stage{number}_downsample", filters, channels, 3)
        for index in range(1, stage.repeats + 1):
            block = f"stage{number}_block{index}"
            convolution(f"{block}_1", filters // 2, filters, 1)
            convolution(f"{block}_2", filters, filters // 2, 3)
        channels = filters
    bias, kernel = CLASSIFIER
    shapes[bias] = (spec.classes,)
    shapes[kernel] = (spec.classes, channels, 1, 1)
    return shapes
