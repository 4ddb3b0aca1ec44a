"""Writes a classifier of image files as a SavedModel in TF Serving's layout."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_resnet.devices.host import Tensor, tensorflow
from keras_resnet.export.checks import (
    check_classifier,
    features_of,
)
from keras_resnet.export.limits import checked
from keras_resnet.export.warm_up import write_warm_up
from keras_resnet.files import local_path, replaced
from keras_resnet.outputs import gives_probabilities
from keras_resnet.targets import check_target

GRAPH = "saved_model.pb"
TOP = 5  # Classes named in an answer; `scores` has them all.
# Images of a request that are decoded at the same time, on as many cores. At most as many
# lie in memory decoded and not yet resized; TensorFlow's own number is 10.
DECODED_AT_ONCE = 8


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    decode: Callable[[Tensor], Tensor],
    normalize: Callable[[Tensor], Tensor],
    class_names: Sequence[str],
    files: Mapping[str, str] | None = None,
    finish: Callable[[pathlib.Path], object] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes ``path/<version>/``, which TF Serving loads as it is.

    All signatures take a batch of any size, also of none:

    - ``serving_default``: ``image_bytes``, string of shape ``(N,)``, image files as
      `limits.checked` lets them pass. One that can't be decoded fails the request.
    - ``images``: ``images``, uint8 of shape ``(N, H, W, C)``, decoded images at the
      model's size.
    - ``features``: the same ``images``.

    The first two give ``classes``, string ``(N, k)``, the names of the k = min(5,
    classes) most probable classes, best first; ``probabilities``, float32 ``(N, k)``,
    theirs; ``scores``, float32 ``(N, classes)``, the probabilities of all classes in the
    order of ``class_names``. The third gives ``features``, float32: what the classifier
    gets, pooled, ``(N, channels)``. The names also lie in ``assets.extra/labels.txt``,
    one a line, and a request for each signature, with which TF Serving warms up, in
    ``assets.extra/tf_serving_warmup_requests``.

    On the JAX backend, the SavedModel has one more signature, ``network``, which takes
    normalized images: there Keras converts the model as an endpoint of its own.

    Args:
        model: Functional `keras.Model`, channels last and float32 throughout, that
            gives logits (served through a softmax) or, where its last layer is a
            softmax, probabilities (served as they are).
        path: Folder of the model's versions; created if missing.
        decode: Function in TensorFlow operations from an encoded image, scalar string,
            to uint8 ``(H, W, C)`` at the model's size, cropped and resized.
        normalize: Function in TensorFlow operations from uint8 ``(N, H, W, C)`` to the
            float32 that the model takes, of the same shape.
        class_names: Names (str) of the model's classes, in the order of its outputs.
        files: Texts (str) that are to lie in ``assets.extra`` as well, by file name.
        finish: Function of the version's folder, called before it appears: it may write
            into it, and what it raises stops the export.
        version: Positive integer. TF Serving serves the highest one that it finds.
        overwrite: Whether to replace this version if it exists.

    Returns:
        `pathlib.Path` of the version's folder. It appears when complete, in one move
        where the file system moves folders, else with `GRAPH` last.

    Raises:
        FileExistsError: If the version exists and ``overwrite`` is false, or it was not
            written by an export.
        ValueError: If the model can't be served like this, if ``class_names`` don't
            fit it, or if ``version`` is not a positive integer.
        RuntimeError: On backends other than TensorFlow and JAX.
    """
    target = local_path(path) / str(version)
    _check(model, class_names, version)
    check_target(target, GRAPH, overwrite)
    archive = _archive(model, decode, normalize, class_names)
    write_version(archive, target, class_names, files, finish)
    return target


def write_version(
    archive: keras.export.ExportArchive,
    target: pathlib.Path,
    class_names: Sequence[str],
    files: Mapping[str, str] | None,
    finish: Callable[[pathlib.Path], object] | None,
) -> None:
    """Writes a version's folder: the graph, and beside it what belongs to it.

    Args:
        archive: The graph, with its endpoints.
        target: The version's folder.
        class_names: As of `export_saved_model`, as are ``files`` and ``finish``.
        files: Texts by file name.
        finish: Called with the folder before it appears.
    """
    with replaced(target, GRAPH) as folder:
        with _without_information():
            archive.write_out(str(folder), verbose=False)
        # TF Serving's place for files that the graph does not read.
        extra = folder / "assets.extra"
        extra.mkdir()
        labels = "".join(f"{name}\n" for name in class_names)
        for name, text in {"labels.txt": labels, **(files or {})}.items():
            (extra / name).write_text(text, encoding="utf-8")
        write_warm_up(folder)
        if finish:
            finish(folder)


@contextlib.contextmanager
def _without_information() -> Iterator[None]:
    """Keeps "Assets written to" a folder of another name out of the log."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        logging.disable(before)


def _archive(model, decode, normalize, class_names):
    tf = tensorflow()
    archive = keras.export.ExportArchive()
    network = _network_function(archive, model)
    activation = tf.identity if gives_probabilities(model) else tf.nn.softmax
    image = tf.TensorSpec(model.input_shape[1:], tf.uint8)
    names = tf.constant(list(class_names))

    def outputs(images, key):
        # oneDNN's convolutions answer an empty batch with a wrong shape (TF 2.21), so
        # an empty request is computed with one black image, which is then cut off.
        count = tf.shape(images)[0]
        filling = tf.cast(tf.equal(count, 0), tf.int32)
        padded = tf.pad(images, [[0, filling], [0, 0], [0, 0], [0, 0]])
        padded = tf.ensure_shape(padded, (None, *image.shape))
        return network(normalize(padded))[key][:count]

    def answer(images):
        scores = activation(outputs(images, "logits"))
        probabilities, indices = tf.math.top_k(scores, min(TOP, len(class_names)))
        return {
            "classes": tf.gather(names, indices),
            "probabilities": probabilities,
            "scores": scores,
        }

    def serving_default(image_bytes):
        images = tf.map_fn(
            lambda contents: decode(checked(contents)),
            image_bytes,
            parallel_iterations=DECODED_AT_ONCE,
            fn_output_signature=image,
        )
        return answer(images)

    def images(images):
        return answer(images)

    def features(images):
        return {"features": outputs(images, "features")}

    files = tf.TensorSpec([None], tf.string)
    decoded = tf.TensorSpec([None, *image.shape], tf.uint8)
    for function, spec in (
        (serving_default, files),
        (images, decoded),
        (features, decoded),
    ):
        add_endpoint(archive, function, spec)
    return archive


def add_endpoint(
    archive: keras.export.ExportArchive, function: Callable[..., object], spec: Any
) -> None:
    """Adds a function in TensorFlow operations as a signature of its name.

    Args:
        archive: Where it is added.
        function: Of one tensor, to a dict of tensors.
        spec: The tensor's `tf.TensorSpec`.
    """
    traced = tensorflow().function(function, input_signature=[spec])
    traced.get_concrete_function()  # Keras takes only functions already traced.
    archive.add_endpoint(function.__name__, traced)


def _network_function(archive, model):
    """A function from normalized images to the dict of the network's two outputs."""
    both = keras.Model(
        model.inputs[0], {"features": features_of(model), "logits": model.outputs[0]}
    )
    if keras.backend.backend() == "tensorflow":
        # Not `archive.track(model)`, which stores every weight twice (Keras 3.15).
        return lambda images: both(images, training=False)
    archive.track(both)
    return archive.add_endpoint(
        "network",
        lambda images: both(images, training=False),
        input_signature=[keras.InputSpec(shape=model.input_shape, dtype="float32")],
        # JAX would compile it for the devices of this machine alone.
        jax2tf_kwargs={"native_serialization_platforms": ("cpu", "cuda")},
    )


def _check(model, class_names, version):
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise RuntimeError(
            "A SavedModel can be written on the TensorFlow backend (and on JAX). "
            f"Received: backend={keras.backend.backend()!r}. A saved model loads on "
            "every backend: load it with KERAS_BACKEND=tensorflow and export there."
        )
    check_version(version)
    check_classifier(model, class_names)


def check_version(version: int) -> None:
    """Checks the name of a version's folder.

    Raises:
        ValueError: If it is no positive integer.
    """
    if type(version) is not int or version < 1:
        raise ValueError(
            f"`version` must be a positive integer. Received: version={version!r}."
        )
