"""Analyses of the loss around a run's weights, for `runs.analyses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_resnet import analysis
from keras_resnet.analysis import landscape_plots
from keras_resnet.runs.subjects import (
    Analysis,
    Measured,
    Subject,
    drawn,
    said_of_each,
)

if TYPE_CHECKING:
    import keras

    from keras_resnet.analysis.directions import Direction
    from keras_resnet.runs.known_points import KnownPoints

CLIP = 10.0  # Li et al. 2018 draw contours up to there.
# A point may be known to be above the clip after the first 64 images.
AT_ONCE = 64


def _landscape(subject: Subject) -> Measured:
    from keras_resnet.runs.known_points import KnownPoints

    known = KnownPoints(subject.folder / "landscape.npz")
    return {"networks": {one.name: _around(one, known) for one in subject.everyone}}


def _around(subject: Subject, known: KnownPoints) -> analysis.Surface:
    """The surface around a network, in two random directions."""
    from keras_resnet.export.fold import fold_batch_norm

    options, model = subject.options, fold_batch_norm(subject.model)
    directions = (
        analysis.random_direction(model, 2 * options.seed),
        analysis.random_direction(model, 2 * options.seed + 1),
    )
    x = np.linspace(-options.range, options.range, options.points)
    y = x if options.dimensions == 2 else np.zeros(1)
    return _surface(subject, known, model, directions, (x, y))


def _surface(
    subject: Subject,
    known: KnownPoints,
    model: keras.Model,
    directions: tuple[Direction, Direction],
    axes: tuple[np.ndarray, np.ndarray],
    **made_with: Any,
) -> analysis.Surface:
    """The surface of one network; goes on with the points that are known."""
    from keras_resnet.analysis import walk

    x, y = axes
    # The first images decide whether a point is measured to its end.
    order = np.random.default_rng(subject.options.seed).permutation(len(subject.images))
    batch_size = min(AT_ONCE, subject.options.batch_size)
    made_with |= {"axes": [x.tolist(), y.tolist()], "batch_size": batch_size}
    made_with["stops"] = [CLIP, walk.FAR, walk.IMAGES_BEFORE_A_STOP]
    with known.saved(subject, (len(y), len(x)), **made_with) as (points, save):

        def on_point(point: analysis.Point) -> None:
            save(point)
            subject.progress(point.done, point.total)

        return analysis.surface(
            model,
            (subject.images[order], subject.labels[order]),
            directions,
            axes,
            known=points,
            clip=CLIP,
            on_point=on_point,
            batch_size=batch_size,
        )


def _landscape_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    loss, error = np.array(found["loss"]), np.array(found["error"])
    middle = len(found["y"]) // 2, len(found["x"]) // 2
    above = 100 * float(np.mean(loss >= found["clip"]))
    return [
        f"{name}: loss {loss[middle]:.3g} and top-1 error {error[middle]:.1f} % at the "
        f"network, loss up to {loss.max():.3g} around it; {above:.0f} % of the points "
        f"have {found['clip']:g} or more"
    ]


LANDSCAPE = Analysis(
    about="loss along two random directions (Li et al. 2018)",
    measure=_landscape,
    draw=drawn(landscape_plots.surfaces, "networks"),
    lines=said_of_each("networks", _landscape_lines),
    images=1000,
    splits=("train",),
    compares=True,
)


def _trajectory(subject: Subject) -> Measured:
    from keras_resnet.runs.known_points import KnownPoints

    known = KnownPoints(subject.folder / "trajectory.npz")
    surfaces, paths = {}, {}
    for one in subject.everyone:
        found, paths[one.name] = _plane(one)
        axes = found.axes(one.options.points)
        # Batch norm isn't folded: the plane is that of the weights as they were trained.
        surfaces[one.name] = _surface(
            one,
            known,
            one.model,
            found.directions,
            axes,
            path=paths[one.name].positions.tolist(),
        )
    return {"networks": surfaces, "paths": paths}


def _plane(subject: Subject) -> tuple[analysis.Trajectory, analysis.TrainingPath]:
    """The plane in which the weights that a run has kept differ most."""
    from keras_resnet.training.snapshots import read_snapshots

    kept = dict(read_snapshots(subject.run_folder))
    kept = _to_the_end(subject, kept) if kept else kept  # None of a converted network.
    if len(kept) < 3:
        raise ValueError(
            f"{subject.run_folder} must hold the weights of three moments of its training "
            "or more, as `keras-resnet train --snapshots N` keeps them. Received: "
            f"{len(kept)}."
        )
    found = analysis.project_trajectory(list(kept.values()))
    path = analysis.TrainingPath(
        updates=np.array(list(kept)),
        positions=found.positions,
        explained=found.explained,
    )
    return found, path


def _to_the_end(subject: Subject, kept: dict[int, Any]) -> dict[int, Any]:
    """The weights that were kept and, where the final ones weren't, the network's own.

    The surface is around these: a way that ends elsewhere would lie in a wrong place.
    """
    from keras_resnet.runs.from_record import record_of

    own = subject.model.get_weights()
    last = [*kept.values()][-1]
    pairs = list(zip(last, own, strict=False))
    if all(a.shape == b.shape and np.allclose(a, b, rtol=1e-5) for a, b in pairs):
        return kept
    return kept | {record_of(subject.run_folder)["steps"]: own}


def _trajectory_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    first, second = (100 * share for share in found["explained"])
    return [
        f"{name}: {len(found['updates'])} sets of weights along the training; "
        f"{first:.0f} % of their variance along the first direction, {second:.0f} % "
        "along the second"
    ]


TRAJECTORY = Analysis(
    about="way of the weights in training, over the loss (Li et al. 2018, sec. 7)",
    measure=_trajectory,
    draw=drawn(landscape_plots.trajectories, "networks", "paths"),
    lines=said_of_each("paths", _trajectory_lines),
    images=1000,
    splits=("train",),
    compares=True,
)


def _curvature(subject: Subject) -> Measured:
    measured = {}
    for one in subject.everyone:
        found = analysis.top_hessian_eigenvalue(
            one.model,
            (one.images, one.labels),
            seed=one.options.seed,
            batch_size=one.options.batch_size,
            progress=subject.progress,
        )
        subject.progress(found.iterations, found.iterations)
        measured[one.name] = found
    return {"networks": measured}


def _curvature_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    changes = "" if found["converged"] else "; it still changes"
    return [
        f"{name}: top eigenvalue of the Hessian {found['eigenvalue']:.4g}, after "
        f"{found['iterations']} iterations{changes}"
    ]


CURVATURE = Analysis(
    about="top eigenvalue of the loss's Hessian (Yao et al. 2020)",
    measure=_curvature,
    draw=drawn(landscape_plots.eigenvalues, "networks"),
    lines=said_of_each("networks", _curvature_lines),
    images=256,
    splits=("train",),
    compares=True,
    gradients="second",
)
