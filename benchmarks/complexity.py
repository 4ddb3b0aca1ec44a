"""Writes keras_resnet/config/complexity.json: how big every published network is.

Run it after adding a row to `config/architectures.py`, from the repository's root, with
the names of the new rows; without names it counts all of them, which takes minutes:

    python -m benchmarks.complexity resnet26d

Parameters are the trainable ones; multiply-adds are per image, of convolutions and
the classifier, at the image size and number of classes of the paper.
`tests/models/test_resnet.py` compares the file with built networks.
"""

import json
import pathlib
import sys

import keras

import keras_resnet
from keras_resnet.analysis.complexity import multiply_adds, parameters
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.models.resnet import build

FILE = pathlib.Path(keras_resnet.__file__).parent / "config" / "complexity.json"


def complexity(spec):
    """Builds a network as published and counts."""
    keras.utils.clear_session(free_memory=False)
    model = build(spec)
    return {
        "parameters": parameters(model),
        "multiply_adds": multiply_adds(model),
        "image_size": spec.image_size,
        "classes": spec.classes,
    }


def main(names):
    """Writes the file anew, or what it lacks of the named networks."""
    kept = json.loads(FILE.read_text()) if names else {}
    table = {
        name: complexity(spec) if name in names or not names else kept[name]
        for name, spec in ARCHITECTURES.items()
    }
    FILE.write_text(json.dumps(table, indent=1) + "\n")
    print(f"Wrote {len(table)} networks to {FILE}")


if __name__ == "__main__":
    main(sys.argv[1:])
