"""What crops, scales and ensembles change, on runs of our own.

    python -m benchmarks.protocols --imagenette RUN --data-dir DIR
    python -m benchmarks.protocols --quickstart RUN RUN [RUN ...]

The first measures a run of `imagenette_fast` on its test images by one crop, ten crops and
the whole image at several scales: its images have 224 pixels, so that the papers' scales
don't fit. The second measures runs of `quickstart` and their ensemble. Writes
results/protocols.json and results/ensemble.json: errors with their intervals, and for each
protocol the test whether it differs from one crop.
"""

import argparse
import json
import pathlib
import time
from dataclasses import asdict

import keras_resnet
from keras_resnet.config.protocols import Protocol, name_of
from keras_resnet.evaluation.statistics import paired_test
from keras_resnet.runs import environment
from keras_resnet.runs.ensemble import evaluate_several
from keras_resnet.runs.evaluate import read_evaluations
from keras_resnet.runs.predictions import path_of, read_predictions

RESULTS = pathlib.Path(__file__).parent / "results"
OURS = "benchmarks/protocols.py"
SCALES = (128, 160, 192, 224)
ONE = "one crop, 160 of 182"
PROTOCOLS = {
    ONE: Protocol(scales=(182,), crop=160, source=OURS),
    "ten crops, 160 of 182": Protocol(scales=(182,), crop=160, crops=10, source=OURS),
    **{
        f"whole image at {scale}": Protocol(scales=(scale,), dense=True, source=OURS)
        for scale in SCALES
    },
    "whole image at the four scales": Protocol(scales=SCALES, dense=True, source=OURS),
}
KEPT = ("top1_error", "top1_interval", "top5_error", "loss", "ece", "n")


def imagenette(folder, data_dir):
    """Measures a run by each protocol that it isn't measured by yet."""
    run = keras_resnet.load(folder)
    path = run.folder / "evaluation.json"
    found, correct = {}, {}
    for name, protocol in PROTOCOLS.items():
        known = read_evaluations(path) if path.exists() else []
        known = [one for one in known if one["protocol"] == name_of(protocol)]
        [result] = known or [run.evaluate(data_dir=data_dir, protocol=protocol)]
        kept = read_predictions(path_of(run.folder, result))
        correct[name] = kept.correct
        found[name] = {key: result[key] for key in KEPT}
        beside = paired_test(correct[ONE], kept.correct)
        found[name]["beside_one_crop"] = asdict(beside)
        print(name, found[name], flush=True)
    return {"record": run.record, "protocols": found}


def quickstart(folders):
    """Measures runs and their ensemble."""
    found = evaluate_several(folders)
    return {
        "runs": {
            run.name: {key: result[key] for key in KEPT}
            for run, result in zip(folders, found["runs"], strict=True)
        },
        "ensemble": {key: found["ensemble"][key] for key in KEPT},
    }


def write(name, result):
    """Keeps a result with the circumstances."""
    result = {"date": time.strftime("%Y-%m-%d"), **environment.describe(), **result}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    """Measures what is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imagenette", type=pathlib.Path)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--quickstart", type=pathlib.Path, nargs="+", default=())
    options = parser.parse_args()
    if options.imagenette:
        write("protocols", imagenette(options.imagenette, options.data_dir))
    if options.quickstart:
        write("ensemble", quickstart(options.quickstart))


if __name__ == "__main__":
    main()
