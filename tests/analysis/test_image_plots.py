"""Figures of images: whose they are, what is wrong, and names as they are."""

import warnings

import numpy as np
import pytest

from keras_resnet.analysis import figures, image_plots

pytest.importorskip("matplotlib")
PNG = b"\x89PNG"


def example(n, channels):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 28, 28, channels), "uint8")
    probabilities = np.tile(np.float32([0.7, 0.2, 0.1]), (n, 1))
    return images, np.arange(n) % 3, probabilities, ["coat", "$5 & $6", "bag" * 20]


@pytest.mark.parametrize("channels", [1, 3])
def test_predictions_say_what_is_wrong_and_what_is_true(channels, tmp_path, drawn):
    arguments = example(7, channels)
    path = image_plots.example_predictions(*arguments, tmp_path / "predictions.png")
    assert path.read_bytes().startswith(PNG)
    assert [item.name for item in tmp_path.iterdir()] == ["predictions.png"]
    titles = [axis.get_title() for axis in drawn[0].axes if axis.images]
    assert len(titles) == 7
    assert titles[0] == "✓ coat 70%"
    assert titles[1] == "✗ coat 70%\ntrue: $5 & $6"
    colours = [axis.title.get_color() for axis in drawn[0].axes if axis.images]
    assert colours[0] != colours[1] == colours[2]
    assert "3 of 7 right" in drawn[0].get_suptitle()


def test_a_single_prediction(tmp_path):
    path = image_plots.example_predictions(*example(1, 3), tmp_path / "one.png")
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("change", ["no images", "labels", "names"])
def test_predictions_that_do_not_fit_are_an_error(change, tmp_path):
    images, labels, probabilities, names = example(4, 1)
    if change == "no images":
        images, labels, probabilities = images[:0], labels[:0], probabilities[:0]
    elif change == "labels":
        labels = labels[:3]
    else:
        names = names[:2]
    with pytest.raises(ValueError, match="one label"):
        image_plots.example_predictions(
            images, labels, probabilities, names, tmp_path / "p"
        )


def test_mistakes_are_shown_apart(tmp_path, drawn):
    images, labels, probabilities, names = example(5, 1)
    wrong = labels != 0
    image_plots.example_predictions(
        images,
        labels,
        probabilities,
        names,
        tmp_path / "p.png",
        title="resnet20 on test images of from_$5_to_$10: 7.50 % error",
        mistakes=(images[wrong], labels[wrong], probabilities[wrong]),
    )
    assert drawn[0].get_suptitle().replace("\n", " ") == (
        "resnet20 on test images of from_$5_to_$10: 7.50 % error"
    )
    assert [part.get_suptitle() for part in drawn[0].subfigs] == [
        "2 of 5 right",
        "3 of the mistakes on other images",
    ]
    titles = [axis.get_title() for axis in drawn[0].axes if axis.images]
    assert len(titles) == 5 + 3
    assert all("true: " in title for title in titles[5:])


def test_names_of_all_scripts_are_drawn_without_a_warning(tmp_path, drawn, caplog):
    images, labels, probabilities, _ = example(3, 3)
    names = ["猫", "고양이 ねこ", "Кошка_$1$^\udcff"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image_plots.example_predictions(
            images, labels, probabilities, names, tmp_path / "p.png", title="ก็😀"
        )
    assert not caplog.records
    known = figures._characters(figures.FONT)
    texts = [axis.get_title() for axis in drawn[0].axes if axis.images]
    if not figures._fonts_for(frozenset("猫"))[1:]:  # No other font has it here.
        assert texts[0] == "✓ U+732B 70%"
        assert texts[1] == "✗ U+732B 70%\ntrue: goyangi neko"
        assert set("".join(texts)) <= known | {"\n"}
    assert texts[2].endswith("true: Кошка_$1$^U+DCFF")
