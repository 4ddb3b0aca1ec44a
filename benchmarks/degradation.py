"""Plain nets get worse with depth, residual nets don't: He et al. 2016a, fig. 6.

    python -m benchmarks.degradation DATA_DIR OUTPUT_DIR [--only resnet56] [--steps 2500]

Trains plain-20, plain-56, ResNet-20 and ResNet-56 on CIFAR-10 by the paper's recipe, in
equally many updates, one seed each. Runs in OUTPUT_DIR go on where they were stopped;
a finished one leaves its record and history in results/degradation/ and is not done
twice. Draws docs/degradation.png when all are there.
"""

import argparse
import os
import pathlib
import shutil

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_resnet import reproduce
from keras_resnet.analysis import plots
from keras_resnet.runs.record import read_record
from keras_resnet.training.history import read_history

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "degradation"
PICTURE = HERE.parent / "docs" / "degradation.png"
NETWORKS = {
    "plain20": "plain-20",
    "plain56": "plain-56",
    "resnet20": "ResNet-20",
    "resnet56": "ResNet-56",
}


def run(network, options):
    """Trains one network and keeps its record and history."""
    folder = reproduce.train(
        f"{network}_cifar10",
        steps=options.steps,
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        devices="cpu",
        precision="float32",
        verbose=2,
    )
    RESULTS.mkdir(exist_ok=True)
    shutil.copy(folder / "history.csv", RESULTS / f"{network}.csv")
    shutil.copy(folder / "record.json", RESULTS / f"{network}.json")


def main():
    """Trains what is not trained yet and draws what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir")
    parser.add_argument("output_dir", type=pathlib.Path)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--steps", type=int, default=2_500)
    options = parser.parse_args()
    for network in [options.only] if options.only else NETWORKS:
        if not (RESULTS / f"{network}.json").exists():
            run(network, options)
    found = {
        label: read_record(RESULTS / f"{network}.json")
        for network, label in NETWORKS.items()
        if (RESULTS / f"{network}.json").exists()
    }
    steps = {label: record["steps"] for label, record in found.items()}
    if set(steps.values()) != {options.steps}:
        raise ValueError(
            f"All runs must have {options.steps} updates: remove the records of others. "
            f"Received: {steps}."
        )
    for label, record in found.items():
        print(
            f"{label}: training error {record['train']['top1_error']:.2f} %, "
            f"test error {record['test']['top1_error']:.2f} %"
        )
    if len(found) == len(NETWORKS):
        [updates] = set(steps.values())
        plots.training_errors(
            {
                label: read_history(RESULTS / f"{network}.csv")
                for network, label in NETWORKS.items()
            },
            PICTURE,
            title=f"CIFAR-10 (JPEG copy), {updates:,} updates",
        )


if __name__ == "__main__":
    main()
