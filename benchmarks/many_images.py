"""Answers for many photographs: Ray Data's two workers beside one process.

    python -m benchmarks.many_images FOLDER_OF_JPEG_FILES [--images 1000] [--rounds 3]

ResNet-50 (of random weights, which cost the same time) as a SavedModel answers for files
of ImageNet's sizes. One process: `keras-resnet predict … --output answers.parquet`. Ray
Data: `predict_ray.py` of docs/guides/many_images.md as it stands there, with this export.
Each is timed from its start to its end, for all files and for a tenth of them, so that the
difference says how fast it is once it runs. The two take turns. Every run must answer each
file once. Needs `keras-residual[ray,parquet]`; writes results/many_images.json.
"""

import argparse
import itertools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from tests.helpers.guides import many_images_script

RESULTS = pathlib.Path(__file__).parent / "results" / "many_images.json"
REPOSITORY = pathlib.Path(__file__).parents[1]
NETWORK = "resnet50"
SCRIPT = "predict_ray.py"
ONE, RAY = "one process", "Ray Data, two workers"


def write_photos(folder, files, count):
    """That many files in a folder, copies of the few."""
    folder.mkdir()
    for number, file in zip(range(count), itertools.cycle(files), strict=False):
        shutil.copy(file, folder / f"{number:06}.jpeg")


def write_export(folder):
    """The network as a SavedModel; gives the folder of its version."""
    import keras

    from benchmarks import serving
    from keras_resnet import applications
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.preprocessing import default_preprocessing

    keras.utils.set_random_seed(0)
    prepare = default_preprocessing(ARCHITECTURES[NETWORK])
    serving.export(applications.create(NETWORK), folder, "saved_model", prepare)
    return folder / "1"


def seconds(place, way):
    """How long a way takes for the photographs in a place, which it must answer."""
    import pyarrow.dataset

    answers = place / "answers"
    shutil.rmtree(answers, ignore_errors=True)
    if way == ONE:
        answers.mkdir()
        words = ["-m", "keras_resnet", "predict", "export/1", "photos"]
        words += ["--output", "answers/all.parquet"]
    else:
        words = [SCRIPT]
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(path), "RAY_USAGE_STATS_ENABLED": "0"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        cwd=place,
        env=os.environ | variables,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    taken = time.perf_counter() - started
    found = pyarrow.dataset.dataset(answers, format="parquet").to_table()
    names = sorted(map(os.path.basename, found["image"].to_pylist()))
    files = sorted(os.listdir(place / "photos"))
    if names != files:
        wrong = {name for name in {*names, *files} if names.count(name) != 1}
        raise RuntimeError(f"{way} must answer each file once. Wrong: {sorted(wrong)}.")
    if errors := list(filter(None, found["error"].to_pylist())):
        raise RuntimeError(f"{way} must read every file. Received: {errors[0]}")
    return taken


def main():
    """Times both ways in turns and writes what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.JPEG"))
    if not files:
        raise SystemExit(f"There must be *.JPEG files in the folder: {options.folder}")
    counts = options.images // 10, options.images
    taken = {way: {count: [] for count in counts} for way in (ONE, RAY)}
    with tempfile.TemporaryDirectory() as home:
        places = {count: pathlib.Path(home) / str(count) for count in counts}
        export = write_export(pathlib.Path(home) / "export")
        code = many_images_script(SCRIPT).replace(
            "runs/quickstart_seed0/saved_model/1", "export/1"
        )
        for count, place in places.items():
            place.mkdir()
            write_photos(place / "photos", files, count)
            (place / "export").symlink_to(export.parent)
            (place / SCRIPT).write_text(code)
        for _ in range(options.rounds):
            for way, times in taken.items():
                for count, place in places.items():
                    times[count].append(round(seconds(place, way), 1))
                    print(way, count, times[count][-1], flush=True)

    from importlib.metadata import version

    from keras_resnet.runs import environment

    found = environment.describe()
    found["versions"]["ray"] = version("ray")
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **found,
        "network": NETWORK,
        "files": len(files),
        "ways": {way: summary(times) for way, times in taken.items()},
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


def summary(times):
    """Of the seconds by number of images: medians, and the rate between the two."""
    (few, short), (many, long) = (
        (count, statistics.median(of)) for count, of in times.items()
    )
    return {
        "images": many,
        "seconds": round(long, 1),
        "images_per_second": round(many / long, 1),
        "images_per_second_once_it_runs": round((many - few) / (long - short), 1),
        "rounds": {str(count): of for count, of in times.items()},
    }


if __name__ == "__main__":
    main()
