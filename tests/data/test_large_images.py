"""Images that are decoded at the same time are bounded by memory, not by their number."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from keras_resnet.data import bad_examples, cache, large_images, transforms
from keras_resnet.data.examples import Examples
from keras_resnet.devices import limits
from keras_resnet.export.limits import check_header
from tests.data.test_threads import PREPARE


def image(sides, encode=tf.io.encode_png):
    return encode(np.zeros((*sides, 3), np.uint8)).numpy()


@pytest.fixture
def memory_of_an_image(monkeypatch):
    """Each of four cores may decode 100x100 pixels at a time, without turns."""
    monkeypatch.setattr(limits, "cores", lambda: 4)
    monkeypatch.setattr(limits, "memory", lambda: 4 * 4 * 3 * 100 * 100)


def most_at_a_time(files, wait):
    """How many of the files are decoded within some seconds; and how many there were."""
    meeting, both = threading.Barrier(2, timeout=wait), []

    def meet(contents):
        try:
            meeting.wait()
            both.append(2)
        except threading.BrokenBarrierError:
            meeting.reset()
            both.append(1)
        return np.int32(0)

    function = large_images.one_at_a_time(
        lambda contents: (
            tf.shape(tf.io.decode_png(contents)),
            tf.numpy_function(meet, [contents], tf.int32),
        )
    )
    results = tf.data.Dataset.from_tensor_slices(files).map(function, 4)
    count = len(list(results.ignore_errors().as_numpy_iterator()))
    return max(both), count


@pytest.mark.slow
def test_large_images_take_turns(memory_of_an_image):
    assert most_at_a_time([image((100, 100))] * 4, wait=30) == (2, 4)
    assert most_at_a_time([image((101, 100))] * 4, wait=0.2) == (1, 4)


def test_a_damaged_one_leaves_its_turn_to_others(memory_of_an_image):
    good = image((101, 100))
    assert most_at_a_time([good[:60], good, good[:60], good], wait=0.2) == (1, 2)


def test_the_size_in_a_header_is_the_servers():
    files = [image((3, 50)), image((7, 9), tf.io.encode_jpeg)]
    files += [
        b"BM" + bytes(16) + np.array([50, -7], "<i4").tobytes(),
        b"GIF89a" + np.array([50, 7], "<u2").tobytes() + bytes(20),
        b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\x31\0\0\x06\0\0",
        b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + (49 | 6 << 14).to_bytes(4, "little"),
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + np.array([50, 7], "<u2").tobytes(),
    ]
    found = [int(large_images.pixels_of(tf.constant(file))) for file in files]
    assert found == [150, 63] + [350] * 5
    assert found[:3] == [check_header(file) for file in files[:3]]


def test_every_way_to_decode_takes_turns(monkeypatch):
    monkeypatch.setattr(bad_examples, "FEW", 1)
    asked = []
    monkeypatch.setattr(
        large_images,
        "pixels_of",
        lambda contents: asked.append(contents) or tf.constant(0, tf.int64),
    )
    examples = Examples(np.array([image((5, 5))] * 2, object), np.zeros(2, np.int32))
    pairs = (examples.for_tensorflow, examples.labels)
    records = tf.data.Dataset.from_tensor_slices(pairs)
    one = next(iter(records))
    for way in (
        lambda: transforms.one_image(examples, PREPARE)(0, one),
        lambda: list(cache._decoded(examples, PREPARE)),
        lambda: bad_examples.decode_all(examples.images, 3, keep=True),
        lambda: bad_examples.bad_records(records, 2, 3, 2),
    ):
        way()
        assert asked
        asked.clear()
