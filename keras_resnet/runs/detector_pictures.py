"""The picture of a detector's run: what is on some images, and what was detected."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from keras_resnet.analysis.box_plots import boxes_side_by_side
from keras_resnet.data.box_pipelines import evaluation_batches
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.detection import misses_by_image
from keras_resnet.detection.misses import with_mistakes
from keras_resnet.runs.detector_job import DetectorJob

SHOWN = 6


def draw_predictions(
    job: DetectorJob,
    split: str,
    found: Sequence[dict[str, np.ndarray]],
    path: pathlib.Path,
) -> None:
    """Draws the first images of a split with their objects beside what was detected.

    Args:
        job: What was trained.
        split: ``"validation"`` or ``"test"``.
        found: What was detected on each of its images.
        path: Of the file.
    """
    examples: BoxedExamples = getattr(job.splits, split)
    wrong = {one.image: one for one in misses_by_image(examples.objects, found)}
    images, truth, detections, names = [], [], [], []
    for place, image, scale in itertools.islice(_images(job, examples), SHOWN):
        objects, boxes = with_mistakes(wrong[place], examples.objects, found)
        images.append(image)
        for part, to in ((objects, truth), (boxes, detections)):
            to.append(part | {"boxes": part["boxes"] * scale})
        names.append(str(examples.ids[place]))
    boxes_side_by_side(
        images,
        truth,
        detections,
        job.splits.class_names,
        path,
        titles=names,
        title=f"{job.spec.name} on {split} images of {job.splits.name}: what is there, and "
        "what was detected with a score of 0.5 or more",
    )


def _images(
    job: DetectorJob, examples: BoxedExamples
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Images as the detector sees them: position, uint8, and what boxes are scaled by."""
    for batch, about in evaluation_batches(examples, job.recipe.batches):
        rows = zip(
            np.asarray(about["indices"]),
            np.asarray(batch["images"]),
            np.asarray(batch["image_shapes"]),
            np.asarray(about["original_shapes"]),
            strict=True,
        )
        for place, image, shape, original in rows:
            height, width = shape
            pixels = np.clip(np.round(image[:height, :width]), 0, 255).astype("uint8")
            scale = (shape / original)[[1, 0, 1, 0]]
            yield int(place), pixels, scale.astype("float32")
