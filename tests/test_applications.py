"""The public constructors, by Keras's own tests and some of ours."""

import ast
import importlib
import inspect
import pathlib
import types
from dataclasses import replace

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import CIFAR10_MEAN, CIFAR10_STD
from keras_resnet.runs.export import export_model
from tests.helpers import paper_facts
from tests.helpers.reference import called

CONSTRUCTORS = {
    "ResNet18": 512,
    "ResNet34": 512,
    "ResNet50": 2048,
    "ResNet101": 2048,
    "ResNet152": 2048,
    "ResNet18V2": 512,
    "ResNet34V2": 512,
    "ResNet50V2": 2048,
    "ResNet101V2": 2048,
    "ResNet152V2": 2048,
    "ResNet200V2": 2048,
}  # Channels of the last feature map.
QUICK = ("ResNet18", "ResNet18V2")
OTHERS = tuple(name for name in CONSTRUCTORS if name not in QUICK)
EACH = [*QUICK, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in OTHERS)]


# --- Keras's own tests ------------------------------------------------------------

KERAS_TESTS = pathlib.Path(keras.__file__).parent / "src/applications"
KERAS_TESTS /= "applications_test.py"


def keras_tests(names, skipped="none of them"):
    """The class of tests in Keras's own file, made for our constructors.

    Keras's decorators read the list `MODEL_LIST` while the class is being made, so
    the list is replaced in the file's syntax tree. `test_application_base` is left
    out: it downloads weights and an image.
    """
    if not KERAS_TESTS.is_file():
        return object
    tree = ast.parse(KERAS_TESTS.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "MODEL_LIST":
            node.value = ast.Name("OURS", ast.Load(), lineno=1, col_offset=0)
        elif isinstance(node, ast.ClassDef):
            node.decorator_list = []  # Marks that Keras's own configuration declares.
    module = types.ModuleType("applications_test")
    module.OURS = [
        (getattr(applications, name), CONSTRUCTORS[name], applications)
        for name in names
    ]
    exec(compile(tree, KERAS_TESTS, "exec"), module.__dict__)
    for name in dir(module.ApplicationsTest):
        if name.startswith("test_application_base") or skipped in name:
            delattr(module.ApplicationsTest, name)
    return module.ApplicationsTest


class TestApplications(keras_tests(QUICK)):
    """Keras's tests on two of our constructors."""


@pytest.mark.exhaustive
class TestAllApplications(keras_tests(OTHERS, skipped="channels_first")):
    """Keras's tests on the rest, whose data formats are one matter with the two's."""


def test_keras_has_its_tests_for_us():
    if not KERAS_TESTS.is_file():
        pytest.skip(f"this Keras comes without its tests: {KERAS_TESTS.name}")
    tests = [name for name in dir(TestApplications) if name.startswith("test_appl")]
    # Five tests, two data formats.
    assert len(tests) == 5 * 2 * len(QUICK)
    assert not any("VGG" in name for name in tests)


@pytest.mark.parametrize("name", EACH)
def test_serialisation(name):
    # What `test_application_base` does once it has its weights.
    model = getattr(applications, name)(weights=None)
    config = keras.saving.serialize_keras_object(model)
    copy = keras.saving.deserialize_keras_object(config)
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]


# --- The signature ----------------------------------------------------------------


def parameters_of(function, *, but):
    parameters = inspect.signature(function).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in parameters]
    return [p.replace(default=None) if p.name in but else p for p in bare]


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_the_signature_is_that_of_keras_applications(name):
    ours = parameters_of(getattr(applications, name), but=["weights"])
    theirs = parameters_of(getattr(keras.applications, name), but=["weights"])
    assert ours == theirs


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_all_constructors_have_one_signature(name):
    constructor = getattr(keras_resnet, name)
    ours = parameters_of(constructor, but=["name"])
    assert ours == parameters_of(applications.ResNet50, but=["name"])
    assert inspect.signature(constructor).parameters["weights"].default is None
    assert (constructor.__name__, constructor.__qualname__) == (name, name)
    assert constructor.__module__ == "keras_resnet.applications"
    assert f"Instantiates {name} " in constructor.__doc__
    assert "Args:" in constructor.__doc__


def test_checkers_see_the_public_names():
    tree = ast.parse(inspect.getsource(keras_resnet))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: node.module
        for node in block.body
        for alias in node.names
        if node.module.startswith("keras_resnet")
    }
    assert sorted(seen) == sorted(keras_resnet.__all__)
    for name, module in seen.items():
        there = getattr(importlib.import_module(module), name)
        assert getattr(keras_resnet, name) is there
    assert set(keras_resnet.__all__) <= set(dir(keras_resnet))


def test_there_is_no_other_constructor():
    assert [n for n in applications.__all__ if n[0] == "R"] == list(CONSTRUCTORS)


def test_a_constructor_answers_with_probabilities_and_create_with_logits():
    options = {"classes": 7, "input_shape": (32, 32, 3)}
    constructed = applications.ResNet18(**options)
    created = applications.create("resnet18", **options)
    assert constructed.name == created.name == "resnet18"
    created.set_weights(constructed.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    logits = keras.ops.convert_to_numpy(keras.ops.stop_gradient(created(x)))
    probabilities = keras.ops.convert_to_numpy(keras.ops.stop_gradient(constructed(x)))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


# --- By name ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "guess"),
    [("resnet-50", "resnet50"), ("ResNet50V2", "resnet50_v2"), ("plain-34", "plain34")],
)
def test_a_misspelt_name(name, guess):
    with pytest.raises(ValueError, match=f"Did you mean '{guess}'"):
        applications.create(name)


@pytest.mark.parametrize(("name", "shortcut"), [("plain20", "A"), ("resnet20", "E")])
def test_a_shortcut_that_a_network_cannot_have(name, shortcut):
    with pytest.raises(ValueError, match=f"Received: shortcut='{shortcut}'"):
        applications.create(name, shortcut=shortcut)


def test_a_shortcut_option():
    count, _ = paper_facts.COUNTS_OF_OPTIONS["resnet20", "B"]
    model = applications.create("resnet20", shortcut="B")
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == count


def test_weights_that_are_not_there():
    with pytest.raises(FileNotFoundError, match="No file at nowhere.pth"):
        applications.ResNet18(weights="nowhere.pth", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="published for the network 'resnet18'"):
        applications.ResNet18(weights="imagenet", input_shape=(32, 32, 3))


def test_list_models():
    assert keras_resnet.list_models() == list(ARCHITECTURES)


def test_list_models_with_details():
    details = keras_resnet.list_models(details=True)
    assert list(details) == list(ARCHITECTURES)
    for name, row in details.items():
        count, _, billions = paper_facts.COUNTS[name]
        assert row["parameters"] == count
        if billions is not None:
            printed = pytest.approx(float(billions), rel=2e-3)
            assert row["multiply_adds"] / 1e9 == printed
        assert row["paper"] == ARCHITECTURES[name].paper
        assert row["source"] == ARCHITECTURES[name].source


def test_a_network_by_its_spec():
    spec = replace(ARCHITECTURES["resnet20"], name="mine", zero_gamma=True)
    model = applications.create(spec, stochastic_depth=0.2)
    assert model.name == "mine"
    assert model.preprocessing == applications.create("resnet20").preprocessing
    assert model.get_layer("stage1_block1_stochastic_depth").rate == 0.2 / 9
    assert not keras.ops.any(model.get_layer("stage1_block1_2_bn").gamma)


# --- Upon other tensors -----------------------------------------------------------


def reshaped():
    flat = keras.Input((32 * 32 * 3,))
    return keras.layers.Reshape((32, 32, 3))(flat)


def of_two_inputs():
    return keras.layers.Add()([keras.Input((32, 32, 3)), keras.Input((32, 32, 3))])


def behind_a_convolution():
    # With weights of its own, which are not the network's.
    return keras.layers.Conv2D(3, 1)(keras.Input((32, 32, 1)))


@pytest.mark.parametrize(
    "tensor",
    [
        behind_a_convolution,
        pytest.param(reshaped, marks=pytest.mark.exhaustive),
        pytest.param(of_two_inputs, marks=pytest.mark.exhaustive),
    ],
)
def test_input_tensor(tensor, tmp_path):
    plain = applications.create("resnet20")
    plain.save_weights(tmp_path / "plain.weights.h5")
    images = tensor()
    inputs = keras.utils.get_source_inputs(images)
    model = applications.create(
        "resnet20", input_tensor=images, weights=tmp_path / "plain.weights.h5"
    )
    assert all(
        ours is theirs for ours, theirs in zip(model.inputs, inputs, strict=True)
    )
    assert model.preprocessing == plain.preprocessing
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(2, *i.shape[1:])).astype("float32") for i in inputs]
    x = x[0] if len(x) == 1 else x
    between = called(keras.Model(model.input, images), x)
    np.testing.assert_allclose(called(model, x), called(plain, between), atol=1e-4)


@pytest.mark.slow
def test_input_tensor_of_a_constructor_and_of_a_backbone():
    model = applications.ResNet18(input_tensor=reshaped(), classes=7)
    assert (model.input_shape, model.output_shape) == ((None, 3072), (None, 7))
    maps = applications.backbone("resnet20", input_tensor=of_two_inputs())
    assert len(maps.inputs) == 2
    assert maps.output["stage3"].shape == (None, 8, 8, 64)


@pytest.mark.parametrize("tensor", [np.zeros((1, 32, 32, 3)), keras.Input((32, 32))])
def test_what_is_no_tensor_of_images(tensor):
    with pytest.raises(ValueError, match="`input_tensor` must be a Keras tensor of im"):
        applications.create("resnet20", input_tensor=tensor)


# --- Preprocessing ----------------------------------------------------------------


def test_preprocess_input_by_name_and_by_model():
    x = np.full((2, 4, 4, 3), 123.675, "float32")
    by_name = keras_resnet.preprocess_input(x, "resnet50")
    # Torchvision's mean and standard deviation, in [0, 1]: 0.485 is 123.675 / 255.
    expected = (0.485 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(by_name, np.broadcast_to(expected, x.shape), atol=1e-5)
    model = applications.create("resnet18", input_shape=(32, 32, 3))
    spec = ARCHITECTURES["resnet50"]
    np.testing.assert_array_equal(keras_resnet.preprocess_input(x, spec), by_name)
    by_model = keras_resnet.preprocess_input(x, model)
    np.testing.assert_array_equal(by_model, by_name)


def test_preprocess_input_leaves_the_images_alone():
    x = np.full((1, 4, 4, 3), 100, "uint8")
    y = keras_resnet.preprocess_input(x, "resnet20")
    assert y.dtype == "float32"
    assert (x == 100).all()


@pytest.mark.parametrize(
    ("channels", "network", "message"),
    [
        (1, "resnet50", "channels"),
        (3, "resnet49", "Did you mean 'resnet"),
        (3, None, "Received: None"),
    ],
)
def test_what_cannot_be_preprocessed(channels, network, message):
    with pytest.raises(ValueError, match=message):
        keras_resnet.preprocess_input(np.zeros((1, 4, 4, channels)), network)


def test_arrays_that_are_no_pixels_are_not_preprocessed():
    x = np.full((2, 4, 4, 3), 200.0, "float32")
    x[1] /= 255
    with pytest.raises(ValueError, match="`x` must hold .* image 1 of 2.*if divided"):
        keras_resnet.preprocess_input(x, "resnet50")
    twice = keras_resnet.preprocess_input(x[:1], "resnet50") - 3
    with pytest.raises(ValueError, match="`x` must hold .*, not normalized"):
        keras_resnet.preprocess_input(twice, "resnet50")


def test_preprocessing_follows_the_input():
    small = applications.create("resnet50", input_shape=(64, 64, 3)).preprocessing
    assert (small.size, small.resize) == ((64, 64), 73)  # 256 for 224.
    grey = applications.create("resnet20", input_shape=(28, 28, 1))
    assert (grey.preprocessing.channels, grey.preprocessing.size) == (1, (28, 28))
    x = np.full((1, 28, 28, 1), 255.0, "float32")
    assert keras_resnet.preprocess_input(x, grey).shape == x.shape
    anything = applications.create("resnet18", input_shape=(None, None, 3))
    assert anything.preprocessing.size == (224, 224)


def test_preprocess_input_of_tensors():
    model = applications.create("resnet20")
    model.preprocessing = replace(model.preprocessing, channel_order="bgr")
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    tensor = keras_resnet.preprocess_input(keras.ops.convert_to_tensor(x), model)
    expected = keras_resnet.preprocess_input(x, model)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(tensor), expected, rtol=1e-6)


PER_PIXEL = tuple(
    tuple((float(row), float(column), 100.0) for column in range(32))
    for row in range(32)
)


@pytest.fixture(
    params=[
        pytest.param({}, id="rgb"),
        pytest.param({"channel_order": "bgr"}, id="bgr", marks=pytest.mark.slow),
        pytest.param(
            {"mean": PER_PIXEL}, id="a mean per pixel", marks=pytest.mark.slow
        ),
    ],
)
def both(request, monkeypatch):
    """A network, and the same with its preprocessing in the graph."""
    default = applications.default_preprocessing(ARCHITECTURES["resnet20"])
    known = replace(default, **request.param)
    monkeypatch.setattr(applications, "default_preprocessing", lambda spec: known)
    plain = applications.create("resnet20", squeeze_excitation=8)
    model = applications.create(
        "resnet20", squeeze_excitation=8, include_preprocessing=True
    )
    model.set_weights(plain.get_weights())
    return plain, model


def test_preprocessing_in_the_graph(both, tmp_path):
    plain, model = both
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    expected = called(plain, keras_resnet.preprocess_input(x, plain))
    # Nothing is left to normalize.
    np.testing.assert_array_equal(keras_resnet.preprocess_input(x, model), x)
    model.save(tmp_path / "model.keras")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for network in (model, copy, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(called(network, x), expected, atol=1e-4)
        as_float = called(network, x.astype("float32"))
        np.testing.assert_allclose(as_float, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="writes SavedModels"
)
def test_preprocessing_in_an_export(tmp_path):
    import tensorflow as tf

    model = applications.create("resnet20", include_preprocessing=True)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    expected = called(model, x)
    model.export(tmp_path / "keras", verbose=False)
    served = tf.saved_model.load(tmp_path / "keras")
    np.testing.assert_allclose(served.serve(x.astype("float32")), expected, atol=1e-4)
    names = [str(number) for number in range(10)]
    written = export_model(model, tmp_path / "ours", model.preprocessing, names)
    served = tf.saved_model.load(written)
    answers = served.signatures["images"](tf.constant(x))
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(expected))
    np.testing.assert_allclose(answers["scores"], probabilities, atol=1e-4)


def test_preprocessing_in_a_backbone_behind_a_tensor():
    images = keras.layers.ZeroPadding2D(1)(keras.Input((30, 30, 3)))
    model = applications.backbone(
        "resnet20", input_tensor=images, include_preprocessing=True
    )
    assert model.input_shape == (None, 30, 30, 3)
    # The border is black, not grey.
    normalized = keras.Model(model.input, model.get_layer("preprocessing").output)
    corner = called(normalized, np.zeros((1, 30, 30, 3)))[0, 0, 0]
    mean, std = (np.array(values) for values in (CIFAR10_MEAN, CIFAR10_STD))
    np.testing.assert_allclose(corner, -mean / std, rtol=1e-5)


def test_preprocessing_under_half_precision_and_with_channels_first():
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    try:
        model = applications.create("resnet20", include_preprocessing=True)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")
    normalized = keras.Model(model.input, model.get_layer("preprocessing").output)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype="uint8")
    answer = called(normalized, np.moveaxis(x, -1, 1))
    expected = keras_resnet.preprocess_input(x, "resnet20")
    np.testing.assert_allclose(np.moveaxis(answer, 1, -1), expected, atol=1e-5)


def test_preprocessing_of_other_channels_cannot_be_included():
    with pytest.raises(ValueError, match="must have the channels.*Received: .*32, 5"):
        applications.create(
            "resnet20", input_shape=(32, 32, 5), include_preprocessing=True
        )


def test_the_mean_of_pixels_needs_their_size(monkeypatch):
    known = applications.default_preprocessing(ARCHITECTURES["resnet20"])
    known = replace(known, mean=PER_PIXEL)
    monkeypatch.setattr(applications, "default_preprocessing", lambda spec: known)
    with pytest.raises(ValueError, match="mean image, \\(32, 32\\).*Received: .*None"):
        applications.create(
            "resnet20", input_shape=(None, None, 3), include_preprocessing=True
        )
