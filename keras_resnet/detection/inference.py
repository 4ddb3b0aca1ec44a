"""Runs a detector over images, in batches that the memory holds.

A detector is here a `FasterRCNN`, or any Keras model that takes a dict of ``"images"`` and
``"image_shapes"`` and gives ``"boxes"``, ``"scores"``, ``"classes"`` and ``"valid"``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.checks import check_positive
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.image_formats import NAMES
from keras_resnet.data import canvases, image_sizes
from keras_resnet.data.bad_examples import reason_of
from keras_resnet.data.box_pipelines import evaluation_batches
from keras_resnet.data.boxes import BoxedExamples, boxed, of_images
from keras_resnet.data.image_files import contents_of
from keras_resnet.data.listing import as_text
from keras_resnet.detection import heads
from keras_resnet.devices import limits
from keras_resnet.devices.host import tensorflow

Found: TypeAlias = dict[str, np.ndarray]  # Of one image: boxes, scores and classes.
Image: TypeAlias = str | os.PathLike[str] | bytes  # A file, or what is in one.

FILES = 64  # That are read, then looked at, at a time.
BYTES = 4  # Of a number of float32.
# Of the largest feature maps as many are there at a time: what a layer takes and gives,
# the shortcut, and what the layer keeps for itself.
ALIVE = 4
# Of what ROIAlign pools as many are there: twice as many points in each direction as
# cells, and the cells.
POOLED = 5


def detections_in(
    detector: keras.Model,
    examples: BoxedExamples,
    settings: BoxBatches,
    *,
    batch_size: int | None = None,
    seen: Callable[[int], Any] | None = None,
) -> list[Found]:
    """Detects objects in all images of a split.

    Images are read, resized and looked at batch by batch; what is kept are the detections.

    Args:
        detector: A `FasterRCNN`, or a Keras model with the same inputs and outputs.
        examples: The split.
        settings: How images are resized and padded, as in training; the last of its
            ``shorter_sides`` counts.
        batch_size: Images at a time; by default as many as in ``settings``. Fewer are
            taken where the memory holds fewer.
        seen: Called after each batch with the number of its images.

    Returns:
        For each image of ``examples``, in their order, ``boxes``, float32 ``(n, 4)``,
        ``x1, y1, x2, y2`` in pixels of the upright image as it was; ``scores``, float32
        ``(n,)``; ``classes``, int32 ``(n,)``. This is what `voc_precision` takes.

    Raises:
        ValueError: If the model's outputs are others.
    """
    found: list[Any] = [None] * examples.size
    for indices, ones in _in_batches(detector, examples, settings, batch_size):
        for index, one in zip(indices, ones, strict=True):
            found[index] = one
        if seen is not None:
            seen(len(ones))
    return found


def _in_batches(detector, examples, settings, batch_size):
    """Pairs of positions and of the detections in these images."""
    # Smaller images than those of the last size need less padding; no ground truth is used.
    sides = settings.shorter_sides[-1:]
    settings = replace(settings, shorter_sides=sides, max_boxes=None)
    groups = canvases.by_orientation(examples.sizes, np.full(examples.size, True))
    sizes = [canvases.canvas(examples.sizes[group], settings) for group in groups]
    most = settings.batch_size if batch_size is None else batch_size
    check_positive("batch_size", most)
    count = min(images_at_once(detector, size, most) for size in sizes)
    settings = replace(settings, batch_size=count)
    for batch, about in evaluation_batches(examples, settings).as_numpy_iterator():
        outputs = _outputs(detector, batch, count)
        outputs["boxes"] = canvases.to_original(
            outputs["boxes"], batch["image_shapes"], about["original_shapes"]
        )
        valid = outputs.pop("valid")
        yield about["indices"], canvases.per_image(outputs, valid)


def _outputs(detector: keras.Model, batch: Mapping[str, Any], count: int) -> Found:
    """What a detector says of a batch, which may be less than whole."""
    given = {name: batch[name] for name in ("images", "image_shapes")}
    images = len(given["images"])
    compiled = keras.backend.backend() == "jax" or detector.jit_compile
    if compiled and images < count:  # XLA compiles each size of a batch anew.
        rows = np.minimum(np.arange(count), images - 1)
        given = {name: values[rows] for name, values in given.items()}
    outputs = detector.predict_on_batch(given)
    names = ("boxes", "scores", "classes", "valid")
    if not isinstance(outputs, Mapping) or not outputs.keys() >= {*names}:
        received = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs)
        raise ValueError(
            f"A detector must give a dict with {', '.join(names)}, as `FasterRCNN` does. "
            f"Received: {received}."
        )
    return {name: np.asarray(outputs[name])[:images] for name in names}


def images_at_once(detector: keras.Model, size: tuple[int, int], most: int) -> int:
    """Gives how many images of one size a detector can look at at a time.

    Args:
        detector: A `FasterRCNN`; of other models nothing is known, and ``most`` is given.
        size: Height and width of the batch.
        most: As many are wanted.

    Returns:
        From 1 to ``most``, so that feature maps and pooled proposals take about a quarter
        of the memory that this process may use.
    """
    spec = getattr(detector, "spec", None)
    if not isinstance(spec, DetectorSpec):
        return most
    strides = spec.network.strides
    filters = [stage.output_filters for stage in spec.network.stages]
    channels = dict(zip(strides, [spec.network.stem_filters, *filters], strict=True))
    largest = max(channels[name] / strides[name] ** 2 for name in channels)
    pooled = channels[heads.stages_of(spec)[0]]
    if spec.neck == "fpn":
        pooled = spec.pyramid_filters
        largest = max(largest, pooled / heads.strides(spec)[0] ** 2)
    cells = spec.proposals.after_suppression[1] * spec.box_head.pooled**2
    numbers = ALIVE * largest * size[0] * size[1] + POOLED * cells * pooled
    return limits.fitting(most, BYTES * numbers)


def detect_files(
    detector: keras.Model,
    images: Iterable[Image],
    settings: BoxBatches,
    *,
    score: float = 0.5,
    batch_size: int | None = None,
) -> Iterator[tuple[Image, Found | ValueError]]:
    """Detects objects on image files, a few of which are read and held at a time.

    Images are turned upright as their EXIF orientation says.

    Args:
        detector: As of `detections_in`.
        images: Paths of image files, or their bytes.
        settings: As of `detections_in`.
        score: Detections of at least this score are given, from 0 to 1.
        batch_size: As of `detections_in`.

    Yields:
        For each image, in order, a pair: the image as it was given, and what is found, as
        of `detections_in`, the best first; or the ``ValueError`` of one that can't be read.

    Raises:
        ValueError: If ``score`` isn't between 0 and 1.
    """
    check_score(score)
    return _answers(detector, images, settings, score, batch_size)


def check_score(score: float) -> None:
    """Raises `ValueError` if it isn't between 0 and 1."""
    if not 0 <= score <= 1:
        raise ValueError(f"`score` must be from 0 to 1. Received: score={score!r}.")


def _answers(detector, images, settings, score, batch_size):
    images = iter(images)
    while chunk := list(islice(images, FILES)):
        contents = dict(enumerate(map(_contents, chunk)))
        bad = {i: one for i, one in contents.items() if isinstance(one, ValueError)}
        good = {i: one for i, one in contents.items() if i not in bad}
        sizes = _sizes(good)
        for index in good.keys() - sizes.keys():
            contents = good.pop(index)
            reason = reason_of(partial(tensorflow().constant, contents), 3)
            bad[index] = not_decoded(chunk[index], reason)
        found = {}
        if good:
            nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
            examples = boxed(
                [*good.values()],
                np.array([sizes[index] for index in good]),
                of_images([nothing] * len(good)),
                [*good],
            )
            ones = detections_in(detector, examples, settings, batch_size=batch_size)
            found = dict(zip(good, ones, strict=True))
        for index, image in enumerate(chunk):
            yield image, bad.get(index) or above(found[index], score)


def above(found: Mapping[str, np.ndarray], score: float) -> Found:
    """The detections of an image that have at least a score."""
    enough = np.asarray(found["scores"]) >= score
    return {name: np.asarray(values)[enough] for name, values in found.items()}


def _contents(image):
    """The bytes of a file, or why there are none."""
    if isinstance(image, bytes):
        return image
    try:
        return contents_of(image)
    except (OSError, ValueError) as error:
        return ValueError(str(error))


def _sizes(contents):
    """Heights and widths of upright images by their keys, of those that are images."""
    if not contents:
        return {}
    files = tensorflow().data.Dataset.from_tensor_slices([*contents.values()])
    seen = image_sizes.of_images(files)
    keys = [*contents]
    return {keys[place]: one.upright for place, one in seen.items()}


def not_decoded(image: Image, reason: object) -> ValueError:
    """The error of an image that can't be decoded."""
    name = "The image" if isinstance(image, bytes) else as_text(os.fspath(image))
    return ValueError(f"{name} must be a {NAMES} image. Decoding it failed: {reason}")


def upright(image: Image) -> np.ndarray:
    """The pixels of an image file as viewers show them, uint8 ``(height, width, 3)``.

    Raises:
        FileNotFoundError, IsADirectoryError, ValueError: If it can't be read.
    """
    from keras_resnet.data.decoding import decode

    contents = image if isinstance(image, bytes) else contents_of(image)
    with tensorflow().device("CPU"):
        return decode(contents, 3, exif_orientation=True).numpy()
