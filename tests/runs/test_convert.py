"""`keras-resnet convert`: from anywhere to a file or a folder like a run's."""

import json
import re
import shutil
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.__main__ import main
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.class_names import imagenet_classes, imagenet_numbers
from keras_resnet.config.datasets import CIFAR10_CLASSES
from keras_resnet.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    default_preprocessing,
)
from keras_resnet.data.examples import Examples, Splits, StreamedExamples
from keras_resnet.data.images import normalize, prepare
from keras_resnet.files import sha256_of
from keras_resnet.runs.convert import convert, own_state
from keras_resnet.runs.evaluate import evaluate
from keras_resnet.runs.examples import has_classes, places_of, with_labels_of
from keras_resnet.runs.export import export
from keras_resnet.runs.load import load
from keras_resnet.weights import sources
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.download import Published
from keras_resnet.weights.files import read_checkpoint
from keras_resnet.weights.load import load_weights
from keras_resnet.weights.to_torch import named_arrays, to_state_dict
from tests.helpers.cut import cut
from tests.helpers.reference import called, with_random_weights

# With one block a stage: what is converted doesn't depend on the depth.
RESNET20 = cut(ARCHITECTURES["resnet20"], repeats=1)
BGR = replace(
    default_preprocessing(RESNET20),
    mean=(103.0, 116.0, 123.0),
    std=(1.0, 2.0, 3.0),
    channel_order="bgr",
    interpolation="bicubic",
    resize=40,
)


@pytest.fixture(scope="module", autouse=True)
def one_block_a_stage():
    patch = pytest.MonkeyPatch()
    patch.setitem(ARCHITECTURES, "resnet20", RESNET20)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def network():
    model = with_random_weights(applications.create("resnet20"))
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([kernel / 1000, bias])  # Logits of about 1.
    return model


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    """A file of weights in our own names."""
    path = tmp_path_factory.mktemp("weights") / "w.npz"
    np.savez(path, **own_state(network))
    return path


@pytest.fixture(scope="module")
def converted(weights, tmp_path_factory):
    """A folder that was converted from the file."""
    out = tmp_path_factory.mktemp("converted") / "net"
    convert(weights, out, network="resnet20")
    return out


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype("uint8")
    keras.utils.save_img(path, pixels, scale=False)
    return path


def assert_same_weights(model, expected):
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


# --- Folders ----------------------------------------------------------------------


def test_a_folder_works_like_a_runs(network, converted, photo):
    assert sorted(path.name for path in converted.iterdir()) == [
        "model.keras",
        "source.json",
    ]
    loaded = load(converted)
    assert_same_weights(loaded.model, network)
    assert loaded.classes == tuple("0123456789")
    assert loaded.preprocessing == default_preprocessing(RESNET20)

    [answer] = loaded.predict([photo], top=10)
    pixels = prepare(photo.read_bytes(), loaded.preprocessing)[None]
    logits = called(network, normalize(pixels, loaded.preprocessing))
    assert answer[0][0] == str(logits.argmax())


def test_the_folder_says_where_its_weights_are_from(weights, converted):
    source = json.loads((converted / "source.json").read_text())
    assert source["network"] == "resnet20"
    assert source["source"] == str(weights)
    assert source["sha256"] == sha256_of(weights)
    assert source["compared_with"] is None
    assert source["versions"]["keras"] == keras.__version__


def test_evaluate(converted, photo, tmp_path):
    for name in "0123456789":
        (tmp_path / name).mkdir()
        for copy in "ab":
            (tmp_path / name / f"{copy}.png").write_bytes(photo.read_bytes())
    result = evaluate(converted, data=tmp_path)
    assert (result["n"], result["split"]) == (20, "all")
    # One image, under each of ten labels.
    assert result["top1_error"] == pytest.approx(90)
    assert result["top5_error"] == pytest.approx(50)
    (converted / "evaluation.json").unlink()


def test_evaluate_needs_data(converted, capsys):
    assert main(["evaluate", str(converted)]) == 2
    assert "name the images or the data set to measure on" in capsys.readouterr().err


def test_imagenets_folders_have_the_published_classes(converted):
    loaded = load(converted)
    many = replace(
        loaded,
        classes=tuple(map(str, range(1000))),
        record=loaded.record | {"source": "torchvision:IMAGENET1K_V2"},
    )
    numbers = [f"n{number:08}" for number in range(1000)]
    assert has_classes(many, numbers)
    assert not has_classes(many, numbers[::-1])
    assert not has_classes(many, numbers[:10])
    assert not has_classes(many, [*numbers[:-1], "tench"])
    darknet = replace(many, record=many.record | {"source": "darknet53.weights"})
    assert not has_classes(darknet, numbers)
    assert has_classes(loaded, tuple("0123456789"))


def test_parts_of_imagenet_have_its_classes(converted):
    loaded = load(converted)
    network = replace(
        loaded,
        classes=imagenet_classes(),
        record=loaded.record | {"source": "torchvision:IMAGENET1K_V2"},
    )
    names = ("n01443537", "n02085620-Chihuahua", "n15075141_toilet_tissue")
    images = np.array([b"a", b"b", b"c", b"d"], dtype=object)
    some = Examples(images, np.array([2, 0, 1, 1], "int32"))
    splits = Splits(
        train=some,
        validation=None,
        test=None,
        class_names=names,
        name="some",
        version="1",
        sha256="a",
    )
    with pytest.warns(UserWarning, match="some has 3 of the network's 1,000 classes"):
        found = with_labels_of(network, splits, some)
    assert [network.classes[label] for label in found.labels] == [
        "toilet tissue",
        "goldfish",
        "Chihuahua",
        "Chihuahua",
    ]
    assert (found.images == images).all()
    import tensorflow as tf

    stream = tf.data.Dataset.from_tensor_slices((list(images), [2, 0, 1, 1]))
    with pytest.warns(UserWarning, match="chooses among all of them"):
        found = with_labels_of(
            network, splits, StreamedExamples(lambda: stream, size=4)
        )
    pairs = list(found.read().as_numpy_iterator())
    assert pairs == [(b"a", 999), (b"b", 1), (b"c", 151), (b"d", 151)]
    # Not of other networks, nor with other names.
    for one, wrong in (
        (loaded, names),
        (replace(network, record={"source": "darknet53.weights"}), names),
        (network, ("n01443537", "goldfish")),
        (network, ("n00000001", "n01443537")),
    ):
        assert places_of(one, replace(splits, class_names=wrong)) is None
    everything = replace(splits, class_names=imagenet_numbers())
    assert with_labels_of(network, everything, some) is some


@pytest.mark.slow
def test_the_preprocessing_of_published_weights_is_kept(
    network, photo, tmp_path, monkeypatch
):
    """It is in the folder, in predictions and in the export."""
    found = Published(
        own_state(network),
        BGR,
        origin="https://weights.invalid/w.th",
        sha256="0" * 64,
        classes=tuple("abcdefghij"),
        reference=lambda state, images: called(network, images),
    )
    monkeypatch.setattr(sources, "fetch", lambda *arguments: found)
    done = convert("akamaster", tmp_path / "net", network="resnet20")
    assert done.library == "akamaster"
    assert done.difference < 1e-5
    assert done.largest > 0.1

    loaded = load(tmp_path / "net")
    assert loaded.preprocessing == loaded.model.preprocessing == BGR
    assert loaded.record["origin"] == "https://weights.invalid/w.th"
    pixels = np.asarray(prepare(photo.read_bytes(), BGR))[None]
    logits = called(network, (pixels[..., ::-1] - np.array(BGR.mean)) / BGR.std)
    best = "abcdefghij"[logits.argmax()]
    assert loaded.predict([photo], top=1)[0][0][0] == best

    if keras.backend.backend() != "torch":
        import tensorflow as tf

        served = tf.saved_model.load(export(tmp_path / "net")[0])
        answer = served.signatures["serving_default"](
            image_bytes=tf.constant([photo.read_bytes()])
        )
        assert answer["classes"][0, 0].numpy().decode() == best
        scores = keras.ops.softmax(logits)
        np.testing.assert_allclose(answer["scores"], scores, atol=1e-4)


@pytest.mark.parametrize(
    "contents", ["{", "[]", '{"network": "resnet20", "classes": []}']
)
def test_a_damaged_source(converted, tmp_path, contents):
    (tmp_path / "source.json").write_text(contents)
    with pytest.raises(ValueError, match="source.json must be as .*Convert again"):
        load(tmp_path)


# --- Files ------------------------------------------------------------------------


def test_a_converted_networks_file_brings_its_preprocessing(converted, tmp_path):
    folder = tmp_path / "net"
    shutil.copytree(converted, folder)
    says = json.loads((folder / "source.json").read_text())
    says["preprocessing"] = BGR.as_json()
    (folder / "source.json").write_text(json.dumps(says))
    file = folder / "model.keras"
    assert applications.create("resnet20", weights=file).preprocessing == BGR
    convert(file, tmp_path / "copy")
    assert load(tmp_path / "copy").preprocessing == BGR
    (folder / "source.json").write_text("{}")
    with pytest.raises(
        ValueError, match="source.json must tell what images go through"
    ):
        applications.create("resnet20", weights=file)


@pytest.mark.parametrize(
    "name", ["w.keras", "w.weights.h5", "w.npz", "w.safetensors", "w.pth"]
)
def test_there_and_back(network, converted, tmp_path, name):
    if name == "w.safetensors":
        pytest.importorskip("safetensors")
    if name == "w.pth":
        pytest.importorskip("torch")
    convert(converted, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    convert(tmp_path / name, tmp_path / "net", network="resnet20")
    assert_same_weights(load(tmp_path / "net").model, network)


def test_a_network_with_other_classes(tmp_path):
    """Their number is that of the file's classifier."""
    source = applications.create("resnet20", classes=3)
    source.save(tmp_path / "w.keras")
    np.savez(tmp_path / "w.npz", **own_state(source))
    for name, options in (("w.keras", {}), ("w.npz", {"network": "resnet20"})):
        convert(tmp_path / name, tmp_path / "net", overwrite=True, **options)
        loaded = load(tmp_path / "net")
        assert loaded.classes == ("0", "1", "2")
        assert_same_weights(loaded.model, source)


def test_what_is_there_is_not_overwritten(weights, tmp_path, capsys):
    (tmp_path / "w.keras").write_text("mine")
    command = ["convert", str(weights), str(tmp_path / "w.keras")]
    command += ["--network", "resnet20"]
    assert main(command) == 2
    assert "pass `overwrite=True` (--overwrite)" in capsys.readouterr().err
    assert (tmp_path / "w.keras").read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert "resnet20 from" in capsys.readouterr().out
    assert (tmp_path / "w.keras").stat().st_size > 10_000


def test_a_folder_of_something_else_is_never_overwritten(weights, tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileExistsError, match="must be of the same kind"):
        convert(weights, tmp_path / "photos", network="resnet20", overwrite=True)


def test_overwriting_a_folder_leaves_nothing_of_the_old_one(weights, tmp_path):
    convert(weights, tmp_path / "net", network="resnet20")
    (tmp_path / "net" / "evaluation.json").write_text("of the old weights")
    convert(weights, tmp_path / "net", network="resnet20", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert not (tmp_path / "net" / "evaluation.json").exists()


@pytest.mark.parametrize("name", ["net", "w.keras"])
def test_a_failure_leaves_what_was_there(weights, tmp_path, monkeypatch, name):
    convert(weights, tmp_path / name, network="resnet20")

    def fails(model, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", fails)
    for out, overwrite in ((name, True), (f"new_{name}", False)):
        with pytest.raises(OSError, match="No space left"):
            convert(weights, tmp_path / out, network="resnet20", overwrite=overwrite)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    convert(tmp_path / name, tmp_path / "again")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npz", "net"], "No file at nowhere.npz"),
        (["torchvison:V1", "net"], "one of the sources torchvision, timm"),
        (["{weights}", "net"], "say so with `network`"),
        (["{weights}", "net", "--network", "resnet-20"], "Did you mean 'resnet20'"),
        (["{weights}", "net", "--network", "resnet32"], "must hold 'stage1_block2"),
        (["{converted}", "net", "--network", "resnet32"], "has the network 'resnet20'"),
        (["{weights}", "w.onnx", "--network", "resnet20"], "Received: .*w.onnx"),
        (["{converted}", "net", "--to", "timm"], "writes a state dict"),
        (["{converted}", "w.keras", "--to", "timm"], "writes a state dict"),
    ],
)
def test_wrong_usage(arguments, message, weights, converted, capsys, tmp_path):
    arguments = [a.format(weights=weights, converted=converted) for a in arguments]
    arguments[1] = str(tmp_path / "out" / arguments[1])
    assert main(["convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()


def test_a_damaged_keras_file(tmp_path):
    (tmp_path / "w.keras").write_bytes(b"PK not a zip file")
    with pytest.raises(ValueError, match="w.keras must be a whole .keras file"):
        convert(tmp_path / "w.keras", tmp_path / "net")


# --- Other libraries --------------------------------------------------------------


@pytest.mark.parity
def test_from_torchvision_and_back(tmp_path, torch, torchvision, capsys):
    reference = torchvision.models.resnet18()
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    out = tmp_path / "net"
    arguments = ["convert", str(tmp_path / "w.pth"), str(out), "--network", "resnet18"]
    assert main(arguments) == 0
    assert "greatest difference of the logits from torchvision's: " in (
        capsys.readouterr().out
    )
    source = json.loads((out / "source.json").read_text())
    assert source["compared_with"] == "torchvision"
    assert source["greatest_difference"] < 1e-4

    done = convert(out, tmp_path / "back.pth", to="torchvision")
    assert (done.library, done.difference < 1e-4) == ("torchvision", True)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    torchvision.models.resnet18().load_state_dict(back, strict=True)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, back[name]), name


@pytest.mark.parity
@pytest.mark.parametrize("network", ["resnet18d", "resnetv2_18"])
def test_to_timm(tmp_path, timm, network):
    keras.utils.set_random_seed(0)  # Some draws have large logits, rounded by more.
    model = applications.create(network, classes=5)
    model.save(tmp_path / "w.keras")
    done = convert(tmp_path / "w.keras", tmp_path / "w.safetensors", to="timm")
    assert (done.library, done.network) == ("timm", network)
    assert done.difference < 1e-4
    theirs = timm.create_model(network, num_classes=5)
    from safetensors.torch import load_file

    theirs.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("resnet20", "timm"),
        ("resnet20", "torchvision"),
        pytest.param("wide_resnet16_4", "timm", marks=pytest.mark.exhaustive),
        pytest.param("resnet18d", "torchvision", marks=pytest.mark.exhaustive),
    ],
)
def test_to_a_library_without_this_network(tmp_path, name, library):
    applications.create(name).save(tmp_path / "w.keras")
    with pytest.raises(ValueError, match=f"{library} has no network like '{name}'"):
        convert(tmp_path / "w.keras", tmp_path / "w.npz", to=library)
    assert not (tmp_path / "w.npz").exists()


def test_a_state_dict_for_torchvision_is_read_back(tmp_path, monkeypatch):
    spec = cut(ARCHITECTURES["resnet18"], repeats=1)
    monkeypatch.setitem(ARCHITECTURES, "resnet18", spec)
    # Torchvision's own, where it is installed, has twice as many blocks.
    monkeypatch.setattr("keras_resnet.runs.convert.torch_reference", lambda *_: None)
    network = applications.create("resnet18")
    network.save(tmp_path / "w.keras")
    convert(tmp_path / "w.keras", tmp_path / "w.npz", to="torchvision")
    state = read_checkpoint(tmp_path / "w.npz")
    assert state.keys() == to_state_dict(network, spec, "torchvision").keys()
    model = applications.create("resnet18")
    load_weights(model, state, spec)
    assert_same_weights(model, network)


# --- Names of classes -------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        "list",
        pytest.param("data set", marks=pytest.mark.exhaustive),
        pytest.param("file", marks=pytest.mark.exhaustive),
    ],
)
def test_names_of_the_classes(weights, photo, tmp_path, how, capsys):
    """A converted network is measured on data of the same classes."""
    (tmp_path / "names.txt").write_text("\ufeff" + "\r\n".join(CIFAR10_CLASSES) + "\n")
    given = {
        "data set": "cifar10",
        "file": tmp_path / "names.txt",
        "list": list(CIFAR10_CLASSES),
    }[how]
    convert(weights, tmp_path / "net", network="resnet20", classes=given)
    assert load(tmp_path / "net").classes == CIFAR10_CLASSES
    for name in CIFAR10_CLASSES:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(photo.read_bytes())
    assert evaluate(tmp_path / "net", data=tmp_path / "data")["top1_error"] == 90


def test_data_of_other_classes_than_numbers(converted, photo, tmp_path):
    for name in CIFAR10_CLASSES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(photo.read_bytes())
    with pytest.raises(ValueError, match="have no names.*--classes imagenet"):
        evaluate(converted, data=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\n", "must name the 10 classes of the network.*Received: 2 names"),
        ("a\na\n", "'a' twice or empty"),
        ("a\n\nb\n", "'' twice or empty"),
        ("", "an empty file"),
        ("\xff".encode("latin-1"), "a text file in UTF-8"),
        (None, "must be imagenet, .*cifar10.*No file at"),
    ],
)
def test_wrong_names_of_classes(weights, tmp_path, capsys, text, message):
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "names.txt").write_bytes(data)
    command = ["convert", str(weights), str(tmp_path / "net"), "--network", "resnet20"]
    assert main([*command, "--classes", str(tmp_path / "names.txt")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "net").exists()
    command[2] = str(tmp_path / "w.keras")
    assert main([*command, "--classes", "cifar10"]) == 2
    assert "goes into a folder" in capsys.readouterr().err


def test_a_name_of_two_classes_is_refused(weights, tmp_path):
    names = ["ant", "ant", *map(str, range(8))]
    with pytest.raises(ValueError, match=r"each name once.*\['ant'\]"):
        convert(weights, tmp_path / "net", network="resnet20", classes=names)


@pytest.mark.slow
def test_two_classes_of_imagenet_with_one_name_are_told_apart(tmp_path, photo):
    """In what is converted, and in a folder that an earlier version converted."""
    names = [str(number) for number in range(1000)]
    names[134] = names[517] = "crane"
    apart = {"crane (n02012849)", "crane (n03126707)"}
    source = applications.create("resnet20", classes=1000)
    source.save(tmp_path / "w.keras")
    convert(tmp_path / "w.keras", tmp_path / "net", classes=names)
    told = tmp_path / "net" / "source.json"
    written = json.loads(told.read_text())
    assert apart <= set(written["classes"]) and len(set(written["classes"])) == 1000
    told.write_text(json.dumps(written | {"classes": names}))
    run = load(tmp_path / "net")
    assert apart <= set(run.classes) and len(set(run.classes)) == 1000
    [answer] = run.predict([photo], top=1000)
    assert len(dict(answer)) == 1000
    convert(tmp_path / "net", tmp_path / "again")
    convert(tmp_path / "net", tmp_path / "again.keras")
    for file in ("again/model.keras", "again.keras"):  # For earlier versions of Keras.
        with zipfile.ZipFile(tmp_path / file) as archive:
            assert b"renorm" not in archive.read("config.json")
    again = json.loads((tmp_path / "again" / "source.json").read_text())
    assert again["classes"] == written["classes"]


def test_a_file_of_akamasters_brings_its_preprocessing_and_classes(
    network, converted, tmp_path
):
    """From names to the folder: ImageNet's statistics, CIFAR-10's classes."""
    state = named_arrays(network, RESNET20, FORMATS["torchvision"])
    state = {name.replace("fc.", "linear."): one for name, one in state.items()}
    np.savez(tmp_path / "w.npz", **state)
    convert(tmp_path / "w.npz", tmp_path / "net", network="resnet20")
    run = load(tmp_path / "net")
    assert (run.preprocessing.mean, run.preprocessing.std) == (
        IMAGENET_MEAN,
        IMAGENET_STD,
    )
    assert run.classes == CIFAR10_CLASSES
    assert run.record["preprocessing_assumed"] is None
    told = json.loads((converted / "source.json").read_text())
    assert told["preprocessing_assumed"] == "the network's usual one, for cifar10"


def test_a_guess_is_said(weights, tmp_path, capsys):
    with pytest.warns(
        UserWarning, match="doesn't tell how .* assumed is the network's"
    ) as told:
        convert(weights, tmp_path / "net", network="resnet20")
    assert told[0].filename == __file__  # Where it was called.
