"""Published weights: sources, downloads, checksums, preprocessing, refusals."""

import contextlib
import enum
import hashlib
import json
import struct
import sys
import types
from functools import partial

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
)
from keras_resnet.models.resnet import build
from keras_resnet.weights import download, sources, sources_keras, sources_torch
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.download import imagenet
from keras_resnet.weights.files import read_checkpoint
from keras_resnet.weights.load import load_weights
from keras_resnet.weights.read import read
from keras_resnet.weights.to_torch import named_arrays
from tests.helpers.cut import cut
from tests.helpers.reference import called, images, with_random_weights

RESNET20 = ARCHITECTURES["resnet20"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keras's cache in another place, whatever ``KERAS_HOME`` was at its import."""
    get_file = partial(keras.utils.get_file, cache_dir=str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return tmp_path / "models"


def serve(path, contents, digits=8):
    """A file named by its SHA-256, as a URL, and the digest."""
    digest = hashlib.sha256(contents).hexdigest()
    path = path.with_name(f"{path.stem}-{digest[:digits]}{path.suffix}")
    path.write_bytes(contents)
    return path.as_uri(), digest


def assert_same_weights(model, expected):
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)


# --- Downloads --------------------------------------------------------------------


@pytest.mark.parametrize("digits", [8, 64])
def test_a_download_is_kept_where_keras_keeps_its_own(tmp_path, cache, digits):
    url, digest = serve(tmp_path / "w.pth", b"contents", digits)
    path, found = download.download(url)
    assert path == cache / url.rpartition("/")[2]
    assert path.read_bytes() == b"contents"
    assert found == digest


def test_what_is_in_the_cache_is_not_downloaded_again(tmp_path, cache):
    url, digest = serve(tmp_path / "w.pth", b"contents")
    path, _ = download.download(url)
    (tmp_path / path.name).unlink()
    assert download.download(url) == (path, digest)


def test_a_wrong_checksum(tmp_path, cache):
    (tmp_path / "w-01234567.pth").write_bytes(b"contents")
    found = hashlib.sha256(b"contents").hexdigest()
    url = (tmp_path / "w-01234567.pth").as_uri()
    with pytest.raises(ValueError, match=f"SHA-256 of 01234567…, and has {found}") as e:
        download.download(url)
    assert str(cache / "w-01234567.pth") in str(e.value)
    assert not (cache / "w-01234567.pth").exists()


def test_a_file_damaged_in_the_cache_is_removed_and_then_had_anew(tmp_path, cache):
    url, digest = serve(tmp_path / "w.pth", b"contents")
    path, _ = download.download(url)
    path.write_bytes(b"content")
    with pytest.raises(ValueError, match="has been removed. Run the same again"):
        download.download(url)
    assert download.download(url) == (path, digest)


def test_without_a_network(cache):
    url = "https://weights.invalid/models/resnet18-f37072fd.pth"
    with pytest.raises(ConnectionError) as error:
        download.download(url)
    message = str(error.value)
    assert message.startswith(f"{url} can't be downloaded (")
    assert "copy it to " in message and "models/resnet18-f37072fd.pth" in message
    assert "\n" not in message
    assert not list(cache.iterdir())


def hub(monkeypatch, path):
    """A stand-in for huggingface_hub that has a file at ``path``."""
    module = types.SimpleNamespace(hf_hub_download=lambda repository, name: str(path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_the_hub_names_files_by_their_sha256(tmp_path, monkeypatch):
    digest = hashlib.sha256(b"contents").hexdigest()
    (tmp_path / digest).write_bytes(b"contents")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / digest)
    hub(monkeypatch, tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    assert download.from_hub("timm/x") == (path, digest)

    (tmp_path / digest).write_bytes(b"content")
    with pytest.raises(ValueError, match=f"must have a SHA-256 of {digest}, and has"):
        download.from_hub("timm/x")
    assert not (tmp_path / digest).exists()


def test_the_hub_without_a_network(monkeypatch):
    def fails(repository, name):
        raise FileNotFoundError("An error happened while trying to locate the file")

    module = types.SimpleNamespace(hf_hub_download=fails)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    with pytest.raises(
        ConnectionError, match="timm/x can't.*library's cache here .*HF_HOME"
    ):
        download.from_hub("timm/x")


# --- Sources ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("torchvision:IMAGENET1K_V2", True),
        ("imagenet", True),
        ("akamaster", True),
        ("drn:imagenet", True),
        ("drn.pth", False),
        ("C:/weights.pth", False),
        ("torchvison:IMAGENET1K_V2", False),
        ({}, False),
    ],
)
def test_what_names_a_source(weights, expected):
    assert sources.is_published(weights) is expected


def test_an_unknown_source_is_taken_for_a_file(tmp_path):
    message = "with one of the sources torchvision, timm.*No file at torchvison:V1"
    with pytest.raises(FileNotFoundError, match=message):
        load_weights(build(RESNET20), "torchvison:V1", RESNET20)


@pytest.mark.parametrize(
    ("weights", "network", "message"),
    [
        ("imagenet", "resnet18", "'keras:imagenet' is of resnet50, .*another source"),
        ("imagenet", "resnet50_v2", "is our 'resnet50_v2_keras'"),
        ("keras:imagenet", "resnet50_v1_5", "resnet50_v2_keras"),
        ("keras:imagenet21k", "resnet50", "Received: 'keras:imagenet21k'"),
        ("kerashub:resnet_50_imagenet", "resnet50", "It has none"),
        ("kerashub:resnet_v2_50_imagenet", "resnet50_v1_5", "begin with 'resnet_50_'"),
        ("akamaster", "resnet164", "There are weights of resnet20, resnet32"),
        ("akamaster:V2", "resnet20", "Received: 'akamaster:V2'"),
        ("drn", "drn_d_24", "There are weights of drn_a_50, drn_c_26"),
    ],
)
def test_weights_that_a_source_does_not_have(weights, network, message):
    with pytest.raises(ValueError, match=message):
        sources.fetch(weights, network, ARCHITECTURES[network])


def test_timms_darknet_is_a_row_of_its_own():
    told = sources_torch._other("darknet53", ["darknet53"])
    assert "that is 'darknet53_timm'" in told
    assert "doesn't have" in sources_torch._other("darknet53", ["resnet50"])


@pytest.mark.parametrize(
    ("weights", "network"),
    [
        ("timm:resnet50d.ra2_in1k", "resnet50d"),
        ("timm:resnet50.a1_in1k", "resnet50_v1_5"),
        ("timm:resnet18.a1_in1k", "resnet18"),
        ("timm:resnetv2_50.a1h_in1k", "resnetv2_50"),
        ("timm:vit_base.in1k", None),
        ("kerashub:resnet_50_imagenet", "resnet50_v1_5"),
        ("kerashub:resnet_vd_50_ssld_v2_imagenet", "resnet50d"),
        ("kerashub:kaggle://keras/resnetv2/keras/resnet_v2_50_imagenet", "resnetv2_50"),
        ("torchvision:IMAGENET1K_V2", None),
    ],
)
def test_the_network_that_a_tag_names(weights, network):
    assert sources.network_of(weights) == network


def test_akamaster(tmp_path, cache, monkeypatch, torch):
    """From the address to the model's preprocessing, with a file like the author's."""
    state = named_arrays(
        with_random_weights(build(RESNET20)), RESNET20, FORMATS["torchvision"]
    )
    state = {f"module.{k.replace('fc', 'linear')}": v for k, v in state.items()}
    bias = state["module.linear.bias"]
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    (tmp_path / "pretrained_models").mkdir()
    torch.save({"state_dict": tensors, "best_prec1": 91.7}, tmp_path / "w.th")
    contents = (tmp_path / "w.th").read_bytes()
    url, digest = serve(tmp_path / "pretrained_models" / "resnet20.th", contents)
    monkeypatch.setattr(sources_torch, "AKAMASTER_URL", tmp_path.as_uri())
    monkeypatch.setitem(sources_torch.AKAMASTER, "resnet20", digest[:8])

    model = applications.create("resnet20", weights="akamaster", name="another")
    np.testing.assert_array_equal(model.get_weights()[-1], bias)
    assert model.preprocessing == Preprocessing(
        channels=3,
        resize=None,
        size=(32, 32),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        exif_orientation=False,
    )
    found = sources.fetch("akamaster", "resnet20", RESNET20)
    assert (found.origin, found.sha256) == (url, digest)
    assert found.classes[3] == "cat"


def test_a_wrong_checksum_leaves_the_model_as_it_was(tmp_path, cache, monkeypatch):
    (tmp_path / "pretrained_models").mkdir()
    (tmp_path / "pretrained_models" / "resnet20-12fca82f.th").write_bytes(b"no weights")
    monkeypatch.setattr(sources_torch, "AKAMASTER_URL", tmp_path.as_uri())
    model = build(RESNET20)
    before = model.get_weights()
    with pytest.raises(ValueError, match="resnet20-12fca82f.th must have a SHA-256"):
        load_weights(model, "akamaster", RESNET20, network="resnet20")
    assert_same_weights(model, before)


def test_drn(monkeypatch):
    urls = []
    monkeypatch.setattr(
        sources_torch, "download", lambda url: urls.append(url) or ("w.pth", "0" * 64)
    )
    for network in ("drn_c_26", "drn_a_50"):
        spec = ARCHITECTURES[network]
        found = sources.fetch("drn", network, spec)
        assert found.preprocessing == imagenet()  # classify.py's are torchvision's.
    assert urls[0].endswith("/drn_c_26-ddedf421.pth")
    assert urls[1].endswith("/resnet50-19c8e357.pth")


@pytest.fixture
def keras_networks(monkeypatch):
    """keras.applications without downloads."""

    def without_weights(weights, classifier_activation):
        assert weights == "imagenet"
        assert classifier_activation is None
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="top")])

    for name in ("ResNet50", "ResNet50V2"):
        monkeypatch.setattr(keras.applications, name, without_weights)


@pytest.mark.parametrize(
    ("network", "theirs"),
    [("resnet50", "resnet"), ("resnet50_v2_keras", "resnet_v2")],
)
def test_keras_preprocessing(keras_networks, network, theirs):
    found = sources.fetch("keras:imagenet", network, ARCHITECTURES[network])
    model = types.SimpleNamespace(preprocessing=found.preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    expected = getattr(keras.applications, theirs).preprocess_input(pixels.copy())
    ours = applications.preprocess_input(pixels, model)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert found.preprocessing.size == (224, 224)
    assert found.preprocessing.resize is None
    assert set(found.weights) == {"top/kernel", "top/bias"}
    assert found.classes[:2] == ("tench", "goldfish")


def test_keras_without_a_network(monkeypatch):
    def fails(**options):
        url = "https://weights.invalid/resnet/resnet50_tf_kernels.h5"
        raise Exception(f"URL fetch failure on {url}: None -- [Errno -2] unknown")

    monkeypatch.setattr(keras.applications, "ResNet50", fails)
    with pytest.raises(ConnectionError) as error:
        sources.fetch("imagenet", "resnet50", ARCHITECTURES["resnet50"])
    message = str(error.value)
    assert message.startswith("https://weights.invalid/resnet/resnet50_tf_kernels.h5 ")
    assert "([Errno -2] unknown)" in message
    assert "models/resnet50_tf_kernels.h5." in message


def test_a_converter_of_kerashub():
    converter = dict(
        scale=[1 / 58.395, 1 / 57.12, 1 / 57.375],
        offset=[-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375],
        image_size=(224, 224),
        crop_to_aspect_ratio=True,
        interpolation="bicubic",
    )
    assert sources_keras.kerashub_preprocessing(converter) == Preprocessing(
        channels=3,
        resize=224,
        size=(224, 224),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bicubic",
        crop_rounding="floor",
        exif_orientation=False,
    )


class Weights(enum.Enum):
    """As torchvision's enumerations of a network's weights are."""

    @property
    def url(self):
        return self.value[0]

    @property
    def meta(self):
        return {"categories": list("abcdefg")}

    def transforms(self):
        return types.SimpleNamespace(
            resize_size=[self.value[1]],
            crop_size=[224],
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            interpolation=types.SimpleNamespace(value="bilinear"),
        )


@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_keeps_its_publishers_name_is_known_by_it(
    tmp_path, monkeypatch, known
):
    """torchvision's second weights are resized otherwise than is assumed."""
    spec = cut(ARCHITECTURES["resnet18"], repeats=1, narrower=4)
    state = named_arrays(build(spec, classes=7), spec, FORMATS["torchvision"])
    np.savez(tmp_path / "w.npz", **state)
    contents = (tmp_path / "w.npz").read_bytes()
    url, digest = serve(tmp_path / "resnet18.pth", contents)
    entries = Weights("Weights", {"V1": ("x/resnet18-0.pth", 256), "V2": (url, 232)})
    models = types.SimpleNamespace(
        list_models=lambda: ["resnet18"] if known else [],
        get_model_weights=lambda name: entries,
        get_model=None,
    )

    def imported(module, what):
        if module != "torchvision.models":
            raise ImportError(module)
        return models

    monkeypatch.setattr(sources_torch, "imported", imported)
    monkeypatch.setattr(sources_torch, "torch_reference", lambda *arguments: None)
    path = tmp_path / url.rpartition("/")[2]
    with contextlib.nullcontext() if known else pytest.warns(match="assumed is torch"):
        found = read(path, "resnet18", spec)
    assert found.sha256 == digest
    assert found.preprocessing.resize == (232 if known else 256)
    assert (found.assumed is None) == known
    assert found.classes == tuple("abcdefg" if known else "0123456")

    path.rename(tmp_path / "resnet18-01234567.pth")  # Another file by this name.
    with pytest.warns(UserWarning, match="assumed is torchvision's for ImageNet"):
        read(tmp_path / "resnet18-01234567.pth", "resnet18", spec)


# --- The sources' libraries -------------------------------------------------------


@pytest.mark.parity
@pytest.mark.parametrize(
    ("tag", "resize"), [("IMAGENET1K_V1", 256), ("IMAGENET1K_V2", 232)]
)
def test_torchvision_preprocessing(torchvision, monkeypatch, tag, resize):
    monkeypatch.setattr(sources_torch, "download", lambda url: (url, "0" * 64))
    spec = ARCHITECTURES["resnet50_v1_5"]
    found = sources.fetch(f"torchvision:{tag}", "resnet50_v1_5", spec)
    assert found.preprocessing == Preprocessing(
        channels=3,
        resize=resize,
        size=(224, 224),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        exif_orientation=False,
    )
    assert found.classes[:2] == ("tench", "goldfish")
    with pytest.raises(ValueError, match="that is 'resnet50_v1_5'"):
        sources.fetch(f"torchvision:{tag}", "resnet50", ARCHITECTURES["resnet50"])
    with pytest.raises(ValueError, match="There are torchvision:IMAGENET1K_V1, "):
        sources.fetch("torchvision:V3", "resnet50_v1_5", spec)


@pytest.mark.parity
@pytest.mark.parametrize(
    "where", ["torchvision:IMAGENET1K_V1", "timm:resnet18.tv_in1k"]
)
def test_from_a_download_to_the_logits(
    where,
    tmp_path,
    cache,
    monkeypatch,
    torch,
    torchvision,
    timm,
):
    reference = torchvision.models.resnet18().eval()
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    url, digest = serve(tmp_path / "resnet18.pth", (tmp_path / "w.pth").read_bytes())
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(entry.value, "url", url)
    config = timm.get_pretrained_cfg("resnet18.tv_in1k")
    config.url = url
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda tag: config)

    model = applications.create("resnet18", weights=where)
    x = images(2, 224, 224, 3)
    with torch.no_grad():
        expected = reference(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(called(model, x), expected, atol=1e-4)
    assert model.preprocessing == imagenet()

    found = sources.fetch(where, "resnet18", ARCHITECTURES["resnet18"])
    assert found.sha256 == digest
    state = read_checkpoint(found.weights)
    np.testing.assert_allclose(found.reference(state, x), expected, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("tag", "network", "resize", "interpolation"),
    [
        ("resnet50d.ra2_in1k", "resnet50d", 256, "bicubic"),
        ("resnet50.a1_in1k", "resnet50_v1_5", 235, "bicubic"),
        ("resnet50.tv_in1k", "resnet50_v1_5", 256, "bilinear"),
    ],
)
def test_timm_preprocessing(timm, monkeypatch, tag, network, resize, interpolation):
    monkeypatch.setattr(sources_torch, "download", lambda url: (url, "0" * 64))
    spec = ARCHITECTURES[network]
    found = sources.fetch(f"timm:{tag}", network, spec)
    assert found.preprocessing.resize == resize
    assert found.preprocessing.interpolation == interpolation
    assert found.preprocessing.mean == IMAGENET_MEAN
    assert found.classes[0] == "tench"
    # timm has two "crane" and two "maillot".
    assert len(set(found.classes)) == 1000
    assert found.classes[134] == "crane (n02012849)"
    for wrong in ("resnet34.a1_in1k", f"{tag.split('.')[0]}.nonsense"):
        with pytest.raises(ValueError, match="There are timm:"):
            sources.fetch(f"timm:{wrong}", network, spec)


@pytest.mark.parity
def test_a_preset_of_kerashub(tmp_path, monkeypatch, keras_hub):
    """One with random weights, saved here as KerasHub publishes them."""
    monkeypatch.setattr(sources_keras, "imagenet_classes", lambda: None)
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(224, 224),
        scale=[1 / 58.395, 1 / 57.12, 1 / 57.375],
        offset=[-123.675 / 58.395, -116.28 / 57.12, -103.53 / 57.375],
    )
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    preset = str(tmp_path / "resnet_18_imagenet")
    keras_hub.models.ResNetImageClassifier(
        backbone=backbone,
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(converter),
        num_classes=1000,
        activation="softmax",
    ).save_to_preset(preset)

    spec = ARCHITECTURES["resnet18"]
    assert sources.network_of(f"kerashub:{preset}") == "resnet18"
    found = sources.fetch(f"kerashub:{preset}", "resnet18", spec)
    assert found.preprocessing == imagenet(resize=224, crop_rounding="floor")
    model = build(spec)
    load_weights(model, found.weights, spec)
    x = images(2, 224, 224, 3)
    logits = called(model, x)
    assert np.abs(logits).max() > 0.1
    np.testing.assert_allclose(found.reference(found.weights, x), logits, atol=1e-5)
    # What KerasHub does to images when it predicts is our preprocessing.
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype("uint8")
    expected = keras.ops.convert_to_numpy(converter(pixels))
    wrapped = types.SimpleNamespace(preprocessing=found.preprocessing)
    ours = applications.preprocess_input(pixels, wrapped)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.slow
def test_keras_applications_logits(monkeypatch):
    """Its network with random weights, through the source to ours."""
    theirs = keras.applications.ResNet50
    monkeypatch.setattr(
        keras.applications,
        "ResNet50",
        lambda weights, **options: with_random_weights(theirs(weights=None, **options)),
    )
    monkeypatch.setattr(sources_keras, "imagenet_classes", lambda: None)
    spec = ARCHITECTURES["resnet50"]
    found = sources.fetch("imagenet", "resnet50", spec)
    model = build(spec)
    load_weights(model, found.weights, spec)
    x = images(2, 224, 224, 3)
    expected = found.reference(found.weights, x)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(called(model, x) / scale, expected / scale, atol=1e-5)


# --- Files that are refused, or not -----------------------------------------------


def tiny_state():
    model = build(RESNET20, name="tiny")
    return model, named_arrays(model, RESNET20, FORMATS["torchvision"])


def refuses(model, weights, message):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        load_weights(model, weights, RESNET20)
    assert_same_weights(model, before)


def test_a_truncated_npz_file(tmp_path):
    model, state = tiny_state()
    np.savez(tmp_path / "w.npz", **state)
    contents = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(contents[:-1000])
    refuses(model, tmp_path / "w.npz", "w.npz must hold a state dict.*undamaged")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_an_npz_file_with_objects(tmp_path):
    model, state = tiny_state()
    trace = tmp_path / "trace"
    state["conv1.weight"] = np.array([Malicious(trace)], object)
    np.savez(tmp_path / "w.npz", **state)
    # It does what it is made for where it is let.
    np.load(tmp_path / "w.npz", allow_pickle=True)["conv1.weight"]
    assert trace.exists()
    trace.unlink()
    refuses(model, tmp_path / "w.npz", "must hold a state dict, of tensors only")
    assert not trace.exists()


def test_the_first_missing_and_unexpected_names():
    model, state = tiny_state()
    state = {name.replace("layer3", "layer4"): value for name, value in state.items()}
    refuses(
        model,
        state,
        "must hold 'layer3.0.conv1.weight', 'layer3.0.bn1.weight', .* and 25 more for "
        ".*without a place there: .'layer4.0.bn1.bias', 'layer4.0.bn1.running_mean'",
    )


def bfloat16(array):
    """Rounded to bfloat16: the upper half of a float32, in one of 16 bits."""
    return (np.asarray(array, "<f4").view("<u4") >> 16).astype("<u2")


def test_bfloat16_in_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    model, state = tiny_state()
    header, data = {}, b""
    for name, value in state.items():
        start, data = len(data), data + bfloat16(value).tobytes()
        offsets = [start, len(data)]
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": offsets}
    header = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    other = build(RESNET20)
    load_weights(other, path, RESNET20)
    for weight, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2**-7)
        assert not np.any(weight.view("<u4") & 0xFFFF)


def test_bfloat16_in_a_torch_file(tmp_path, torch):
    model, state = tiny_state()
    tensors = {name: torch.tensor(value).bfloat16() for name, value in state.items()}
    torch.save(tensors, tmp_path / "w.pth")
    other = build(RESNET20)
    load_weights(other, tmp_path / "w.pth", RESNET20)
    for weight, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2**-7)
