"""Writes a detector of objects on image files as a SavedModel in TF Serving's layout."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras

from keras_resnet.devices.host import Tensor, tensorflow
from keras_resnet.export.checks import check_layers, check_names
from keras_resnet.export.limits import checked
from keras_resnet.export.saved_model import (
    GRAPH,
    add_endpoint,
    check_version,
    write_version,
)
from keras_resnet.files import local_path
from keras_resnet.targets import check_target

# What a signature answers for each image. Clients know them by these names.
OUTPUTS = ("boxes", "scores", "classes", "names", "count")
# Images of a request that are looked at at the same time: while the network computes one,
# another is decoded. Each takes hundreds of megabytes.
AT_ONCE = 2


def export_detector(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    decode: Callable[[Tensor], Tensor],
    prepare: Callable[[Tensor], tuple[Tensor, Tensor]],
    class_names: Sequence[str],
    files: Mapping[str, str] | None = None,
    finish: Callable[[pathlib.Path], object] | None = None,
    version: int = 1,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes ``path/<version>/``, which TF Serving loads as it is.

    Both signatures take a batch of any size, also of none:

    - ``serving_default``: ``image_bytes``, string of shape ``(N,)``, image files as
      `limits.checked` lets them pass, of any sizes. One that can't be decoded fails the
      request.
    - ``images``: ``images``, uint8 ``(N, H, W, 3)``, decoded images of any one size, RGB.

    Both give, with the k that the detector gives at the most, the best one first:

    - ``boxes``, float32 ``(N, k, 4)``: ``x1, y1, x2, y2`` in pixels of the image as it
      came, upright;
    - ``scores``, float32 ``(N, k)``: probabilities;
    - ``classes``, int32 ``(N, k)``: numbers from 0, in the order of ``class_names``;
    - ``names``, string ``(N, k)``: their names;
    - ``count``, int32 ``(N,)``: how many of the k there are. The others only fill up: -1
      in boxes and classes, a score of 0, and an empty name.

    Each image is computed by itself, so that no answer depends on the images that come
    with it. What lies beside the graph is as of `saved_model.export_saved_model`.

    Args:
        model: A detector, channels last and float32 throughout: from a dict of ``images``,
            ``(batch, height, width, 3)``, and ``image_shapes``, int32 ``(batch, 2)``, to a
            dict of ``boxes``, ``scores``, ``classes`` and ``valid``, as
            `keras_resnet.detection.FasterRCNN`, with ``num_classes``.
        path: Folder of the model's versions; created if missing.
        decode: Function in TensorFlow operations from an encoded image, scalar string,
            to uint8 ``(H, W, 3)``, upright.
        prepare: Function in TensorFlow operations from uint8 ``(H, W, 3)`` to what the
            model takes, resized and padded, and its height and width without the padding.
        class_names: Names (str) of the model's classes, in the order of their numbers.
        files: As of `saved_model.export_saved_model`, as are the rest.
        finish: Called with the version's folder before it appears.
        version: Of the model, the name of its folder.
        overwrite: Whether to replace this version if it exists.

    Returns:
        `pathlib.Path` of the version's folder.

    Raises:
        FileExistsError: If the version exists and ``overwrite`` is false, or it was not
            written by an export.
        ValueError: If the model can't be served like this, if ``class_names`` don't
            fit it, or if ``version`` is not a positive integer.
        RuntimeError: On backends other than TensorFlow.
    """
    target = local_path(path) / str(version)
    check_version(version)
    check_detector(model, class_names)
    check_target(target, GRAPH, overwrite)
    with compiling_for_xla(model, False):
        archive = _archive(model, decode, prepare, class_names)
    write_version(archive, target, class_names, files, finish)
    return target


def check_detector(model: keras.Model, class_names: Sequence[str]) -> None:
    """Checks that a detector can be exported.

    Args:
        model: The detector.
        class_names: Names of its classes.

    Raises:
        ValueError: If it can't.
        RuntimeError: On backends other than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A detector can be exported on the TensorFlow backend. Received: "
            f"backend={keras.backend.backend()!r}. A saved detector loads on every "
            "backend: load it with KERAS_BACKEND=tensorflow and export there."
        )
    check_names(class_names, model.num_classes)
    check_layers(model)


@contextlib.contextmanager
def compiling_for_xla(model: keras.Model, yes: bool = True) -> Iterator[None]:
    """Has a detector compute by operations that XLA has, or by TensorFlow's kernels.

    Args:
        model: The detector.
        yes: Which of the two.
    """
    before = model.jit_compile
    model.jit_compile = yes
    try:
        yield
    finally:
        model.jit_compile = before


def detect(
    model: keras.Model,
    prepare: Callable[[Tensor], tuple[Tensor, Tensor]],
    image: Tensor,
) -> dict[str, Tensor]:
    """Finds objects on one image, in TensorFlow.

    Args:
        model: As of `export_detector`, as is ``prepare``.
        prepare: From an image to what the model takes.
        image: uint8 ``(H, W, 3)``.

    Returns:
        ``boxes``, ``scores``, ``classes`` and ``count``, as `export_detector` says, without
        the axis of the batch.
    """
    tf = tensorflow()
    prepared, size = prepare(image)
    batch = {"images": prepared[tf.newaxis], "image_shapes": size[tf.newaxis]}
    found = {name: one[0] for name, one in model(batch, training=False).items()}
    old = tf.cast(tf.shape(image)[:2], tf.float32)
    # x and y twice, from height and width, as `canvases.to_original` does it.
    ratios = tf.tile((old / tf.cast(size, tf.float32))[::-1], [2])
    limits = tf.tile(old[::-1], [2])
    boxes = tf.clip_by_value(found["boxes"] * ratios, 0.0, limits)
    return {
        "boxes": tf.where(found["valid"][:, tf.newaxis], boxes, -1.0),
        "scores": found["scores"],
        "classes": found["classes"],
        "count": tf.reduce_sum(tf.cast(found["valid"], tf.int32)),
    }


def _archive(model, decode, prepare, class_names):
    tf = tensorflow()
    archive = keras.export.ExportArchive()
    names = tf.constant([*class_names, ""])  # The last one is of what fills up.

    def of_one(image):
        found = detect(model, prepare, image)
        classes = found["classes"]
        number = tf.where(classes < 0, len(class_names), classes)
        return found | {"names": tf.gather(names, number)}

    image = tf.TensorSpec([None, None, 3], tf.uint8)
    traced = tf.function(of_one, input_signature=[image])
    outputs = traced.get_concrete_function().structured_outputs
    # With all sides known, so that there is an answer to no image, too.
    specs = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in outputs.items()}

    def each(function, values):
        return tf.map_fn(
            function, values, parallel_iterations=AT_ONCE, fn_output_signature=specs
        )

    def serving_default(image_bytes):
        return each(lambda contents: traced(decode(checked(contents))), image_bytes)

    def images(images):
        return each(traced, images)

    add_endpoint(archive, serving_default, tf.TensorSpec([None], tf.string))
    add_endpoint(archive, images, tf.TensorSpec([None, None, None, 3], tf.uint8))
    return archive
