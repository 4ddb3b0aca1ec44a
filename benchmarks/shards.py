"""A million small images in shards: time to begin, memory, going on in the middle.

    python -m benchmarks.shards [--images 1000000] [--folder DIR] [--formats tfrecord]

TensorFlow Datasets writes that many images of 4x4 pixels, each with a colour of its own,
as TFRecord and as ArrayRecord. Then, each in a process of its own: the folder is loaded for
the first time, when every image is decoded once, and again; batches of 256 are read from
the beginning of an epoch over its end; and batches from the middle of the epoch on, which
must be the same ones. Prints what is written to results/shards.json: seconds until the data
is loaded and until the first batch is there (imports not counted), images/s, and the
process's memory at the first batch and at its most afterwards.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks.stored import store

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

RESULTS = pathlib.Path(__file__).parent / "results" / "shards.json"
FORMATS = ("array_record", "tfrecord")
SIDE, BATCH, CLASSES, SHARDS = 4, 256, 10, 16
# BMP of 24 bits: the sizes of the file, of its headers, of the image and of its pixels.
HEADER = b"BM" + b"".join(
    number.to_bytes(4, "little")
    for number in (54 + 48, 0, 54, 40, SIDE, SIDE, 1 + (24 << 16), 0, 48, 0, 0, 0, 0)
)


def image(number):
    """The bytes of an image that tells its number by its colour."""
    return HEADER + number.to_bytes(3, "little") * SIDE**2


def write(folder, file_format, count):
    """Has TFDS write the images; gives the folder and seconds."""
    import tensorflow_datasets  # noqa: F401  Whose import isn't timed.

    images = (io.BytesIO(image(number)) for number in range(count))
    started = time.perf_counter()
    shape = (SIDE, SIDE, 3)
    place = store(images, CLASSES, folder, file_format, shape=shape, shards=SHARDS)
    return place, time.perf_counter() - started


def resident():
    """Bytes of memory that this process has now."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def read(folder, start, stop, kept):
    """Loads the data and reads batches ``start`` to ``stop``.

    Returns:
        What was measured, with the SHA-256 of the batches from ``kept`` on.
    """
    from keras_resnet.config.preprocessing import Preprocessing
    from keras_resnet.config.recipe import Recipe
    from keras_resnet.config.schedules import CosineDecay
    from keras_resnet.data import pipelines, shards
    from keras_resnet.devices.host import tensorflow

    tensorflow()
    started = time.perf_counter()
    splits = shards.load(folder)
    loaded = time.perf_counter()
    recipe = Recipe(
        network="resnet20",
        dataset="million",
        batch_size=BATCH,
        steps=stop,
        validate_every=1,
        schedule=CosineDecay(learning_rate=0.1),
        augmentation=None,
        target=None,
        source="benchmark",
    )
    plain = Preprocessing(
        channels=3, resize=None, size=(SIDE, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    options = {"classes": CLASSES, "seed": 0, "start_step": start}
    batches = pipelines.training_batches(splits.train, plain, recipe, **options)
    digest, memory = hashlib.sha256(), []
    for number, (images, labels) in enumerate(batches.as_numpy_iterator(), start):
        if not memory:
            first = time.perf_counter()
        if number >= kept:
            digest.update(images.tobytes() + labels.tobytes())
        memory.append(resident())
    rest = time.perf_counter() - first
    return {
        "images": splits.train.size,
        "seconds_to_load": round(loaded - started, 2),
        "seconds_to_first_batch": round(first - loaded, 2),
        "images_per_second": round((len(memory) - 1) * BATCH / rest),
        "mib_at_first_batch": memory[0] >> 20,
        "mib_at_most": max(memory) >> 20,
        "sha256": digest.hexdigest(),
    }


def apart(home, *arguments):
    """`read` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.shards", "--read", *map(str, arguments)],
        env=os.environ | {"KERAS_HOME": str(home)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder, file_format, count):
    """All that is measured of one format."""
    place, seconds = write(folder, file_format, count)
    size = sum(file.stat().st_size for file in place.iterdir())
    result = {"write_seconds": round(seconds), "mib": size >> 20}
    epoch = count * 9 // 10 // BATCH
    middle, end = epoch // 2, epoch + epoch // 10
    home = folder / file_format
    result["first"] = apart(home, place, 0, 1, 0)
    result["whole"] = apart(home, place, 0, end, middle)
    result["middle"] = apart(home, place, middle, end, middle)
    result["same"] = result["whole"]["sha256"] == result["middle"]["sha256"]
    return result


def main():
    """Measures, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--read", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        folder, *numbers = options.read
        print(json.dumps(read(folder, *map(int, numbers))))
        return
    from keras_resnet.runs import environment

    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found |= {"date": time.strftime("%Y-%m-%d"), **environment.describe()}
    found |= {"images": options.images, "batch_size": BATCH}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for file_format in options.formats:
            found[file_format] = measure(
                pathlib.Path(folder), file_format, options.images
            )
            print(file_format, json.dumps(found[file_format], indent=2), flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
