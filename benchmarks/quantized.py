"""What 8 bits cost a trained run in accuracy, on images that it never saw.

    python benchmarks/quantized.py RUN [--data-dir DIR]

Exports the run with int8 weights and activations in each format, calibrated on 300 of its
training images (`runs.sample.CALIBRATION`), and measures each on its whole test split
beside Keras in float32. Nothing is chosen by it. Needs `keras-residual[export]`. Writes
results/quantized.json: accuracies in percent.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

# As the command line sets them: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from keras_resnet.export import compare, converters
from keras_resnet.export.load import load_exported
from keras_resnet.runs import environment
from keras_resnet.runs.examples import examples_of
from keras_resnet.runs.export import compared, export
from keras_resnet.runs.load import load
from keras_resnet.runs.sample import prepared

RESULTS = pathlib.Path(__file__).parent / "results" / "quantized.json"


def main():
    """Exports, measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    run = load(options.run)
    splits, split, examples = examples_of(run, None, options.data_dir, "test")
    images, labels = prepared(examples, run.preprocessing, examples.size)
    keras = compare.answers(run.scores, images)
    found = {}
    for format in converters.PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            written, told = export(
                options.run,
                format=format,
                precision="int8",
                data_dir=options.data_dir,
                output=pathlib.Path(folder) / format,
            )
            ours = compare.answers(load_exported(written).scores, images)
        found[format] = {"bytes": told["bytes"], **compared(ours, keras, labels)}
        print(format, found[format], flush=True)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "run": options.run.name,
        "run_commit": run.record["commit"],
        "data": f"{splits.name} {split}",
        "formats": found,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
