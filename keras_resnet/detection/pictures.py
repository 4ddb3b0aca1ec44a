"""Pictures of what is there and what was detected, and the worst of a detector's misses."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_resnet.analysis.box_plots import boxes_side_by_side
from keras_resnet.data.boxes import BoxedExamples, boxed
from keras_resnet.data.examples import StreamedExamples
from keras_resnet.detection.inference import Found, upright
from keras_resnet.detection.misses import in_words, misses_by_image, with_mistakes
from keras_resnet.files import local_path, replace_file


class Worst(NamedTuple):
    """Where the worst misses are shown and told.

    Attributes:
        picture: A PNG; `None` where there is no mistake.
        text: A line for each image, the one with most mistakes first.
    """

    picture: pathlib.Path | None
    text: pathlib.Path


def held(examples: BoxedExamples, positions: Sequence[int]) -> BoxedExamples:
    """Some images of a split, in this order; those of a stream are then in memory."""
    whole = examples.examples
    if not isinstance(whole, StreamedExamples):
        return examples.take(np.asarray(positions, int))
    found: dict[int, bytes] = {}
    wanted = set(map(int, positions))
    for image, place in whole.read().as_numpy_iterator():
        if int(place) in wanted:
            found[int(place)] = image
        if len(found) == len(wanted):
            break
    return boxed(
        [found[int(place)] for place in positions],
        examples.sizes[positions],
        examples.objects.take(np.asarray(positions, int)),
        [examples.ids[place] for place in positions],
    )


def draw_detections_and_truth(
    examples: BoxedExamples,
    detections: Sequence[Mapping[str, np.ndarray]],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    score: float = 0.5,
    title: str = "What is there, and what was detected",
) -> pathlib.Path:
    """Draws images with their objects, and beside each what was detected in it.

    Args:
        examples: Images, all of which are drawn, one below the other.
        detections: Of each of them, as of `detections_in`.
        class_names: One per label.
        path: File to write, as PNG, PDF or SVG by its suffix.
        score: Detections of at least this score are drawn; those that are wrong, and
            objects that are missed at this score, are marked.
        title: Said above all.

    Returns:
        `pathlib.Path` of the file.
    """
    truth = examples.objects
    ordered = misses_by_image(truth, detections, score=score)
    by_image = sorted(ordered, key=lambda one: one.image)
    sides = [with_mistakes(one, truth, detections) for one in by_image]
    return boxes_side_by_side(
        [upright(image) for image in examples.images],
        [objects for objects, _ in sides],
        [found for _, found in sides],
        class_names,
        path,
        titles=[str(name) for name in examples.ids],
        title=title,
    )


def draw_worst(
    examples: BoxedExamples,
    detections: Sequence[Found],
    class_names: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    images: int = 8,
    score: float = 0.5,
) -> Worst:
    """Shows and tells what a detector gets wrong: ``misses.png`` and ``misses.txt``.

    Args:
        examples: A split.
        detections: Of each of its images, as of `detections_in`.
        class_names: One per label.
        folder: Where to write.
        images: How many images are drawn at most, those with most mistakes.
        score: As of `misses_by_image`.

    Returns:
        The two files. The text has a line for each image with a mistake, and says last
        how many have none.
    """
    folder = local_path(folder)
    truth = examples.objects
    ordered = misses_by_image(truth, detections, score=score)
    bad = [one for one in ordered if one.mistakes]
    lines = [in_words(one, examples.ids[one.image], truth, class_names) for one in bad]
    lines.append(f"No mistake in {len(ordered) - len(bad)} of {len(ordered)} images.")
    text = folder / "misses.txt"
    # What is no UTF-8 in a name becomes an escape.
    replace_file(
        text,
        lambda new: new.write_text(
            "\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace"
        ),
    )
    if not bad:
        return Worst(None, text)
    positions = [one.image for one in bad[:images]]
    picture = draw_detections_and_truth(
        held(examples, positions),
        [detections[place] for place in positions],
        class_names,
        folder / "misses.png",
        score=score,
        title=f"The {len(positions)} images with most mistakes at a score of {score:g}",
    )
    return Worst(picture, text)
