"""Our recipe for blood cells (BCCD) over seeds, and what each improvement changes there.

    python -m benchmarks.bccd OUTPUT_DIR --data BCCD [--seeds 2] [--classifier RUN]
        [--only fine_tuned] [--steps 300]

Trains the recipe `bccd` from random weights, the same with the paper's global context and,
with --classifier, the folder of a run of `imagenette_fast`, from its weights and beside it
from random ones with the same backbone. Then it measures each detector on the test images,
and those from random weights by box refinement, at several scales and as an ensemble of
all seeds: He et al. 2016a, appendix B. Nothing is chosen by the test images.

Runs in OUTPUT_DIR go on where they were stopped. Each leaves its record and its history in
results/bccd/ and is not trained twice; all that are asked for are measured each time, and
what was measured before by the same versions on the same hardware stays beside it. --steps
trains for another number of updates.
"""

import argparse
import json
import os
import pathlib
import time
from dataclasses import replace

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

import keras_resnet
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.detection import (
    Ensemble,
    MultiScale,
    Refined,
    load_boxes,
    measure_detections,
)
from keras_resnet.detection.inference import detections_in
from keras_resnet.runs import environment

RESULTS = pathlib.Path(__file__).parent / "results" / "bccd"
RECIPE = DETECTION_RECIPES["bccd"]
BACKBONE = "resnet18d"  # Of imagenette_fast.
# Shorter sides: of the recipe, and of the photographs as they are.
PROPOSED_AT, LARGEST = 192, 480
# The paper's, where regions are proposed at 600, as shares of the photographs.
SCALES = tuple(
    PROPOSED_AT * side / 600 / LARGEST for side in (200, 400, 600, 800, 1000)
)


def with_detector(name, **changes):
    """The recipe with another detector."""
    detector = replace(
        RECIPE.detector, name=f"{RECIPE.detector.name}_{name}", **changes
    )
    return replace(RECIPE, name=f"bccd_{name}", detector=detector)


VARIANTS = {
    "scratch": RECIPE,
    "context": with_detector(
        "context", box_head=replace(RECIPE.detector.box_head, context=True)
    ),
    "fine_tuned": with_detector(BACKBONE, backbone=BACKBONE),
    "same_backbone": with_detector(BACKBONE, backbone=BACKBONE),
}


def trained(variant, seed, options):
    """The folder of a variant's run, which is trained unless it has been."""
    length = "" if options.steps == RECIPE.steps else f"_{options.steps}"
    folder = keras_resnet.train(
        VARIANTS[variant],
        data=options.data,
        steps=options.steps if length else None,
        weights=options.classifier if variant == "fine_tuned" else None,
        seed=seed,
        output_dir=options.output_dir / f"{variant}{length}",
        devices="cpu",
        verbose=2,
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    for file in ("record.json", "history.csv"):
        suffix = pathlib.Path(file).suffix
        text = (folder / file).read_text()
        for path in filter(None, (options.data, options.classifier)):
            text = text.replace(str(path.resolve()), path.name)  # Not this machine's.
        (RESULTS / f"{variant}{length}_seed{seed}{suffix}").write_text(text)
    return folder


def mean_side(examples):
    """The mean side of the objects in pixels, at the size that regions are proposed at."""
    boxes = examples.objects.boxes
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return round(float(sides.mean() * PROPOSED_AT / LARGEST), 1)


def at_test_time(models, side):
    """Names, detectors and settings of what is changed when detectors are tested.

    Args:
        models: Of all seeds, trained alike.
        side: As of `MultiScale`: objects are pooled at the scales where they have it. By
            default it is that of ImageNet's crops, on which this backbone didn't learn.
    """
    small = RECIPE.batches
    large = replace(
        small, batch_size=1, shorter_sides=(LARGEST,), longer_side=LARGEST * 4 // 3
    )
    scaled = [
        MultiScale(one, SCALES, proposals=PROPOSED_AT / LARGEST, side=side)
        for one in models
    ]
    for seed, (model, at_scales) in enumerate(zip(models, scaled, strict=True)):
        yield f"refinement and voting, seed {seed}", Refined(model), small
        yield f"refinement alone, seed {seed}", Refined(model, voting=None), small
        yield f"five scales, seed {seed}", at_scales, large
    if len(models) > 1:
        yield f"ensemble of {len(models)}", Ensemble(models), small
        yield (
            f"refined ensemble of {len(models)} at five scales",
            Refined(Ensemble(scaled)),
            large,
        )


def measured(detector, settings, splits):
    """Average precision on the test images by VOC's rule of the area and by COCO's."""
    started = time.perf_counter()
    names = splits.class_names
    found = detections_in(detector, splits.test, settings)
    voc, coco = (
        measure_detections(splits.test.objects, found, names, rule)
        for rule in ("voc", "coco")
    )
    return {
        "images": voc["n"],
        "voc": round(voc["average_precision"], 3),
        "by_class": {
            one["name"]: round(one["average_precision"], 3) for one in voc["by_class"]
        },
        **{name: round(coco[name], 3) for name in ("ap", "ap50", "ap75")},
        "seconds": round(time.perf_counter() - started, 1),
    }


def main():
    """Trains what is not trained yet, measures all and writes it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--classifier", type=pathlib.Path)
    parser.add_argument("--only", choices=VARIANTS, action="append")
    options = parser.parse_args()
    if options.classifier:
        options.classifier = options.classifier.resolve()
    if options.classifier is None and "fine_tuned" in (options.only or ()):
        parser.error("--only fine_tuned needs --classifier, the run to begin with.")
    variants = options.only or ["scratch", "context"]
    if options.only is None and options.classifier:
        variants += ["fine_tuned", "same_backbone"]
    models = {
        variant: [
            keras_resnet.load(trained(variant, seed, options)).model
            for seed in range(options.seeds)
        ]
        for variant in variants
    }
    splits = load_boxes(options.data)
    side = mean_side(splits.train)
    found = {
        f"{variant}, seed {seed}": measured(model, RECIPE.batches, splits)
        for variant, of_seeds in models.items()
        for seed, model in enumerate(of_seeds)
    }
    for name, detector, settings in at_test_time(models.get("scratch", []), side):
        found[name] = measured(detector, settings, splits)
        print(name, found[name], flush=True)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "steps": options.steps,
        "mean_side": side,
        "scales": SCALES,
        "test": found,
        **environment.describe(),
    }
    path = RESULTS / f"test_{options.steps}.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    alike = ("mean_side", "scales", "versions", "hardware")
    if all(earlier.get(key) == json.loads(json.dumps(result[key])) for key in alike):
        result["test"] = earlier["test"] | found
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
