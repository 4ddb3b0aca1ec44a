"""The images of a report: those that were predicted, small, wherever they come from."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.runs import report_images
from keras_resnet.runs.load import Run

pytestmark = pytest.mark.slow


def run(size):
    """A run without a network, for its preprocessing."""
    preprocessing = Preprocessing(
        channels=3, resize=None, size=size, mean=(127.0,) * 3, std=(60.0,) * 3
    )
    return Run(None, ("a", "b"), preprocessing, {}, None)


def opened(picture):
    contents = base64.b64decode(picture.source.partition(",")[2])
    return Image.open(io.BytesIO(contents))


def pixels(n, height, width):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), "uint8")


def test_positions_are_those_of_the_predictions():
    images = pixels(40, 8, 8)
    examples = Examples(images, np.zeros(40, "int32"))
    where = np.arange(40)[::-1]  # As of a folder that is listed in another order.
    found = report_images.thumbnails(run((8, 8)), examples, [39, 3, 17], where)
    assert {*found} == {3, 17, 39}
    for position, picture in found.items():
        shown = opened(picture)
        assert shown.format == "PNG" and (picture.width, picture.height) == (8, 8)
        assert np.array_equal(shown, images[where[position]])


def test_streams_give_the_same_images():
    from keras_resnet.devices.host import tensorflow

    tf = tensorflow()
    images = pixels(9, 8, 8)
    files = [tf.io.encode_png(one).numpy() for one in images]
    read = []

    def stream():
        dataset = tf.data.Dataset.from_tensor_slices((files, np.zeros(9, "int64")))
        return dataset.map(lambda file, label: (file, label)).prefetch(1)

    streamed = StreamedExamples(lambda: read.append(1) or stream(), 9)
    both = [
        report_images.thumbnails(run((8, 8)), one, [7, 2], np.arange(9))
        for one in (Examples(images, np.zeros(9, "int32")), streamed)
    ]
    assert both[0] == both[1] and read


def test_large_images_are_made_small():
    images = np.repeat(np.arange(0, 200, 2, "uint8"), 60).reshape(1, 100, 60, 1)
    images = np.repeat(images, 3, axis=3)
    examples = Examples(images, np.zeros(1, "int32"))
    found = report_images.thumbnails(run((100, 60)), examples, [0], np.arange(1))
    shown = opened(found[0])
    assert shown.format == "JPEG" and shown.size == (28, 48)
    assert (found[0].width, found[0].height) == (28, 48)
    rows = np.asarray(shown, "float64")[:, :, 1].mean(axis=1)
    assert rows == pytest.approx(np.linspace(1, 197, 48), abs=4)
