"""Files that keras.applications' and KerasHub's networks are saved in."""

import json
import warnings
import zipfile
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import resnet as theirs

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.class_names import imagenet_classes
from keras_resnet.runs.convert import convert, own_state
from keras_resnet.runs.load import load
from keras_resnet.weights.facts import keras_applications
from keras_resnet.weights.keras_files import arrays_in
from keras_resnet.weights.load import load_weights
from keras_resnet.weights.read import read
from keras_resnet.weights.sources_keras import KERAS
from tests.conftest import REPOSITORY
from tests.helpers.reference import called, images, with_random_weights
from tests.helpers.weight_files import assert_same_weights, small

# The first two stages of keras.applications' networks, with one or two blocks each.
NAMES = {"resnet50": "resnet50", "resnet50_v2_keras": "resnet50v2"}
WHOLE = {name: ARCHITECTURES[name] for name in KERAS}  # Before they are shortened.
FILES = ("a.keras", "a.weights.h5", "a.h5", "renamed.bin")


def shortened(spec):
    # The last block of a stage has the stride in keras.applications' v2.
    repeats = 2 if spec.preactivation else 1
    stages = (replace(stage, repeats=repeats) for stage in spec.stages[:2])
    return replace(spec, stages=tuple(stages))


@pytest.fixture(scope="module", autouse=True)
def two_stages():
    patch = pytest.MonkeyPatch()
    for name in NAMES:
        patch.setitem(ARCHITECTURES, name, shortened(ARCHITECTURES[name]))
    yield
    patch.undo()


@pytest.fixture(scope="module", params=NAMES)
def network(request):
    """A network of keras.applications by its own code, and ours of the same name."""
    name = request.param

    def stacks(x):
        if name == "resnet50":
            x = theirs.stack_residual_blocks_v1(x, 64, 1, stride1=1, name="conv2")
            return theirs.stack_residual_blocks_v1(x, 128, 1, name="conv3")
        x = theirs.stack_residual_blocks_v2(x, 64, 2, name="conv2")
        return theirs.stack_residual_blocks_v2(x, 128, 2, name="conv3")

    model = theirs.ResNet(
        stacks,
        preact=name != "resnet50",
        use_bias=True,
        weights=None,
        input_shape=(32, 32, 3),
        classifier_activation=None,
        name=NAMES[name],
        weights_name=NAMES[name],
    )
    return name, with_random_weights(model)


def saved(model, path):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".bin":
        model.save(path.with_suffix(".keras"))
        path.with_suffix(".keras").rename(path)
    else:
        model.save(path)
    return path


@pytest.mark.parametrize("file", FILES)
def test_keras_applications(network, tmp_path, file):
    """From a file to the logits for pixels, by their and by our preprocessing."""
    name, model = network
    path = saved(model, tmp_path / file)
    ours = applications.create(name, weights=path, input_shape=(32, 32, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    prepare = theirs if name == "resnet50" else keras.applications.resnet_v2
    expected = called(model, prepare.preprocess_input(pixels.astype("float32")))
    logits = called(ours, applications.preprocess_input(pixels, ours))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits / scale, expected / scale, atol=1e-5)
    found = read(path, name)
    assert found.preprocessing == keras_applications(ARCHITECTURES[name])
    assert (found.form, found.assumed) == ("keras_applications", None)
    assert found.classes == imagenet_classes()


# --- Names of layers --------------------------------------------------------------


def layers_by_key(spec):
    """keras.applications' and our layers that give the maps of `backbone`."""
    v2 = spec.preactivation
    found = {"stem": ("conv1_conv", "stem_conv") if v2 else ("conv1_relu", "stem_relu")}
    for number, stage in enumerate(spec.stages, start=1):
        found[f"stage{number}"] = (
            f"conv{number + 1}_block{stage.repeats}_out",
            f"stage{number}_block{stage.repeats}_{'add' if v2 else 'relu'}",
        )
    if v2:
        found[f"stage{number}"] = ("post_relu", "final_relu")
    return found


def assert_equal_maps(name, model):
    """That the maps are those of the layers, theirs and ours, of these weights."""
    keys = layers_by_key(ARCHITECTURES[name])
    shape = model.input_shape[1:]
    x, state = images(2, *shape), own_state(model)
    backbone = applications.backbone(name, weights=state, input_shape=shape)
    whole = applications.create(name, weights=state, input_shape=shape)
    by_layer = {
        key: (model.get_layer(layer).output, whole.get_layer(own).output)
        for key, (layer, own) in keys.items()
    }
    expected = keras.Model(model.input, {k: by_layer[k][0] for k in keys})(x)
    own = keras.Model(whole.input, {k: by_layer[k][1] for k in keys})(x)
    maps = backbone(x)
    assert maps.keys() == keys.keys()
    for key, values in maps.items():
        scale = np.abs(values).max()
        for others in (expected, own):
            np.testing.assert_allclose(
                others[key] / scale, values / scale, atol=1e-5, err_msg=key
            )


def test_the_maps_of_a_backbone_are_those_of_their_layers(network):
    assert_equal_maps(*network)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_maps_of_whole_backbones(name, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, name, WHOLE[name])
    build = getattr(keras.applications, KERAS[name])
    model = build(weights=None, input_shape=(64, 64, 3), classifier_activation=None)
    assert_equal_maps(name, with_random_weights(model))


def test_the_guide_s_table_of_layers():
    """Of all six networks, by the numbers of their blocks."""
    guide = (REPOSITORY / "docs/guides/coming_from.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in guide.partition("### Names of layers")[2].splitlines()
        if line.startswith("|")
    ]
    header, _, *rows = rows[:7]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    keys = columns.pop("key of `backbone")
    networks = {constructor: name for name, constructor in KERAS.items()}
    assert columns.keys() == networks.keys()
    for column, layers in columns.items():
        expected = layers_by_key(WHOLE[networks[column]])
        assert dict(zip(keys, layers, strict=True)) == {
            key: layer for key, (layer, _) in expected.items()
        }


def test_npz(network, tmp_path):
    """keras.applications' arrays by their own names."""
    name, model = network
    np.savez(tmp_path / "w.npz", **own_state(model))
    made = applications.create(
        name, weights=tmp_path / "w.npz", input_shape=(32, 32, 3)
    )
    ours = keras_applications(ARCHITECTURES[name])
    assert made.preprocessing.mean == ours.mean
    assert made.preprocessing.std == ours.std
    assert made.preprocessing.channel_order == ours.channel_order


@pytest.mark.slow
def test_without_the_classifier_and_inside_of_another_model(network, tmp_path):
    name, model = network
    features = keras.Model(model.input, model.layers[-2].output, name=NAMES[name])
    outer = keras.Sequential(
        [keras.Input((32, 32, 3)), features, keras.layers.Dense(7, name="dense_3")]
    )
    state = {k: v for k, v in own_state(model).items() if "predictions" not in k}
    head = {"dense_3/kernel", "dense_3/bias"}
    for one, file, more in (
        (features, "f.h5", set()),
        (outer, "outer.keras", head),
        (outer, "outer.h5", head),
    ):
        found = read(saved(one, tmp_path / file), name)
        assert found.form == "keras_applications"
        assert found.state.keys() == state.keys() | more
        for key, array in state.items():
            np.testing.assert_array_equal(found.state[key], array)
    options = {"weights": tmp_path / "outer.h5", "input_shape": (32, 32, 3)}
    with pytest.raises(ValueError, match="whose classifier is .*new_classifier=True"):
        applications.create(name, **options)
    made = applications.create(name, classes=7, new_classifier=True, **options)
    assert made.output_shape[-1] == 7


def test_convert_knows_the_network_by_the_model_s_name(network, tmp_path):
    name, model = network
    convert(saved(model, tmp_path / "a.keras"), tmp_path / "net")
    run = load(tmp_path / "net")
    assert run.record["network"] == name
    assert run.classes == imagenet_classes()
    assert run.preprocessing.channel_order == ("bgr" if name == "resnet50" else "rgb")


def test_ours_in_the_older_format(tmp_path):
    ours = with_random_weights(applications.create("resnet50", input_shape=(32, 32, 3)))
    ours.save(tmp_path / "w.h5")
    with pytest.warns(UserWarning, match="doesn't tell how its images"):
        made = applications.create(
            "resnet50", weights=tmp_path / "w.h5", input_shape=(32, 32, 3)
        )
    assert_same_weights(made, ours)


@pytest.mark.parametrize("file", ["a.keras", "a.weights.h5", "a.h5"])
def test_another_libraries_network_is_refused(tmp_path, file):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, name="Conv1")(inputs)
    saved(keras.Model(inputs, x), tmp_path / file)
    model = small(ARCHITECTURES["resnet50"])
    with pytest.raises(ValueError, match="another network's|must hold 'stem_conv"):
        load_weights(model, tmp_path / file, ARCHITECTURES["resnet50"])


# --- KerasHub ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def classifier(hub):
    """One block a stage, and a preprocessor of its own."""
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        use_pre_activation=False,
        image_shape=(32, 32, 3),
    )
    converter = hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=[0.5, 0.25, 0.125], offset=[-1.0, -2.0, -3.0]
    )
    task = hub.models.ResNetImageClassifier(
        backbone,
        5,
        preprocessor=hub.models.ResNetImageClassifierPreprocessor(converter),
        activation=None,
    )
    return with_random_weights(task)


@pytest.mark.parametrize("file", ["k.keras", "k.weights.h5", "backbone.keras"])
def test_kerashub(classifier, tmp_path, file):
    spec = shortened(ARCHITECTURES["resnet18"])
    whole = file != "backbone.keras"
    path = saved(classifier if whole else classifier.backbone, tmp_path / file)
    found = read(path, "resnet18", spec)
    assert found.form == "kerashub"
    if file == "k.keras":
        assert (found.preprocessing.mean, found.assumed) == ((2.0, 8.0, 24.0), None)
        assert found.preprocessing.std == (2.0, 4.0, 8.0)
    else:
        assert found.assumed == "torchvision's for ImageNet"
    model = small(spec, classes=5) if whole else small(spec, include_top=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*doesn't tell how its images")
        load_weights(model, path, spec)
    x = images(2, 32, 32, 3)
    if whole:
        expected = called(classifier, x)
        np.testing.assert_allclose(
            called(model, x) / np.abs(expected).max(),
            expected / np.abs(expected).max(),
            atol=1e-5,
        )


# --- Damaged, and made to harm ----------------------------------------------------


def test_a_keras_2_file(tmp_path):
    """Names end with ":0", and layers lie at the root."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv1_conv", b"pool"]
        group = file.create_group("conv1_conv")
        group.attrs["weight_names"] = [b"conv1_conv/kernel:0", b"conv1_conv/bias:0"]
        group["conv1_conv/kernel:0"] = np.ones((1, 1, 1, 2), "float32")
        group["conv1_conv/bias:0"] = np.zeros(2, "float32")
        file.create_group("pool").attrs["weight_names"] = np.zeros(0, "S1")
    assert set(arrays_in(tmp_path / "w.h5")) == {"conv1_conv/kernel", "conv1_conv/bias"}


@pytest.mark.parametrize("how", ["bomb", "external", "link"])
def test_arrays_that_are_not_in_the_file(tmp_path, how):
    secret = tmp_path / "secret"
    with h5py.File(secret, "w") as file:
        file["0"] = np.ones(4, "float32")
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.attrs["name"] = "stem_conv"
        if how == "bomb":  # 4 TB of which nothing is stored.
            group.create_dataset("0", (10**6, 10**6), "float32", chunks=True)
        elif how == "external":
            group.create_dataset("0", (4,), "float32", external=[(secret, 0, 16)])
        else:
            group["0"] = h5py.ExternalLink(str(secret), "0")
    with pytest.raises(ValueError, match="would take|must hold its arrays itself"):
        read(tmp_path / "w.weights.h5", "resnet50")


def test_code_in_a_keras_file_is_not_run(tmp_path):
    """A Lambda layer's bytes are never loaded, since no model is built of the file."""
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    model.save(tmp_path / "w.keras")
    config = json.loads(zipfile.ZipFile(tmp_path / "w.keras").read("config.json"))
    config["config"]["layers"][1]["class_name"] = "Lambda"
    config["config"]["layers"][1]["config"]["function"] = {"class_name": "__lambda__"}
    with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        weights = zipfile.ZipFile(tmp_path / "w.keras").read("model.weights.h5")
        archive.writestr("model.weights.h5", weights)
    model = small(ARCHITECTURES["resnet50"])
    with pytest.raises(ValueError, match="another network's"):
        load_weights(model, tmp_path / "bad.keras", ARCHITECTURES["resnet50"])
