"""Writes the requests by which TensorFlow Serving warms a model up before it serves it."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from keras_resnet.devices.host import tensorflow
from keras_resnet.files import local_path

FILE = "assets.extra/tf_serving_warmup_requests"  # TF Serving looks for this name.


def write_warm_up(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes one request per signature of a SavedModel into it, a black image each.

    The first request to a graph takes many times as long as those that follow. TF
    Serving (its documentation, "SavedModel Warmup") sends these before it calls a
    version available.

    Args:
        folder: Of the version; its ``saved_model.pb`` tells signatures and inputs. A
            string is taken for an image file, an unknown side for 1.

    Returns:
        `pathlib.Path` of the file: a TFRecord of PredictionLogs.
    """
    tf = tensorflow()
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    folder = local_path(folder)
    graph = SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[
        0
    ]
    signatures = {
        name: signature.inputs
        for name, signature in sorted(graph.signature_def.items())
        if signature.inputs  # One without is what restores the variables.
    }
    file = folder / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, inputs in signatures.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = name
            for key, info in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(_example(info)))
            writer.write(log.SerializeToString(deterministic=True))
    return file


def _example(info):
    tf = tensorflow()
    shape = [max(side.size, 1) for side in info.tensor_shape.dim]
    dtype = tf.as_dtype(info.dtype)
    if dtype == tf.string:
        file = tf.io.encode_jpeg(np.zeros((32, 32, 3), "uint8")).numpy()
        return np.full(shape, file, object)
    return np.zeros(shape, dtype.as_numpy_dtype)
