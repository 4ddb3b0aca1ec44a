"""What an analysis of a run is: what is asked for, what it gets, and what it does."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from keras_resnet.config.checks import is_integer

if TYPE_CHECKING:  # These import Keras.
    import keras
    import numpy as np

    from keras_resnet.config.preprocessing import Preprocessing
    from keras_resnet.runs.load import Run

FARTHEST = 100.0  # Of a loss landscape. Far beyond, float32 overflows.

# Called with what is done of a part of an analysis, and how much that part is.
Progress: TypeAlias = Callable[[int, int], object]
Measured: TypeAlias = dict[str, Any]  # Results of `analysis`, and numbers, by name.


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """What an analysis is made with.

    Attributes:
        beside: Other runs, or their folders, that are measured on the same images; of
            analyses that compare networks.
        data: Folder of images or name of a data set, if not the run's own.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"train"``, ``"validation"`` or ``"test"``; not with another folder. By
            default as the analysis has it, see `Analysis`.
        images: Number of images, drawn from the split; by default as the analysis has it,
            or fewer where the memory holds fewer.
        samples: Number of draws for each number of deleted blocks or swaps, or for each
            length of path; by default 5, 5 and 10.
        seed: Of what is drawn: images, initial weights, blocks and paths.
        batch_size: How many images are computed at a time, or fewer where the memory
            holds fewer. Gradients are those of all images together.
        points: Of each axis of a loss landscape: an odd number, so that the network itself
            is the point in the middle.
        range: How far a loss landscape goes in each direction, in lengths of the
            network's filters.
        dimensions: Of a loss landscape: 2 for a surface, 1 for the line in its middle.

    Raises:
        ValueError: If ``images``, ``samples`` or ``batch_size`` is less than 1, ``points``
            is not odd or less than 3, ``seed`` is below 0 or above 2³² - 1, ``range`` is
            not above 0 or beyond `FARTHEST`, or ``dimensions`` is neither 1 nor 2.
    """

    beside: Sequence[str | os.PathLike[str] | Run] = ()
    data: str | os.PathLike[str] | None = None
    data_dir: str | os.PathLike[str] | None = None
    split: str | None = None
    images: int | None = None
    samples: int | None = None
    seed: int = 0
    batch_size: int = 128
    points: int = 25
    range: float = 1.0
    dimensions: int = 2

    def __post_init__(self) -> None:
        for name in ("images", "samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value!r}.")
        if self.points < 3 or self.points % 2 == 0:
            raise ValueError(
                "`points` must be an odd number of 3 or more, so that the network itself "
                f"is the point in the middle. Received: {self.points!r}."
            )
        if not is_integer(self.seed, 0, 2**32 - 1):
            raise ValueError(
                f"`seed` must be an integer from 0 to {2**32 - 1}. "
                f"Received: {self.seed!r}."
            )
        if not 0 < self.range <= FARTHEST:
            raise ValueError(
                f"`range` must be a number above 0, up to {FARTHEST}, in lengths of the "
                f"network's filters. Received: {self.range!r}."
            )
        if self.dimensions not in (1, 2):
            raise ValueError(
                f"`dimensions` must be 1 or 2. Received: {self.dimensions!r}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A run's network with the images that it is analysed on.

    Attributes:
        name: Of the run.
        model: Gives logits ``(batch, classes)``.
        images: float32 ``(n, height, width, channels)``, as the model takes them.
        labels: int64 ``(n,)``.
        options: What was asked for.
        progress: To be called with what is done, and how much it is in all.
        classes: Names of the classes.
        preprocessing: That made the images of pixels.
        folder: Where the analyses of the run are kept; there may be none yet.
        beside: The other runs, on the same images.
    """

    name: str
    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    options: AnalysisOptions
    progress: Progress
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    folder: pathlib.Path
    beside: tuple[Subject, ...] = ()

    @property
    def run_folder(self) -> pathlib.Path:
        """Where the run lies."""
        return self.folder.parent

    @property
    def everyone(self) -> tuple[Subject, ...]:
        """This one and those beside it."""
        return (self, *self.beside)

    def fingerprint(self) -> str:
        """SHA-256 of the images as the network takes them, and of their labels."""
        digest = hashlib.sha256(f"{self.images.shape}".encode())
        digest.update(self.images.astype("<f4").tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One of the analyses.

    Attributes:
        about: What it measures, for the help: a phrase without a verb.
        measure: Gives results of `analysis` and numbers by name, which are kept as JSON
            but for ``pixels``, images that are drawn alone.
        draw: Draws what ``measure`` gave into a file, with the title ``title``.
        lines: What is printed, of the results as they are in JSON.
        images: Number of images by default.
        splits: Names of splits; the first that the data has is taken by default.
        batch_norm: ``"inference"`` where batch norm normalizes by its moving statistics,
            ``"training"`` where by those of the batch.
        compares: Whether other runs can be measured beside it.
        labelled: Whether the images' labels count, so that the other runs must have the
            classes of the data, too.
        gradients: ``"all"`` where the gradients of all images are computed together,
            ``"batch"`` where those of a batch of them at a time, ``"second"`` where
            second derivatives are.
    """

    about: str
    measure: Callable[[Subject], Measured]
    draw: Callable[..., Any]
    lines: Callable[[Mapping[str, Any]], list[str]]
    images: int
    splits: tuple[str, ...] = ("test", "validation")
    batch_norm: str = "inference"
    compares: bool = False
    labelled: bool = True
    gradients: Literal["all", "batch", "second"] | None = None


def drawn(plot: Callable[..., Any], *results: str) -> Callable[..., Any]:
    """The ``draw`` of an `Analysis`: a function that draws these of its results.

    Args:
        plot: Takes the results, a path and a ``title``.
        *results: Their names.
    """

    def draw(measured: Measured, path: Any, *, title: str) -> Any:
        return plot(*(measured[name] for name in results), path, title=title)

    return draw


def said_of_each(
    results: str, say: Callable[[str, Mapping[str, Any]], list[str]]
) -> Callable[[Mapping[str, Any]], list[str]]:
    """The ``lines`` of an `Analysis` that has a result for each network.

    Args:
        results: What these are called, by the networks' names.
        say: Gives the lines of a network's name and its result.
    """

    def lines(found: Mapping[str, Any]) -> list[str]:
        return [line for name, one in found[results].items() for line in say(name, one)]

    return lines
