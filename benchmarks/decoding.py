"""What decoding costs in a served graph: image files against decoded images.

    python benchmarks/decoding.py FOLDER_OF_JPEG_FILES [--network resnet50] [--rounds 5]

Exports the network (random weights), loads it into a session, as TF Serving does, and gives
the same images to the signatures `serving_default` (files) and `images` (uint8), in
turns. Those files are taken whose size is nearest to 110 kB, ImageNet's mean. Besides wall
time, processor time is compared, which other programs on the machine disturb less.
Writes results/decoding.json.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import default_preprocessing
from keras_resnet.data.images import prepare
from keras_resnet.runs.export import export_model

RESULTS = pathlib.Path(__file__).parent / "results" / "decoding.json"
USUAL = 110_000  # Bytes.


def signatures(folder):
    """A function that calls a signature of a SavedModel in a session."""
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))

    def call(name, batch):
        signature = loaded.signature_def[name]
        (given,) = signature.inputs.values()
        return session.run(signature.outputs["scores"].name, {given.name: batch})

    return call


def main():
    """Times both signatures in turn and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = [path.read_bytes() for path in sorted(options.folder.rglob("*.JPEG"))]
    files = sorted(found, key=lambda file: abs(len(file) - USUAL))[: options.batch]
    if len(files) < options.batch:
        raise SystemExit(f"There must be {options.batch} *.JPEG files in the folder.")

    model = applications.create(options.network)
    prepared = default_preprocessing(ARCHITECTURES[options.network])
    images = np.stack([prepare(file, prepared).numpy() for file in files])
    with tempfile.TemporaryDirectory() as folder:
        names = [str(i) for i in range(model.output_shape[-1])]
        call = signatures(export_model(model, folder, prepared, names))
    inputs = {"serving_default": np.array(files, object), "images": images}
    first = {name: call(name, batch) for name, batch in inputs.items()}
    difference = float(np.abs(first["serving_default"] - first["images"]).max())

    wall = {name: [] for name in inputs}
    cpu = {name: [] for name in inputs}
    for _ in range(options.rounds):
        for name, batch in inputs.items():
            begun = time.perf_counter(), time.process_time()
            call(name, batch)
            wall[name].append(time.perf_counter() - begun[0])
            cpu[name].append(time.process_time() - begun[1])

    from keras_resnet.runs import environment

    def cost(seconds):
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        return 100 * (medians["serving_default"] / medians["images"] - 1)

    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "network": options.network,
        "batch": options.batch,
        "rounds": options.rounds,
        "bytes": round(statistics.mean(map(len, files))),
        "wall_s": {name: sorted(round(v, 3) for v in wall[name]) for name in wall},
        "cpu_s": {name: sorted(round(v, 3) for v in cpu[name]) for name in cpu},
        "decoding_costs_percent": round(cost(wall), 1),
        "decoding_costs_percent_cpu": round(cost(cpu), 1),
        "greatest_difference": difference,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
