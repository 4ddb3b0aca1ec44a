"""Analyses of a run's responses and gradients, for `runs.analyses`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_resnet import analysis
from keras_resnet.analysis import network_plots
from keras_resnet.config.words import counted, known
from keras_resnet.runs.subjects import (
    Analysis,
    Measured,
    Subject,
    drawn,
    said_of_each,
)

if TYPE_CHECKING:
    import keras


def _responses(subject: Subject) -> Measured:
    measured = {}
    for done, one in enumerate(subject.everyone, start=1):
        measured[one.name] = analysis.layer_responses(
            one.model, one.images, batch_size=one.options.batch_size
        )
        subject.progress(done, len(subject.everyone))
    return {"networks": measured}


def _responses_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    pairs = sorted(zip(found["deviation"], found["layers"], strict=True))
    (low, lowest), (high, highest) = pairs[0], pairs[-1]
    middle = statistics.median(found["deviation"])
    lines = [
        f"{name}: standard deviation of {len(pairs)} 3x3 layers, median {middle:.2f}, "
        f"{low:.2f} ({lowest}) to {high:.2f} ({highest})"
    ]
    bare = sum(a == b for a, b in zip(found["layers"], found["measured"], strict=True))
    if bare:
        lines.append(
            f"{counted(bare, 'layer')} of them, with no batch norm behind, by the "
            "convolution's own output"
        )
    return lines


RESPONSES = Analysis(
    about="standard deviations of the 3x3 layers (He et al. 2016a, fig. 7)",
    measure=_responses,
    draw=drawn(network_plots.layer_responses, "networks"),
    lines=said_of_each("networks", _responses_lines),
    images=500,
    splits=("train",),
    compares=True,
    labelled=False,
)


def _gradients(subject: Subject) -> Measured:
    from keras_resnet.training.snapshots import read_snapshots, snapshots_in

    model, batch = subject.model, (subject.images, subject.labels)
    network, kept = _routed(model), snapshots_in(subject.run_folder)
    others = 2 if network.plain else 4
    parts = others + len(kept)
    initial = analysis.initialized(model, subject.options.seed)
    norms = {"initial": analysis.gradient_norms(initial, *batch)}
    subject.progress(1, parts)
    norms["trained"] = analysis.gradient_norms(model, *batch)
    subject.progress(2, parts)
    signal = identity = None
    if not network.plain:
        signal = analysis.signal_propagation(initial, subject.images)
        subject.progress(3, parts)
        if any(block.identity for block in network.blocks):
            identity = analysis.gradient_identity(initial, *batch)
        subject.progress(4, parts)
    along = None
    if kept:
        along = analysis.gradient_norms_along(
            model,
            read_snapshots(subject.run_folder),
            *batch,
            progress=lambda done: subject.progress(others + done, parts),
        )
    ratios = {name: found.ratio for name, found in norms.items()}
    return {
        "norms": norms,
        "ratio": ratios,
        "along": along,
        "signal": signal,
        "identity": identity,
    }


def _routed(model: keras.Model) -> analysis.Routed:
    """A network with its blocks; without any, where it has none."""
    from keras_resnet.analysis.routing import routed_or_not

    return routed_or_not(model)


def _draw_gradients(measured: Measured, path: Any, *, title: str) -> Any:
    norms = {
        "at initialisation": measured["norms"]["initial"],
        "trained": measured["norms"]["trained"],
    }
    return network_plots.gradient_norms(
        norms, measured["signal"], path, title=title, along=measured["along"]
    )


def _gradients_lines(results: Mapping[str, Any]) -> list[str]:
    said = {"initial": "at initialisation", "trained": "trained"}
    lines = [
        f"{said[name]}: norm of the first block's first convolution over that of the last "
        f"one {known(results['ratio'][name], '.3g')}, loss {known(found['loss'], '.3g')}"
        for name, found in results["norms"].items()
    ]
    if along := results["along"]:
        pairs = zip(along["updates"], along["ratio"], strict=True)
        said_along = ", ".join(f"{known(ratio, '.3g')} ({n:,})" for n, ratio in pairs)
        lines.append(f"this ratio along the training (after updates): {said_along}")
    if results["signal"]:
        variance = _listed(results["signal"]["variance"])
        lines.append(f"variance at the additions, at initialisation: {variance}")
    if results["identity"]:
        errors = _listed(results["identity"]["error"])
        lines.append(
            f"relative error of He et al. 2016b, eq. 5, in each stage: {errors} (0 where "
            "nothing follows the additions)"
        )
    return lines


def _listed(values: Sequence[float | None]) -> str:
    return ", ".join(known(value, ".3g") for value in values)


GRADIENTS = Analysis(
    about="gradients by layer, growth of the signal, He et al. 2016b, eq. 5",
    measure=_gradients,
    draw=_draw_gradients,
    lines=_gradients_lines,
    images=64,
    splits=("train",),
    batch_norm="training",
    gradients="all",
)
