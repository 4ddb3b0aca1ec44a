"""Analyses of what a run makes of images, for `runs.analyses`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_resnet import analysis
from keras_resnet.analysis import seeing_plots
from keras_resnet.config.words import known
from keras_resnet.runs.subjects import Analysis, Measured, Subject, drawn

# Pixels of a side, of images whose feature maps are compared whole.
MOST_FLATTENED = 64
LEAST_IN_A_PLANE = 4  # Images, for `analysis.embed`.
OCCLUSION_STEPS = 8  # Of a patch on a side: it is a quarter, and moves by half of it.
FIELDS_AT_ONCE = 32  # Images whose pixels' gradients are computed at a time.


def _attribution(subject: Subject) -> Measured:
    model, images = subject.model, subject.images
    size = subject.options.batch_size
    how = {"batch_size": size, "progress": subject.progress}
    found = analysis.grad_cam(model, images, **how)
    return {
        "grad_cam": found,
        "occlusion": _occlusion(model, images, found.classes, how),
        "first_filters": _filters(subject),
        "predicted": [subject.classes[one] for one in found.classes],
        "true": [subject.classes[one] for one in subject.labels],
        "probability": _probability(model, images, found.classes, size),
        "pixels": _pixels(subject),
    }


def _occlusion(model: Any, images: Any, classes: Any, how: dict[str, Any]) -> Any:
    """The falls by patches of a quarter of the side, one number for each step of a patch.

    Between them the maps hardly change, and all pixels of photographs would be megabytes.
    """
    found = analysis.occlusion(model, images, classes, **how)
    step = max(1, min(found.size) // OCCLUSION_STEPS)
    return replace(found, maps=found.maps[:, step // 2 :: step, step // 2 :: step])


def _filters(subject: Subject) -> Any:
    """Those of the first layer, in the colours of the pixels that they are shown with."""
    found = analysis.first_filters(subject.model)
    if subject.preprocessing.channel_order == "bgr":
        return replace(found, images=found.images[..., ::-1])
    return found


def _probability(model: Any, images: Any, classes: Any, size: int) -> np.ndarray:
    """Of the class of each image, ``(images,)``."""
    scores = model.predict(images, batch_size=size, verbose=0).astype("float64")
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers[np.arange(len(scores)), classes] / powers.sum(axis=1)


def _pixels(subject: Subject) -> np.ndarray:
    """The images before they were normalized: uint8, the channels last, RGB or grey."""
    made_by = subject.preprocessing
    pixels = subject.images * np.array(made_by.std) + np.array(made_by.mean)
    if made_by.channel_order == "bgr":
        pixels = pixels[..., ::-1]
    return np.clip(np.rint(pixels), 0, 255).astype("uint8")


def _draw_attribution(measured: Measured, path: Any, *, title: str) -> Any:
    return seeing_plots.attributions(
        measured["pixels"],
        {
            "Grad-CAM": measured["grad_cam"].heat(),
            "occlusion": measured["occlusion"].heat(),
        },
        (measured["predicted"], measured["true"], measured["probability"]),
        measured["first_filters"].images,
        path,
        title=title,
    )


def _attribution_lines(results: Mapping[str, Any]) -> list[str]:
    names = zip(results["predicted"], results["true"], strict=True)
    right = sum(predicted == true for predicted, true in names)
    return [
        f"Grad-CAM (by {results['grad_cam']['layer']}) and occlusion of the predicted "
        f"classes; {right} of {len(results['true'])} right"
    ]


ATTRIBUTION = Analysis(
    about="parts of images that speak for a class (Selvaraju et al. 2017), first filters",
    measure=_attribution,
    draw=_draw_attribution,
    lines=_attribution_lines,
    images=12,
)


def _features(subject: Subject) -> Measured:
    options, everyone = subject.options, subject.everyone
    if len(subject.images) < LEAST_IN_A_PLANE:
        raise ValueError(
            f"There must be {LEAST_IN_A_PLANE} images or more to show their features in a "
            f"plane. Received: {len(subject.images)}. Ask for more `images` (--images), or "
            "for a split that has more."
        )
    parts = 1 + len(everyone)
    rows = analysis.network_features(
        subject.model, subject.images, batch_size=options.batch_size
    )
    embedding = analysis.embed(rows, seed=options.seed)
    subject.progress(1, parts)
    # Whole maps of large images would need many gigabytes.
    pooled = max(one.images.shape[1] for one in everyone) > MOST_FLATTENED
    similar = {}
    for done, one in enumerate(everyone, start=2):
        similar[one.name] = analysis.cka_by_layer(
            subject.model,
            one.model,
            subject.images,
            other_images=one.images,
            pooled=pooled,
            batch_size=options.batch_size,
        )
        subject.progress(done, parts)
    return {
        "embedding": embedding,
        "classes": [subject.classes[one] for one in subject.labels],
        "similarity": similar,
    }


def _features_lines(results: Mapping[str, Any]) -> list[str]:
    found = results["embedding"]
    lines = [f"features of {len(results['classes'])} images by {found['library']}"]
    for name, one in results["similarity"].items():
        first, last = one["cka"][0], one["cka"][-1]
        said = [known(value, ".2f") for value in (first[0], last[-1], first[-1])]
        lines.append(
            f"CKA with {name}: {said[0]} between the first layers, {said[1]} between the "
            f"last, {said[2]} between the first and its last"
        )
    return lines


FEATURES = Analysis(
    about="features in the plane, likeness of layers (Kornblith et al. 2019)",
    measure=_features,
    draw=drawn(seeing_plots.features, "embedding", "classes", "similarity"),
    lines=_features_lines,
    images=500,
    compares=True,
    labelled=False,
)


def _receptive_field(subject: Subject) -> Measured:
    from keras_resnet.analysis.routing import routed_or_not

    model = subject.model
    blocks = routed_or_not(model).blocks
    layers: list[str | None] = list({b.stage: b.name for b in blocks}.values())
    if not layers or not _has(model, layers):
        layers = [None]  # The one whose maps are pooled.
    size = min(FIELDS_AT_ONCE, subject.options.batch_size)
    initial = analysis.initialized(model, subject.options.seed)
    networks = {"at initialisation": initial, "trained": model}
    done, total, fields = 0, len(networks) * len(layers), {}
    for name, network in networks.items():
        fields[name] = []
        for layer in layers:
            found = analysis.effective_receptive_field(
                network, subject.images, layer=layer, batch_size=size
            )
            fields[name].append(found)
            done += 1
            subject.progress(done, total)
    return {
        "fields": fields,
        "side": {name: [one.side() for one in row] for name, row in fields.items()},
    }


def _has(model: Any, layers: list[str | None]) -> bool:
    """Whether layers of these names are the model's own."""
    return {layer.name for layer in model.layers}.issuperset(layers)


def _receptive_field_lines(results: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, row in results["fields"].items():
        for found, side in zip(row, results["side"][name], strict=True):
            theory = found["theoretical"]
            said = f"{theory[0]}x{theory[1]}" if theory else "unknown"
            lines.append(
                f"{name}, {found['layer']}: pixels that matter would fill a square of side "
                f"{side:.1f}; all that can matter: {said}"
            )
    return lines


RECEPTIVE_FIELD = Analysis(
    about="pixels that a unit depends on (Luo et al. 2016)",
    measure=_receptive_field,
    draw=drawn(seeing_plots.receptive_fields, "fields"),
    lines=_receptive_field_lines,
    images=64,
    gradients="batch",
)
