"""Analyses of what a run's blocks do: lesions, permutations, paths; for `runs.analyses`."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from keras_resnet import analysis
from keras_resnet.analysis import block_plots
from keras_resnet.config.words import counted
from keras_resnet.runs.subjects import Analysis, Measured, Subject, drawn


def _lesions(subject: Subject) -> Measured:
    from keras_resnet.analysis.lesions import COUNTS

    network, options = analysis.route(subject.model), subject.options
    data, samples = (subject.images, subject.labels), options.samples or 5
    blocks = len(network.blocks)
    counts = [count for count in COUNTS if count <= blocks]
    with _going_on("lesions", subject, (blocks,)) as how:
        each = analysis.delete_each(network, data, **how)
    shape = len(counts), samples
    with _going_on("lesions", subject, shape, counts=counts) as how:
        several = analysis.delete_random(
            network, data, counts=counts, samples=samples, seed=options.seed, **how
        )
    return {"each": each, "random": several}


@contextlib.contextmanager
def _going_on(
    name: str, subject: Subject, shape: tuple[int, ...], **made_with: Any
) -> Iterator[dict[str, Any]]:
    """A block that measures a network after changes of it; after an interrupt, the rest.

    Args:
        name: Of the analysis.
        subject: The network.
        shape: Of the changes, in whose order they are measured.
        **made_with: As of `KnownPoints.saved`.

    Yields:
        Arguments of the functions that measure.
    """
    import numpy as np

    from keras_resnet.analysis.walk import Point
    from keras_resnet.runs.known_points import KnownPoints

    known = KnownPoints(subject.folder / f"{name}.npz")
    with known.saved(subject, shape, **made_with) as (points, save):

        def progress(done: int, total: int) -> None:
            if done > 1:  # The first is the whole network.
                index = tuple(map(int, np.unravel_index(done - 2, shape)))
                loss, error = points[(slice(None), *index)]
                save(Point(index, loss, error, done, total))
            subject.progress(done, total)

        yield {
            "known": points,
            "batch_size": subject.options.batch_size,
            "progress": progress,
        }


def _lesions_lines(results: Mapping[str, Any]) -> list[str]:
    each, several = results["each"], results["random"]
    pairs = sorted(zip(each["error"], each["names"], strict=True))
    (low, lowest), (high, highest) = pairs[0], pairs[-1]
    lines = [
        f"top-1 error of the whole network {each['whole_error']:.1f} %",
        f"without one block: median {statistics.median(each['error']):.1f} %, "
        f"{low:.1f} ({lowest}) to {high:.1f} % ({highest})",
        "without several, drawn at random, mean: "
        + ", ".join(
            f"{count}: {statistics.mean(errors):.1f} %"
            for count, errors in zip(several["counts"], several["error"], strict=True)
        ),
    ]
    if each["skipped"]:
        lines.append(
            "not deleted, since their input and output differ in shape: "
            + ", ".join(each["skipped"])
        )
    return lines


def _permutations(subject: Subject) -> Measured:
    from keras_resnet.analysis.permutations import SWAPS

    samples = subject.options.samples or 5
    shape = len(SWAPS), samples
    with _going_on("permutations", subject, shape, swaps=SWAPS) as how:
        found = analysis.permute(
            subject.model,
            (subject.images, subject.labels),
            swaps=SWAPS,
            samples=samples,
            seed=subject.options.seed,
            **how,
        )
    return {"permutations": found}


def _permutations_lines(results: Mapping[str, Any]) -> list[str]:
    found = results["permutations"]
    rows = zip(found["swaps"], found["kendall_tau"], found["error"], strict=True)
    return [
        f"top-1 error in the network's own order {found['whole_error']:.1f} %",
        *(
            f"{counted(swaps, 'swap')}: mean {statistics.mean(errors):.1f} %, "
            f"{min(errors):.1f} to {max(errors):.1f} %, Kendall's tau "
            f"{statistics.mean(tau):.2f}"
            for swaps, tau, errors in rows
        ),
    ]


def _paths(subject: Subject) -> Measured:
    options = subject.options
    found = analysis.gradient_by_path(
        subject.model,
        subject.images,
        subject.labels,
        samples=options.samples or 10,
        seed=options.seed,
        progress=subject.progress,
    )
    return {"paths": found, "covering_95": found.covering(0.95)}


def _paths_lines(results: Mapping[str, Any]) -> list[str]:
    first, last = results["covering_95"]
    blocks = len(results["paths"]["lengths"]) - 1
    return [
        f"95 % of the gradient comes by paths through {first} to {last} of "
        f"{counted(blocks, 'block')}; the mean path goes through {blocks / 2:g}"
    ]


LESIONS = Analysis(
    about="errors without one block and several (Veit et al. 2016, sec. 4)",
    measure=_lesions,
    draw=drawn(block_plots.deletions, "each", "random"),
    lines=_lesions_lines,
    images=500,
)

PERMUTATIONS = Analysis(
    about="errors with blocks in other places (Veit et al. 2016, sec. 4.3)",
    measure=_permutations,
    draw=drawn(block_plots.permutations, "permutations"),
    lines=_permutations_lines,
    images=500,
)

PATHS = Analysis(
    about="gradients by path length (Veit et al. 2016, sec. 5)",
    measure=_paths,
    draw=drawn(block_plots.path_gradients, "paths"),
    lines=_paths_lines,
    images=32,
    splits=("train",),
    gradients="all",
)
