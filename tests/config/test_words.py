"""Numbers and nouns agree; what isn't known has a dash."""

import numpy as np

from keras_resnet.config.words import UNKNOWN, counted, known, percent


def test_one_is_singular():
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(1200, "entry", "entries") == "1,200 entries"


def test_what_is_not_known_has_a_dash():
    for nothing in (None, float("nan"), float("-inf"), np.float32("nan")):
        assert known(nothing, ".3g") == percent(nothing) == UNKNOWN
    assert known(1234.5, ",.0f") == "1,234"
    assert known(0, "d") == "0"
    assert known("original") == "original"
    assert percent(np.float32(8.125)) == "8.12 %"
