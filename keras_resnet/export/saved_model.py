"""A classifier that takes image files -> a SavedModel in TF Serving's layout."""

import contextlib
import os
import pathlib
import tempfile

import keras

TOP = 5  # Classes named in an answer; `scores` has them all.


def export_saved_model(
    model, path, *, decode, normalize, class_names, version=1, overwrite=False
):
    """Writes ``path/<version>/``, which TF Serving loads as it is.

    Signature ``serving_default`` takes ``image_bytes``, string of shape ``(N,)``:
    encoded image files. Signature ``images`` takes ``images``, uint8 of shape
    ``(N, H, W, C)``: decoded, already at the model's size. Both give ``classes``,
    string ``(N, k)``, the names of the k = min(5, classes) most probable classes, best
    first; ``probabilities``, float32 ``(N, k)``, theirs; ``scores``, float32
    ``(N, classes)``, the probabilities of all classes in the order of ``class_names``.
    The names also lie in ``assets.extra/labels.txt``, one a line.

    On the JAX backend, the SavedModel has one more signature, ``logits``, which takes
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
        version: Positive integer. TF Serving serves the highest one that it finds.
        overwrite: Whether to replace this version if it exists.

    Returns:
        `pathlib.Path` of the version's folder. It appears in one move when complete.

    Raises:
        FileExistsError: If the version exists and ``overwrite`` is false.
        ValueError: If the model can't be served like this, if ``class_names`` don't
            fit it, or if ``version`` is not a positive integer.
        RuntimeError: On backends other than TensorFlow and JAX.
    """
    target = pathlib.Path(path) / str(version)
    _check(model, class_names, version)
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"A version must not exist yet. Received: version={version}, which is at "
            f"{target}. Choose another one, or pass `overwrite=True`."
        )
    archive = _archive(model, decode, normalize, class_names)
    with _replaced(target) as folder:
        archive.write_out(str(folder), verbose=False)
        # TF Serving's place for files that the graph does not read.
        extra = folder / "assets.extra"
        extra.mkdir()
        text = "".join(f"{name}\n" for name in class_names)
        (extra / "labels.txt").write_text(text, encoding="utf-8")
    return target


def gives_probabilities(model) -> bool:
    """Whether a model's last operation is a softmax, so that none may follow.

    Raises:
        ValueError: If it is an activation that gives neither probabilities nor logits.
    """
    # A functional model's operations are its layers and bare `keras.ops`.
    last = getattr(model, "operations", model.layers)[-1]
    if isinstance(last, keras.Model):
        return gives_probabilities(last)
    activation = getattr(last, "activation", keras.activations.linear)
    # By name: `keras.ops.softmax` leaves an operation of this name, and no layer.
    if type(last).__name__ == "Softmax" or activation is keras.activations.softmax:
        return True
    if activation is not keras.activations.linear:
        raise ValueError(
            "The model must end in logits or in a softmax. Received: the activation "
            f"{getattr(activation, '__name__', activation)!r} in {last.name!r}."
        )
    return False


def _archive(model, decode, normalize, class_names):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    logits = _logits_function(archive, model)
    activation = tf.identity if gives_probabilities(model) else tf.nn.softmax
    image = tf.TensorSpec(model.input_shape[1:], tf.uint8)
    names = tf.constant(list(class_names))

    def answer(images):
        # oneDNN's convolutions answer an empty batch with a wrong shape (TF 2.21), so
        # an empty request is computed with one black image, which is then cut off.
        count = tf.shape(images)[0]
        filling = tf.cast(tf.equal(count, 0), tf.int32)
        padded = tf.pad(images, [[0, filling], [0, 0], [0, 0], [0, 0]])
        padded = tf.ensure_shape(padded, (None, *image.shape))
        scores = activation(logits(normalize(padded)))[:count]
        probabilities, indices = tf.math.top_k(scores, min(TOP, len(class_names)))
        return {
            "classes": tf.gather(names, indices),
            "probabilities": probabilities,
            "scores": scores,
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def from_bytes(image_bytes):
        return answer(tf.map_fn(decode, image_bytes, fn_output_signature=image))

    @tf.function(input_signature=[tf.TensorSpec([None, *image.shape], tf.uint8)])
    def from_images(images):
        return answer(images)

    for name, function in (("serving_default", from_bytes), ("images", from_images)):
        function.get_concrete_function()  # Keras takes only functions already traced.
        archive.add_endpoint(name, function)
    return archive


def _logits_function(archive, model):
    if keras.backend.backend() == "tensorflow":
        # Not `archive.track(model)`, which stores every weight twice (Keras 3.15).
        return lambda images: model(images, training=False)
    archive.track(model)
    return archive.add_endpoint(
        "logits",
        lambda images: model(images, training=False),
        input_signature=[keras.InputSpec(shape=model.input_shape, dtype="float32")],
    )


def _check(model, class_names, version):
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise RuntimeError(
            "A SavedModel can be written on the TensorFlow backend (and on JAX). "
            f"Received: backend={keras.backend.backend()!r}. A saved model loads on "
            "every backend: load it with KERAS_BACKEND=tensorflow and export there."
        )
    if type(version) is not int or version < 1:
        raise ValueError(
            f"`version` must be a positive integer. Received: version={version!r}."
        )
    if len(model.inputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(
            "The model must take one batch of images, (N, H, W, C). "
            f"Received: inputs of shape {model.input_shape}."
        )
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(
            "The model must give one row of classes per image. "
            f"Received: outputs of shape {model.output_shape}."
        )
    if len(class_names) != model.output_shape[-1]:
        raise ValueError(
            "`class_names` must hold one name per class of the model. Received: "
            f"{len(class_names)} names, {model.output_shape[-1]} classes."
        )
    for layer in _layers(model):
        _check_layer(layer)


def _check_layer(layer):
    if layer.compute_dtype != "float32":
        raise ValueError(
            "The model must compute in float32 throughout: rebuild it under "
            "`keras.config.set_dtype_policy('float32')` and load the weights. "
            f"Received: layer={layer.name!r} with "
            f"compute_dtype={layer.compute_dtype!r}."
        )
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(
            "The model must be channels last, as served images are: rebuild it with "
            "`keras.config.set_image_data_format('channels_last')` and load the "
            f"weights, which are the same. Received: layer={layer.name!r} with "
            "data_format='channels_first'."
        )


def _layers(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


@contextlib.contextmanager
def _replaced(target):
    """Yields a folder to fill, which becomes ``target`` if nothing goes wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, as a move is only atomic within a file system; TF Serving
    # passes over folders whose name is not a number.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as name:
        new, old = pathlib.Path(name) / "new", pathlib.Path(name) / "old"
        yield new
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
