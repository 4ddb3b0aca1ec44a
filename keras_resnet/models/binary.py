"""Weight files that are not a dict of named arrays: darknet's and Caffe's.

Both become arrays by our own names and in Keras's layout, the format ``"own"`` of
`models/formats.py`.
"""

import pathlib
import re

import numpy as np

from keras_resnet.config.preprocessing import Preprocessing

VECTORS = ("beta", "gamma", "moving_mean", "moving_variance")  # In darknet's order.


def read_darknet(path, spec):
    """Reads a ``.weights`` file of darknet 53, as `parser.c` writes it.

    A header of three int32 (major, minor, revision) and the number of images seen in
    training, an int64 since version 0.2 and an int32 before; then per convolution
    offset, scale, mean and variance of its batch norm (the classifier has a bias
    instead) and the kernel (out, in, height, width), all float32, little-endian.

    Args:
        path: Of the file.
        spec: The `ResNetSpec` of the network: the file says nothing of it.

    Returns:
        A dict from our names to float32 arrays in Keras's layout.

    Raises:
        ValueError: If the network isn't darknet's or the file has another length.
    """
    path = pathlib.Path(path)
    if spec.order != "darknet":
        raise ValueError(
            f"A .weights file is darknet's, for the network 'darknet53'. Received: {path} "
            f"for a network with order={spec.order!r}."
        )
    contents = path.read_bytes()
    major, minor = np.frombuffer(contents[:8].ljust(8, b"\0"), "<i4")
    header = 12 + (8 if major * 10 + minor >= 2 else 4)
    shapes = _darknet_shapes(spec)
    length = header + 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    if len(contents) != length:
        raise ValueError(
            f"{path} must have {length:,} bytes, those of darknet 53 with "
            f"{spec.classes} classes; it has {len(contents):,}. Is it cut off, or "
            "another network's, as a detector's or darknet53.conv.74?"
        )
    values, state = np.frombuffer(contents, "<f4", offset=header), {}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        array, values = values[:size].reshape(shape), values[size:]
        if len(shape) == 4:
            array = array.transpose(2, 3, 1, 0)
        state[name] = np.ascontiguousarray(array, "float32")
    return state


def _darknet_shapes(spec):
    """By our names, in the file's order; kernels (out, in, height, width)."""
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
    shapes["logits/bias"] = (spec.classes,)
    shapes["logits/kernel"] = (spec.classes, channels, 1, 1)
    return shapes


# --- Caffe ------------------------------------------------------------------------

# The fields of caffe.proto that hold names and weights: (name, number, type, repeated).
# Protobuf parses them by a description made here, since no library that is kept up
# reads Caffe's files: OpenCV dropped its importer in 5.0 (and wants the prototxt beside
# the file), the packages with a caffe_pb2 are unmaintained copies of Caffe. OpenCV 4.14
# gave our logits, to 2e-6 of 7, from a file and prototxt with He et al.'s layers.
MESSAGES = {
    "BlobShape": [("dim", 1, "int64", True)],
    "BlobProto": [
        ("num", 1, "int32", False),
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        ("data", 5, "float", True),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, "double", True),
    ],
    "LayerParameter": [("name", 1, "string", False), ("blobs", 7, "BlobProto", True)],
    "V1LayerParameter": [("name", 4, "string", False), ("blobs", 6, "BlobProto", True)],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    ],
}


def read_caffe(path, spec):
    """Reads a ``.caffemodel`` of He et al.'s ResNet-50, 101 or 152.

    There ``res2a_branch1`` is a convolution, ``bn2a_branch1`` its mean and variance with
    a factor to divide them by, ``scale2a_branch1`` scale and offset. Blocks are a, b,
    c, …, or a, b1, b2, … in the long stages of 101 and 152.

    Args:
        path: Of the file.
        spec: The `ResNetSpec` of the network.

    Returns:
        A dict from our names (Caffe's, where we have none) to float32 arrays in Keras's
        layout.

    Raises:
        ValueError: If the network isn't Caffe's or the file is damaged.
    """
    path = pathlib.Path(path)
    if not spec.stem.startswith("caffe"):
        raise ValueError(
            "A .caffemodel file is for 'resnet50_caffe', 'resnet101_caffe' or "
            "'resnet152_caffe', whose pooling is Caffe's. "
            f"Received: {path} for a network with stem={spec.stem!r}."
        )
    state = {}
    for name, blobs in _caffe_blobs(path).items():
        layer, kind = _our_layer(name)
        if kind == "norm" and len(blobs) == 3:
            mean, variance, factor = (blob.ravel() for blob in blobs)
            # Caffe keeps sums; a factor of 0 stands for no sums yet.
            scale = 1 / factor[0] if factor[0] else 0
            state[f"{layer}/moving_mean"] = mean * scale
            state[f"{layer}/moving_variance"] = variance * scale
        elif kind == "scale" and len(blobs) == 2:
            state[f"{layer}/gamma"], state[f"{layer}/beta"] = map(np.ravel, blobs)
        elif kind == "weights" and len(blobs) in (1, 2):
            kernel = blobs[0]
            if layer == "logits":  # Old files have it in four dimensions.
                kernel = kernel.reshape(kernel.shape[-2:]).T
            elif kernel.ndim == 4:
                kernel = kernel.transpose(2, 3, 1, 0)
            state[f"{layer}/kernel"] = kernel
            if len(blobs) == 2:
                state[f"{layer}/bias"] = blobs[1].ravel()
        else:
            state |= {f"{name}/{i}": blob for i, blob in enumerate(blobs)}
    return state


CAFFE_LAYERS = {
    "conv1": ("stem_conv", "weights"),
    "bn_conv1": ("stem_bn", "norm"),
    "scale_conv1": ("stem_bn", "scale"),
    "fc1000": ("logits", "weights"),
}
CAFFE_KINDS = {"res": "weights", "bn": "norm", "scale": "scale"}


def _our_layer(name):
    """Our layer's name and which of its variables Caffe's layer holds."""
    if name in CAFFE_LAYERS:
        return CAFFE_LAYERS[name]
    match = re.fullmatch(r"(res|bn|scale)([2-5])([a-z])(\d*)_branch(1|2[abc])", name)
    if match is None:
        return name, None
    kind, stage, letter, number, branch = match.groups()
    block = (
        int(number) + 1 if number else "abcdefghijklmnopqrstuvwxyz".index(letter) + 1
    )
    place = "shortcut" if branch == "1" else "abc".index(branch[1]) + 1
    layer = f"stage{int(stage) - 1}_block{block}_{place}"
    return layer + ("_conv" if kind == "res" else "_bn"), CAFFE_KINDS[kind]


def _caffe_blobs(path):
    """Arrays of every layer that has any, by the layer's name."""
    network = caffe_message()
    try:
        network.ParseFromString(path.read_bytes())
    except Exception as error:  # Protobuf's DecodeError is not the only one.
        raise ValueError(
            f"{path} must be a .caffemodel, whole and undamaged. "
            f"Reading it failed with {type(error).__name__}: {error}"
        ) from error
    layers = [*network.layers, *network.layer]
    return {
        layer.name: [_caffe_array(blob, path, layer.name) for blob in layer.blobs]
        for layer in layers
        if layer.blobs
    }


def _caffe_array(blob, path, layer):
    shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
    array = np.array(blob.data or blob.double_data, "float32")
    if array.size != np.prod(shape):
        raise ValueError(
            f"{path} must be whole and undamaged: its layer {layer!r} says that it has "
            f"the shape {shape}, and has {array.size} values."
        )
    return array.reshape(shape)


def caffe_message():
    """An empty ``NetParameter`` with the fields of `MESSAGES`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="caffe.proto", package="caffe", syntax="proto2"
    )
    for message, fields in MESSAGES.items():
        added = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            entry = added.field.add(name=name, number=number, label=label)
            if kind in MESSAGES:
                entry.type, entry.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                entry.type = getattr(field, f"TYPE_{kind.upper()}")
    # A pool of its own: the default one may know another caffe.proto.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("caffe.NetParameter")
    )()


# The readers by suffix, and the preprocessing that such files need.
BINARY = {
    ".weights": (
        read_darknet,
        Preprocessing(  # darknet: examples/classifier.c, pixels from 0 to 1.
            channels=3,
            resize=256,
            size=(256, 256),
            mean=(0.0,) * 3,
            std=(255.0,) * 3,
        ),
    ),
    ".caffemodel": (
        read_caffe,
        # He et al. subtract a mean image; these are its means by channel.
        Preprocessing(
            channels=3,
            resize=256,
            size=(224, 224),
            mean=(103.939, 116.779, 123.68),
            std=(1.0,) * 3,
            channel_order="bgr",
        ),
    ),
}
