"""What a small network says of images by protocols, beside what it has to say."""

import io
from dataclasses import replace

import keras
import numpy as np
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import PROTOCOLS, Protocol
from keras_resnet.data.examples import Examples
from keras_resnet.data.images import normalize
from keras_resnet.evaluation.crops import views
from keras_resnet.runs.ensemble import evaluate_several
from keras_resnet.runs.load import Run
from keras_resnet.runs.measure import measure
from tests.helpers.small_nets import CLASSES, small_net

NAMES = tuple("abcde"[:CLASSES])
SIZES = ((12, 15), (16, 12), (13, 13), (11, 19), (15, 12))
PREPROCESSING = Preprocessing(
    channels=3, resize=10, size=(8, 8), mean=(120.0, 110.0, 100.0), std=(60.0,) * 3
)
DENSE = Protocol(dense=True, source="test")


def pixels(size, seed):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def run_in(folder, preprocessing=PREPROCESSING):
    """A run that was converted, as it seems."""
    model = small_net()
    return Run(
        model=model,
        classes=NAMES,
        preprocessing=preprocessing,
        record={"network": model.name, "source": "test"},
        folder=folder,
    )


def measured(folder):
    """Pairs of arrays that must be equal, by name: ``(found, expected)``.

    Args:
        folder: A `pathlib.Path` to an empty folder.
    """
    images = [pixels(size, seed) for seed, size in enumerate(SIZES)]
    run = run_in(folder / "run")
    return {
        **{f"ten_crops_{how}": ten(run, images, how) for how in ("softmax", "logits")},
        "dense": dense(run, images),
        "flipped": flipped(run, images),
        "ensemble": ensemble(run, images, folder),
    }


def of_files(images):
    files = np.array([png(image) for image in images], dtype=object)
    return Examples(files, np.arange(len(files), dtype="int32") % CLASSES)


def by_protocol(run, images, protocol):
    return measure(run, of_files(images), protocol, batch_size=7)[1]


def ten(run, images, average):
    """Ten crops, and the mean of ten predictions of one image each."""
    protocol = Protocol(scales=(10,), crops=10, average=average, source="test")
    expected = []
    for image in images:
        (cut,) = views(image, run.preprocessing, protocol)
        one_each = [normalize(one[None], run.preprocessing) for one in cut]
        logits = [run.model.predict_on_batch(np.asarray(one))[0] for one in one_each]
        if average == "softmax":
            each = [
                keras.ops.convert_to_numpy(keras.ops.softmax(one)) for one in logits
            ]
            expected.append(np.mean(each, axis=0))
        else:
            mean = keras.ops.softmax(np.mean(logits, axis=0))
            expected.append(keras.ops.convert_to_numpy(mean))
    return by_protocol(run, images, protocol), np.stack(expected)


def dense(run, images):
    """The network as a convolutional one at its own size, and as it is."""
    run = replace(run, preprocessing=replace(run.preprocessing, resize=None))
    own = PROTOCOLS["single_crop"]
    return by_protocol(run, images, DENSE), by_protocol(run, images, own)


def flipped(run, images):
    """Both mirror images averaged, of the images and of their mirror images."""
    two = Protocol(crops=2, source="test")
    mirrored = [image[:, ::-1] for image in images]
    return by_protocol(run, images, two), by_protocol(run, mirrored, two)


def ensemble(run, images, folder):
    """An ensemble of copies measured on a folder of images, and the run."""
    for name, image in zip(NAMES, images, strict=True):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "1.png").write_bytes(png(image))
    copy = run_in(folder / "copy")
    found = evaluate_several([run, copy], data=folder / "data", protocol="single_crop")
    keys = ("top1_error", "loss", "ece", "n")
    alone, together = found["runs"][0], found["ensemble"]
    return tuple(np.array([one[key] for key in keys]) for one in (together, alone))
