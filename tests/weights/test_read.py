"""Weights of every kind are read by one function, which builds no network."""

import json
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import default_preprocessing
from keras_resnet.files import sha256_of
from keras_resnet.models.resnet import build
from keras_resnet.runs.convert import own_state
from keras_resnet.weights import sources
from keras_resnet.weights.conventions import FORMATS, recognized
from keras_resnet.weights.download import Published
from keras_resnet.weights.load import fill
from keras_resnet.weights.read import read
from keras_resnet.weights.to_torch import named_arrays
from tests.helpers.cut import cut
from tests.helpers.weight_files import assert_same_weights

# With one block a stage: what is read doesn't depend on the depth.
RESNET20 = cut(ARCHITECTURES["resnet20"], repeats=1)
BGR = replace(default_preprocessing(RESNET20), channel_order="bgr")
NAMES = ("cat", "dog", "owl")


@pytest.fixture(scope="module", autouse=True)
def one_block_a_stage():
    patch = pytest.MonkeyPatch()
    patch.setitem(ARCHITECTURES, "resnet20", RESNET20)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def network():
    return applications.create("resnet20", classes=3)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """A folder with a network in two forms, and a run's in it."""
    folder = tmp_path_factory.mktemp("weights")
    network.save(folder / "w.keras")
    network.save_weights(folder / "w.weights.h5")
    np.savez(folder / "w.npz", **own_state(network))
    (folder / "run").mkdir()
    network.save(folder / "run" / "model.keras")
    record = {
        "network": "resnet20",
        "preprocessing": BGR.as_json(),
        "classes": list(NAMES),
    }
    (folder / "run" / "record.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("name", "options", "form", "preprocessing", "classes"),
    [
        ("w.npz", {"network": "resnet20"}, "own", None, ("0", "1", "2")),
        ("w.weights.h5", {"network": "resnet20"}, None, None, None),
        ("w.keras", {}, None, None, ("0", "1", "2")),
        ("run", {}, None, BGR, NAMES),
        ("run/model.keras", {}, None, BGR, NAMES),
    ],
)
def test_files_and_folders(
    folder, network, monkeypatch, name, options, form, preprocessing, classes
):
    monkeypatch.setattr(keras.Model, "__init__", None)  # Nothing is built.
    found = read(folder / name, **options)
    monkeypatch.undo()
    assert (found.network, found.spec) == ("resnet20", RESNET20)
    assert (found.form, found.preprocessing, found.classes) == (
        form,
        preprocessing,
        classes,
    )
    assert (found.name, found.origin) == (str(folder / name), str(folder / name))
    file = folder / name / "model.keras" if name == "run" else folder / name
    assert found.sha256 == sha256_of(file)
    assert found.keras_file == (file if form is None else None)
    assert found.reference() is None
    model = applications.create("resnet20", classes=3)
    fill(model, found)
    assert_same_weights(model, network)


def test_a_network_is_created_with_the_weights_of_a_run(folder, network):
    model = applications.create("resnet20", classes=3, weights=folder / "run")
    assert_same_weights(model, network)
    assert model.preprocessing == BGR


def test_a_backbone_takes_the_weights_of_a_run(folder, network):
    features = applications.backbone("resnet20", weights=folder / "run")
    assert features.preprocessing.channel_order == "bgr"
    for weight, other in zip(
        features.get_weights(), network.get_weights(), strict=False
    ):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("name", ["run", "w.npz", "w.keras", "w.weights.h5"])
@pytest.mark.filterwarnings("ignore:.*doesn't tell how its images")
def test_another_number_of_classes(folder, network, name):
    options = {"weights": folder / name, "classes": 7}
    with pytest.raises(ValueError, match="new_classifier=True.*include_top=False"):
        applications.create("resnet20", **options)
    model = applications.create("resnet20", new_classifier=True, **options)
    assert model.output_shape == (None, 7)
    for weight, other in zip(
        model.get_weights()[:-2], network.get_weights()[:-2], strict=True
    ):
        np.testing.assert_array_equal(weight, other)
    model = applications.create("resnet20", weights=folder / name, include_top=False)
    assert len(model.get_weights()) == len(network.get_weights()) - 2


@pytest.mark.parametrize("name", ["bad.npz", "bad.keras", "bad.weights.h5", "bad.h5"])
@pytest.mark.parametrize(
    ("index", "number", "message"),
    [
        (3, np.nan, "must be finite numbers. Received: 'stem_bn"),
        (4, -1, "must not be negative. Received: 'stem_bn"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*doesn't tell how its images")
def test_weights_that_are_no_numbers(network, tmp_path, name, index, number, message):
    bad = keras.models.clone_model(network)
    values = network.get_weights()
    values[index] = np.full_like(values[index], number)
    bad.set_weights(values)
    path = tmp_path / name
    if name == "bad.npz":
        np.savez(path, **own_state(bad))
    elif name == "bad.weights.h5":
        bad.save_weights(path)
    else:
        bad.save(path)
    with pytest.raises(ValueError, match=message):
        applications.create("resnet20", classes=3, weights=path)


def test_integers_in_a_keras_file_are_no_weights(network, tmp_path):
    path = tmp_path / "bad.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as stored:
        layers = stored["layers"].values()
        layer = next(one for one in layers if one["vars"].attrs.get("name") == "logits")
        kernel = layer["vars"]["0"][()].astype("int32")
        del layer["vars"]["0"]
        layer["vars"]["0"] = kernel
    with pytest.raises(ValueError, match="Received: '.*logits/kernel' of int32"):
        applications.create("resnet20", classes=3, weights=path)


@pytest.mark.parametrize(
    ("source", "package", "install"),
    [
        (
            "torchvision:IMAGENET1K_V1",
            "torchvision",
            "'.[torchvision]' in the checkout",
        ),
        ("timm:resnet18.a1_in1k", "timm", "'.[timm]' in the checkout"),
        ("kerashub:resnet_18_imagenet", "keras_hub", "'.[kerashub]' in the checkout"),
        ("w.pth", "torch", "torch"),
        ("w.safetensors", "safetensors", "'.[safetensors]' in the checkout"),
    ],
)
def test_a_package_that_is_missing_is_named_in_one_line(
    tmp_path, monkeypatch, source, package, install
):
    (tmp_path / "w.pth").write_bytes(b"\x80\x02")
    (tmp_path / "w.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    monkeypatch.chdir(tmp_path)

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=package)

    monkeypatch.setattr("keras_resnet.weights.packages.import_module", missing)
    with pytest.raises(ImportError) as error:
        read(source, "resnet18")
    message = f"needs {package}, which isn't installed: pip install {install}"
    assert str(error.value).endswith(message)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="that of a finished run.*model.keras"):
        read(tmp_path)


def test_another_network_than_the_runs(folder):
    with pytest.raises(ValueError, match="has the network 'resnet20': leave `network`"):
        read(folder / "run", "resnet32")


@pytest.mark.parametrize("name", ["w.npz", "w.weights.h5"])
def test_a_file_that_does_not_tell_its_network(folder, name):
    with pytest.raises(ValueError, match=f"{name} doesn't tell which network"):
        read(folder / name)


def test_a_file_of_a_network_with_another_name(tmp_path):
    applications.create("resnet20", name="mine").save(tmp_path / "w.keras")
    with pytest.raises(ValueError, match="w.keras doesn't tell which network"):
        read(tmp_path / "w.keras")
    assert read(tmp_path / "w.keras", "resnet20").network == "resnet20"


def test_published_weights(network, monkeypatch):
    state = own_state(network)
    found = Published(
        state,
        BGR,
        origin="https://weights.invalid/w.th",
        sha256="0" * 64,
        classes=NAMES,
        reference=lambda state, images: (state, images),
    )
    monkeypatch.setattr(sources, "fetch", lambda *arguments: found)
    weights = read("akamaster", "resnet20")
    assert (weights.name, weights.origin) == ("akamaster", found.origin)
    assert (weights.sha256, weights.preprocessing) == (found.sha256, BGR)
    assert weights.classes == NAMES
    reference = weights.reference()
    assert reference.library == "akamaster"
    assert reference.logits("images") == (state, "images")


def test_names_of_other_classes_than_the_weights_have(network, monkeypatch):
    found = Published(own_state(network), BGR, origin="here", classes=NAMES[:2])
    monkeypatch.setattr(sources, "fetch", lambda *arguments: found)
    assert read("akamaster", "resnet20").classes == ("0", "1", "2")


def test_the_library_of_a_state_dict_is_asked_only_when_it_is_needed(monkeypatch):
    spec = cut(ARCHITECTURES["resnetv2_18"], repeats=1, narrower=4)
    state = named_arrays(build(spec, classes=5), spec, FORMATS["timm_v2"])
    wrapped = {f"module.{name}": array for name, array in state.items()}
    asked = []

    def torch_reference(library, network, spec):
        asked.append((library, network))
        return lambda state, images: (state, images)

    monkeypatch.setattr("keras_resnet.weights.read.torch_reference", torch_reference)
    found = read(wrapped, "resnetv2_18", spec)
    assert (found.form, found.spec, found.sha256) == ("timm_v2", spec, None)
    assert found.classes == ("0", "1", "2", "3", "4")
    assert asked == []
    reference = found.reference()
    assert asked == [("timm", "resnetv2_18")]
    assert reference.library == "timm"
    assert reference.logits("images") == (state, "images")


@pytest.mark.parametrize(
    "top", [True, pytest.param(False, marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize(
    ("network", "form"),
    [
        ("resnet18", "torchvision"),
        ("resnet18d", "torchvision"),
        ("drn_a_18", "torchvision"),
        ("resnetv2_18", "timm_v2"),
        ("darknet53_timm", "timm_darknet"),
        ("drn_c_26", "drn"),
        ("drn_d_24", "drn"),
        ("wide_resnet16_4", "wide_resnet"),
        ("resnet50", "keras_applications"),
        ("resnet50_v2_keras", "keras_applications"),
        ("resnet50", "kerashub"),
        ("resnet50d", "kerashub"),
        ("resnet20", "own"),
        ("highway19", "own"),
    ],
)
def test_formats_are_recognized_by_names(network, form, top):
    spec = cut(ARCHITECTURES[network], repeats=2, narrower=4)
    model = build(spec, include_top=top)
    paths = [weight.path.split("/")[-2:] for weight in model.weights]
    names = [FORMATS[form].key(spec, *path) for path in paths]
    assert None not in names
    assert recognized(dict.fromkeys(names), spec) == form
