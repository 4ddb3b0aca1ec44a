"""Figures of images with boxes: what is there beside what was detected."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_resnet.analysis import figures

WIDTH = 9.0  # Inches, of two images side by side.
LETTER = 5.5  # Pixels of the screen that a letter beside a box is wide, about.
FAINT: dict[str, Any] = {"linewidth": 1.0, "linestyle": (0, (1, 1.5))}
PLAIN: dict[str, Any] = {"linewidth": 1.3}
MISTAKE: dict[str, Any] = {"linewidth": 2.2, "linestyle": (0, (3, 1.5))}


def boxes_side_by_side(
    images: Sequence[np.ndarray],
    truth: Sequence[Mapping[str, np.ndarray]],
    detections: Sequence[Mapping[str, np.ndarray]],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    titles: Sequence[str] = (),
    title: str = "What is there, and what was detected",
) -> pathlib.Path:
    """Draws the objects of images, and beside them what was detected.

    Each class has a colour, and its name stands beside a box: in full if there is room,
    else as its beginning. Objects that were missed, and detections that are wrong, are
    drawn thick and dashed; difficult objects and crowds are dotted.

    Args:
        images: For each row uint8 ``(height, width, 1 or 3)``.
        truth: For each image ``boxes`` ``(n, 4)``, ``x1, y1, x2, y2`` in its pixels, and
            ``labels`` ``(n,)``; perhaps bool ``(n,)`` ``difficult``, ``crowd``, ``missed``.
        detections: For each image ``boxes``, ``classes`` and ``scores``; perhaps bool
            ``wrong``.
        class_names: One per label.
        path: File to write, as PNG, PDF or SVG by its suffix.
        titles: Said above each image, for example its name.
        title: Said above all.

    Returns:
        `pathlib.Path` of the file, written in one move.

    Raises:
        ValueError: If there is no image, or not one list of boxes for each.
    """
    if not len(images) or not len(images) == len(truth) == len(detections):
        raise ValueError(
            "There must be an image, and objects and detections for each. Received: "
            f"{len(images)} images, objects for {len(truth)}, detections for "
            f"{len(detections)}."
        )
    half = WIDTH / 2
    heights = [half * image.shape[0] / image.shape[1] for image in images]
    with figures.plain_text([title, *titles, *class_names]) as readable:
        names = [readable(name) for name in class_names]
        figure = figures.new_figure((WIDTH, sum(heights) + 0.35 * len(images) + 0.5))
        grid = figure.subplots(
            len(images), 2, squeeze=False, height_ratios=[h + 0.35 for h in heights]
        )
        rows = zip(grid, images, truth, detections, strict=True)
        for row, (axes, image, objects, found) in enumerate(rows):
            said = f"{readable(titles[row])}: " if row < len(titles) else ""
            _show(axes[0], image, f"{said}{_count(objects, 'object', 'missed')}")
            _show(axes[1], image, _count(found, "detection", "wrong"))
            _draw(axes[0], objects, objects["labels"], names, "missed")
            _draw(axes[1], found, found["classes"], names, "wrong")
        whole = figures.wrapped(readable(title), WIDTH)
        figure.suptitle(whole, fontsize="medium", fontweight="bold")
        return figures.save(figure, path)


def boxes_on_image(
    image: np.ndarray,
    detections: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> pathlib.Path:
    """Draws an image with what was detected in it: boxes, names and scores.

    Args:
        image: uint8 ``(height, width, 1 or 3)``.
        detections: ``boxes``, ``classes`` and ``scores``, as of `boxes_side_by_side`.
        class_names: One per label.
        path: File to write, as PNG, PDF or SVG by its suffix.
        title: Said above the image, such as its name, before the number of detections.

    Returns:
        `pathlib.Path` of the file, written in one move.
    """
    with figures.plain_text([title, *class_names]) as readable:
        names = [readable(name) for name in class_names]
        height = WIDTH * image.shape[0] / image.shape[1]
        figure = figures.new_figure((WIDTH, height + 0.35))
        axis = figure.subplots()
        said = _count(detections, "detection", "wrong")
        _show(axis, image, f"{readable(title)}: {said}" if title else said, grey=False)
        _draw(axis, detections, detections["classes"], names, "wrong")
        return figures.save(figure, path)


def _count(boxes, noun, mistake):
    count = len(boxes["boxes"])
    said = f"{count} {noun}{'s' * (count != 1)}"
    if mistake in boxes:
        said += f", {int(np.sum(boxes[mistake]))} {mistake}"
    return said


def _show(axis, image, said, grey=True):
    if grey or image.shape[-1] == 1:
        # Grey, so that the colours of boxes are told from the photograph's.
        image = image[..., :3].mean(axis=-1) if image.ndim == 3 else image
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, alpha=0.75 if grey else 1.0)
    axis.set_xlim(-0.5, image.shape[1] - 0.5)
    axis.set_ylim(image.shape[0] - 0.5, -0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(said, fontsize="small")


def _draw(axis, boxes, labels, names, mistake):
    from matplotlib.patches import Rectangle

    count = len(labels)
    faint = np.zeros(count, bool)
    for flag in ("difficult", "crowd"):
        faint |= np.asarray(boxes.get(flag, faint), bool)
    wrong = np.asarray(boxes.get(mistake, np.zeros(count, bool)), bool)
    shown = axis.get_window_extent().width / abs(np.diff(axis.get_xlim())[0])
    for index in range(count):
        # A pixel's centre has a whole number in matplotlib, its edge in ours.
        x1, y1, x2, y2 = np.asarray(boxes["boxes"][index], float) - 0.5
        label = int(labels[index])
        color = figures.COLORS[label % len(figures.COLORS)]
        style = MISTAKE if wrong[index] else FAINT if faint[index] else PLAIN
        box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=color, **style)
        axis.add_patch(box)
        score = f" {100 * boxes['scores'][index]:.0f}" if "scores" in boxes else ""
        room = max(4, int((x2 - x1) * shown / LETTER) - len(score))
        name = names[label]
        name = name if len(name) <= room else name[: room - 1] + "…"
        # Above the box, or inside where the image ends.
        inside = y1 < 2 * LETTER / shown
        axis.text(
            *(max(x1, 0), max(y1, 0), name + score),
            fontsize=5.5,
            color="white",
            verticalalignment="top" if inside else "bottom",
            clip_on=True,
            bbox={"facecolor": color, "edgecolor": "none", "pad": 0.6},
        )
