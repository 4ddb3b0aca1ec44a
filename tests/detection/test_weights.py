"""Weights of detectors: torchvision's names, there and back, and what doesn't fit."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.detection import FasterRCNN, weights
from keras_resnet.detection.torch_names import PREDICTOR
from keras_resnet.detection.weights import (
    copy_weights,
    load_state_dict,
    to_state_dict,
)
from tests.helpers.reference import with_random_weights
from tests.helpers.small_detectors import small_detector, small_row

ROWS = (
    "fasterrcnn_resnet50_fpn",
    pytest.param("fasterrcnn_resnet50_fpn_v2", marks=pytest.mark.slow),
    "fasterrcnn_resnet50_c4_detectron2",
)


@pytest.mark.parametrize("row", ROWS)
def test_a_state_dict_goes_there_and_back(row):
    one, other = (small_detector(row, seed) for seed in (0, 1))
    with_random_weights(one)
    state = to_state_dict(one)
    load_state_dict(other, state)
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        if "seed" not in mine.path:
            np.testing.assert_array_equal(
                *map(keras.ops.convert_to_numpy, (mine, theirs)), err_msg=mine.path
            )


def test_older_names_are_understood():
    detector = small_detector()
    state = to_state_dict(detector)
    older = {
        key.replace("conv.0.0.", "conv.")
        if key.startswith("rpn")
        else key.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if ".fpn." in key
        else key: value
        for key, value in state.items()
    }
    assert len(set(older) - set(state)) == 18
    load_state_dict(detector, older)


def test_an_epsilon_of_zero_moves_into_the_variance():
    detector = small_detector()
    before = to_state_dict(detector)
    load_state_dict(detector, before, epsilon=0.0)
    after = to_state_dict(detector)
    key = "backbone.body.bn1.running_var"
    np.testing.assert_allclose(after[key], before[key] - 1e-5)


def test_with_other_classes_the_last_layers_stay_new():
    state = to_state_dict(small_detector(num_classes=7))
    detector = small_detector()
    kept = to_state_dict(detector)
    with pytest.raises(ValueError, match="does `num_classes` match the weights"):
        load_state_dict(detector, state)
    load_state_dict(detector, state, classes_may_differ=True)
    found = to_state_dict(detector)
    for key, value in found.items():
        source = kept if "box_predictor" in key else state
        np.testing.assert_array_equal(value, source[key])


def test_a_detector_of_other_classes_gives_what_it_can():
    source = small_detector()
    model = small_detector(seed=1, num_classes=5)
    own = {name: model.box_head.get_layer(name).get_weights() for name in PREDICTOR}
    copy_weights(model, source)
    for ours, theirs in (
        (model.features, source.features),
        (model.box_head, source.box_head),
    ):
        for layer in filter(lambda one: one.weights, ours.layers):
            given = theirs.get_layer(layer.name).get_weights()
            for one, other in zip(
                layer.get_weights(), own.get(layer.name, given), strict=True
            ):
                np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="must be those of a detector like 'small'"):
        copy_weights(model, small_detector("fasterrcnn_resnet50_c4_detectron2"))


def test_names_must_be_the_detectors():
    detector = small_detector()
    state = to_state_dict(detector)
    state["rpn.more"] = state.pop("rpn.head.cls_logits.bias")
    message = "lacks .'rpn.head.cls_logits.bias'.*no place for .'rpn.more'"
    with pytest.raises(ValueError, match=message):
        load_state_dict(detector, state)


@pytest.mark.parity
def test_published_weights_bring_their_classes_and_have_no_epsilon(
    torch, torchvision, tmp_path, monkeypatch
):
    row = replace(small_row(), name="fasterrcnn_resnet50_fpn", classes=90)
    state = to_state_dict(FasterRCNN(row))
    path = tmp_path / f"fasterrcnn_resnet50_fpn_coco-{weights.WITHOUT_EPSILON}.pth"
    torch.save({key: torch.from_numpy(v) for key, v in state.items()}, path)
    urls = []
    monkeypatch.setattr(weights, "download", lambda url: (urls.append(url) or path, ""))
    detector = FasterRCNN(row, weights="torchvision:COCO_V1")
    assert urls[0].endswith(path.name)
    assert detector.frozen
    assert detector.class_names[:2] == ("person", "bicycle")
    # Ten numbers have no class: torchvision calls all of them "N/A".
    assert len({*detector.class_names}) == 90
    assert detector.class_names[11] == "N/A 12"
    key = "backbone.body.bn1.running_var"
    np.testing.assert_allclose(to_state_dict(detector)[key], state[key] - 1e-5)
    with pytest.raises(ValueError, match="There are torchvision:COCO_V1"):
        FasterRCNN(row, weights="torchvision:COCO_V2")
    with pytest.raises(ValueError, match="torchvision doesn't have this detector"):
        FasterRCNN(small_row(), weights="torchvision:COCO_V1")


# --- Files of ours ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.keras", "detector.weights.h5"])
def test_files_of_ours_may_be_for_other_classes(file, tmp_path):
    source = with_random_weights(small_detector(num_classes=5, seed=1))
    source.class_names = tuple("abcde")
    path = tmp_path / file
    source.save(path) if file == "model.keras" else source.save_weights(path)
    same = small_detector(num_classes=5, weights=path)
    other = small_detector(num_classes=4)
    kept = to_state_dict(other)
    weights.load_weights(other, path, classes_may_differ=True)
    expected, found = to_state_dict(source), to_state_dict(other)
    for key, value in to_state_dict(same).items():
        np.testing.assert_array_equal(value, expected[key])
        wanted = kept if "box_predictor" in key else expected
        np.testing.assert_array_equal(found[key], wanted[key])
    assert same.class_names == (source.class_names if file == "model.keras" else None)
    assert other.class_names is None
    with pytest.raises(ValueError, match="must be of as many classes"):
        weights.load_weights(other, path)
    np.testing.assert_array_equal(to_state_dict(other)[key], found[key])


@pytest.mark.slow
def test_pixels_are_normalized_as_the_weights_want_it(tmp_path):
    colors = {
        "mean": (10.0, 20.0, 30.0),
        "std": (1.0, 2.0, 4.0),
        "channel_order": "bgr",
    }
    row = replace(small_row(), **colors)
    source = with_random_weights(FasterRCNN(row, num_classes=2, seed=1))
    source.save(tmp_path / "model.keras")
    detector = FasterRCNN(small_row(), num_classes=2)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), "uint8")
    detector.predict(images, verbose=0)  # Traced with its own numbers.
    weights.load_weights(detector, tmp_path)
    assert detector.spec == row
    found = detector.predict(images, verbose=0)
    for name, expected in source.predict(images, verbose=0).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_folder_stands_for_its_detector(tmp_path):
    source = with_random_weights(small_detector())
    source.save(tmp_path / "model.keras")
    expected = to_state_dict(source)
    for key, value in to_state_dict(small_detector(seed=1, weights=tmp_path)).items():
        np.testing.assert_array_equal(value, expected[key])


@pytest.mark.slow
def test_a_file_of_something_else_is_refused(tmp_path):
    detector = small_detector()
    path = tmp_path / "model.keras"
    with pytest.raises(FileNotFoundError, match="a detector's weights"):
        weights.load_weights(detector, path)
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(path)
    with pytest.raises(ValueError, match="must hold a detector"):
        weights.load_weights(detector, path)
    small_detector("fasterrcnn_resnet50_c4_detectron2").save(path)
    with pytest.raises(ValueError, match="must be those of a detector like 'small'"):
        weights.load_weights(detector, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="can't be used"):
        weights.load_weights(detector, path)


@pytest.mark.slow
def test_a_trainers_checkpoint_holds_its_weights(tmp_path):
    source = with_random_weights(small_detector())
    state = to_state_dict(source)
    path = tmp_path / "checkpoint.npz"
    np.savez(path, **{f"module.{key}": value for key, value in state.items()})
    detector = small_detector(seed=1)
    weights.load_weights(detector, path)
    for key, value in to_state_dict(detector).items():
        np.testing.assert_array_equal(value, state[key])
