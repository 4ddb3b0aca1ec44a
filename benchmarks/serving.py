"""ResNet-50 in each form that we export, beside keras.applications' as a SavedModel.

    python benchmarks/serving.py [--rounds 5] [--seconds 10] [--only onnx_int8 …]

The peer is what one gets without us: ``keras.applications.ResNet50(weights=None)``, its
`model.export`, loaded by `tf.saved_model.load` and called with float32 images: once as
TensorFlow starts, and once with oneDNN, which our command line switches on where it is
not TensorFlow's default (CPUs without AVX-512: docs/decisions/0016). Each has a process
of its own. Ours take uint8 images and normalize them inside; weights are random, which
costs the same time. Batches of 32 and of 1. All forms take turns, so that whatever else
the machine does meets all of them; each turn lasts ``--seconds``, after a call that is
not timed. Needs `keras-residual[export]`. Writes results/serving.json, unless ``--only``
chooses forms.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time

import numpy as np

RESULTS = pathlib.Path(__file__).parent / "results" / "serving.json"
SIZE = 224
BATCHES = (32, 1)
GOALS = {32: 3.5, 1: 4.0}
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
PEER = "keras.applications, SavedModel"
PEERS = {PEER: None, f"{PEER}, oneDNN": "1"}  # Name -> ONEDNN's value.
# What is exported: name -> (format, precision).
FORMS = {
    "saved_model": ("saved_model", "float32"),
    "onnx": ("onnx", "float32"),
    "onnx_int8": ("onnx", "int8"),
    "openvino": ("openvino", "float32"),
    "openvino_bfloat16": ("openvino", "bfloat16"),
    "openvino_int8": ("openvino", "int8"),
    "litert": ("litert", "float32"),
    "litert_int8": ("litert", "int8"),
}


@functools.cache
def _peer(folder):
    """What keras.applications' exported network computes, as its users load it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)  # A signature keeps no variables alive.
    return lambda images: loaded.serve(images).numpy()


def _peer_speed(folder, images, seconds):
    return speed(_peer(folder), images.astype("float32"), seconds)


@contextlib.contextmanager
def peers(folder):
    """The peers by name: functions of images and seconds -> images a second."""
    import keras

    keras.applications.ResNet50(weights=None).export(folder, verbose=False)
    spawn = multiprocessing.get_context("spawn")
    ours = os.environ[ONEDNN]
    with contextlib.ExitStack() as stack:
        found = {}
        for name, value in PEERS.items():
            pool = concurrent.futures.ProcessPoolExecutor(
                1, mp_context=spawn, initializer=_peer, initargs=(folder,)
            )
            stack.enter_context(pool)
            # Its process begins with the first call, under these variables.
            os.environ.pop(ONEDNN)
            if value:
                os.environ[ONEDNN] = value
            try:
                pool.submit(os.getpid).result()
            finally:
                os.environ[ONEDNN] = ours
            found[name] = lambda images, seconds, pool=pool: pool.submit(
                _peer_speed, folder, images, seconds
            ).result()
        yield found


def export(model, folder, name, prepare):
    """Writes one of `FORMS` of a network of ours.

    Args:
        model: The network.
        folder: Where it is written.
        name: Key of `FORMS`.
        prepare: The `Preprocessing` that lies beside it.
    """
    from keras_resnet.data.images import normalize
    from keras_resnet.export import converters
    from keras_resnet.runs.export import export_model

    names = [f"class {number}" for number in range(model.output_shape[-1])]
    format, precision = FORMS[name]
    if format == "saved_model":
        export_model(model, folder, prepare, names)
        return
    random = np.random.default_rng(0)
    # What ranges they give does not change the time.
    shape = (32, *prepare.size, prepare.channels)
    converters.export_classifier(
        model,
        folder,
        converters.Form(format, precision),
        normalize=lambda images: normalize(images, prepare),
        class_names=names,
        preprocessing=prepare.as_json(),
        calibration=random.integers(0, 256, shape, "uint8")
        if precision == "int8"
        else None,
    )


def ours(model, folder, name):
    """One of `FORMS` of our network, exported and loaded."""
    from keras_resnet.config.datasets import DATASETS
    from keras_resnet.export.load import load_exported

    export(model, folder, name, DATASETS["imagenet2012"].preprocessing)
    return functools.partial(speed, load_exported(folder).scores)


def speed(scores, images, seconds):
    """Images a second, of calls one after the other."""
    scores(images)
    started = time.perf_counter()
    calls = 0
    while (took := time.perf_counter() - started) < seconds or not calls:
        scores(images)
        calls += 1
    return calls * len(images) / took


def table(medians):
    """Images a second and how many times the peer's, as Markdown."""
    head = [f"batch {batch}" for batch in BATCHES]
    lines = [f"| images/s | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in medians[str(BATCHES[0])]:
        cells = []
        for batch in BATCHES:
            of = medians[str(batch)]
            cells.append(f"{of[name]:.1f} ({of[name] / of[PEER]:.2f} ×)")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def main():
    """Exports all forms, times them in turns and writes the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", nargs="+", choices=FORMS, metavar="FORM")
    options = parser.parse_args()

    # Before TensorFlow is imported, as the command line sets it.
    os.environ.setdefault(ONEDNN, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    from keras_resnet.applications import create
    from keras_resnet.runs import environment

    keras.utils.set_random_seed(0)
    random = np.random.default_rng(1)
    model = create("resnet50")
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        forms = stack.enter_context(peers(str(folder / "peer")))
        for form in options.only or FORMS:
            forms[form] = ours(model, folder / form, form)
            print("exported", form, flush=True)
        speeds = {}
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, SIZE, SIZE, 3), "uint8")
            of = speeds[str(batch)] = {form: [] for form in forms}
            for _ in range(options.rounds):
                for form, timed in forms.items():
                    of[form].append(timed(images, options.seconds))
                    print(batch, form, round(of[form][-1], 2), flush=True)
    medians = {
        batch: {form: round(statistics.median(each), 2) for form, each in of.items()}
        for batch, of in speeds.items()
    }
    print(table(medians))
    if options.only:
        return
    best = {
        batch: max((of[form], form) for form in FORMS) for batch, of in medians.items()
    }
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "images_per_second": medians,
        "best": {batch: form for batch, (_, form) in best.items()},
        "ratio_of_best": {
            batch: {name: round(speed / medians[batch][name], 3) for name in PEERS}
            for batch, (speed, _) in best.items()
        },
        "goals": {str(batch): goal for batch, goal in GOALS.items()},
        "table": table(medians),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
