"""Reads Caffe's ``.caffemodel`` files, into arrays by our own names in Keras's layout."""

import os
import re
from typing import Any

import numpy as np

from keras_resnet.config.preprocessing import CROP_ROUNDING, Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.files import local_path

# He et al. subtract a mean image. These are the means of its channels.
PREPROCESSING = Preprocessing(
    channels=3,
    resize=256,
    size=(224, 224),
    mean=(103.939, 116.779, 123.68),
    std=(1.0,) * 3,
    channel_order="bgr",
    crop_rounding=CROP_ROUNDING["caffe"],
    exif_orientation=False,
)

# The fields of caffe.proto that hold names and weights: (name, number, type, repeated).
# Protobuf parses files by this description, since no maintained library reads them:
# OpenCV dropped its importer in 5.0 (and wanted the prototxt beside the file), and the
# packages with a caffe_pb2 are unmaintained copies of Caffe. From a file and a prototxt
# with He et al.'s layers OpenCV 4.14 gave the same logits as we do, within 2e-6 of 7.
MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
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


def read(path: str | os.PathLike[str], spec: ResNetSpec) -> dict[str, np.ndarray]:
    """Reads a ``.caffemodel`` file of He et al.'s ResNet-50, 101 or 152.

    In these files ``res2a_branch1`` is a convolution, ``bn2a_branch1`` holds the mean and
    the variance of its batch norm with a factor to divide them by, and
    ``scale2a_branch1`` holds scale and offset. Blocks are called a, b, c, …, and a, b1,
    b2, … in the long stages of 101 and 152.

    Args:
        path: Path of the file.
        spec: The `ResNetSpec` of the network.

    Returns:
        From our names to float32 arrays in Keras's layout. Layers that no network of
        ours has keep Caffe's names.

    Raises:
        ValueError: If the network isn't one of Caffe's, or the file is damaged.
    """
    path = local_path(path)
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
            # Caffe keeps sums. A factor of 0 means that nothing was added up yet.
            scale = 1 / factor[0] if factor[0] else 0
            state[f"{layer}/moving_mean"] = mean * scale
            state[f"{layer}/moving_variance"] = variance * scale
        elif kind == "scale" and len(blobs) == 2:
            state[f"{layer}/gamma"], state[f"{layer}/beta"] = map(np.ravel, blobs)
        elif kind == "weights" and len(blobs) in (1, 2):
            kernel = blobs[0]
            if layer == "logits":  # It has four dimensions in old files.
                kernel = kernel.reshape(kernel.shape[-2:]).T
            elif kernel.ndim == 4:
                kernel = kernel.transpose(2, 3, 1, 0)
            state[f"{layer}/kernel"] = kernel
            if len(blobs) == 2:
                state[f"{layer}/bias"] = blobs[1].ravel()
        else:
            state |= {f"{name}/{i}": blob for i, blob in enumerate(blobs)}
    return state


# Layers outside the blocks: our layer's name, and which of its variables are there.
CAFFE_LAYERS = {
    "conv1": ("stem_conv", "weights"),
    "bn_conv1": ("stem_bn", "norm"),
    "scale_conv1": ("stem_bn", "scale"),
    "fc1000": ("logits", "weights"),
}
CAFFE_KINDS = {"res": "weights", "bn": "norm", "scale": "scale"}


def _our_layer(name):
    """Returns our layer's name, and which of its variables Caffe's layer holds."""
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
    """Reads the arrays of each layer that has some, by the layer's name."""
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


def caffe_message() -> Any:
    """Makes an empty protobuf message ``NetParameter`` with the fields of `MESSAGES`."""
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
    # A pool of its own, since the default pool may know another caffe.proto.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("caffe.NetParameter")
    )()
