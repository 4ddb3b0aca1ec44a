"""The main job over several seeds: time from start to exit, and accuracy.

    python -m benchmarks.quickstart IDX_FOLDER [--bfloat16]

Runs `keras-resnet train --seed k` in a process of its own for each seed and precision, in
turns, then measures the saved model on the original 10,000 test images of Fashion-MNIST,
of which the package carries 2,000. IDX_FOLDER holds the original's four .gz files
(Debian's package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist).
Writes results/quickstart.json; run it when nothing else computes.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from keras_resnet.data import pipelines, sources
from keras_resnet.data.bundled.make_fashion_mini import read_idx
from keras_resnet.evaluation.metrics import evaluate
from keras_resnet.runs import environment
from keras_resnet.runs.load import load
from keras_resnet.runs.record import read_record

RESULTS = pathlib.Path(__file__).parent / "results" / "quickstart.json"


def original_test_set(folder):
    """The 10,000 test images and labels as `Examples`."""
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    return sources.Examples(images[..., np.newaxis], labels.astype("int32"))


def train(seed, precision, output_dir):
    """Seconds that the command takes, and the run's folder."""
    command = [sys.executable, "-m", "keras_resnet", "train", "--quiet"]
    folder = output_dir / f"quickstart_seed{seed}"
    if folder.exists():
        raise SystemExit(f"A run must be timed from its start. Remove: {folder}")
    started = time.perf_counter()
    options = ("--seed", seed, "--precision", precision, "--output-dir", output_dir)
    subprocess.run([*command, *map(str, options)], check=True)
    return time.perf_counter() - started, folder


def measure(folder, examples):
    """The run's metrics on the original test set."""
    run = load(folder)
    batches = pipelines.evaluation_batches(examples, run.preprocessing, batch_size=500)
    return evaluate(run.model, batches)


def main():
    """Trains and measures every seed in each precision, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("idx_folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bfloat16", action="store_true", help="train in it as well")
    parser.add_argument("--output-dir", type=pathlib.Path)
    options = parser.parse_args()
    output_dir = options.output_dir or pathlib.Path(tempfile.mkdtemp())
    examples = original_test_set(options.idx_folder)
    rows = []
    precisions = ["float32"] + ["mixed_bfloat16"] * options.bfloat16
    for seed, precision in itertools.product(range(options.seeds), precisions):
        seconds, folder = train(seed, precision, output_dir / precision)
        metrics = measure(folder, examples)
        record = read_record(folder / "record.json")
        rows.append(
            {
                "seed": seed,
                "precision": record["precision"],
                "seconds": round(seconds, 1),
                "accuracy_10000": round(100 - metrics.top1_error, 2),
                "accuracy_bundled_2000": round(100 - record["test"]["top1_error"], 2),
                "accuracy_validation": round(
                    100 - record["validation"]["top1_error"], 2
                ),
                "images_per_second": record["images_per_second"],
                "commit": record["commit"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    result = {"date": time.strftime("%Y-%m-%d"), **environment.describe(), "runs": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
