"""Numbers and nouns agree."""

from keras_resnet.config.words import counted


def test_one_is_singular():
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(1200, "entry", "entries") == "1,200 entries"
