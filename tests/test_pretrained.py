"""Weights from elsewhere: names, files, refusals, and torchvision's logits."""

import importlib
import math
import pathlib
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES, ResNetSpec
from keras_resnet.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.models.pretrained import (
    load_state_dict,
    load_weights,
    read_state_dict,
    torch_name,
)
from keras_resnet.models.resnet import build

TINY = ResNetSpec(
    block="basic",
    blocks=(1, 1),
    stem="imagenet",
    filters=16,
    shortcut="B",
    paper="none",
    source="none",
)


def tiny(*, seed=0, classes=5, block="basic", **options):
    keras.utils.set_random_seed(seed)
    return build(
        replace(TINY, block=block),
        input_shape=(32, 32, 3),
        classes=classes,
        name="tiny",
        **options,
    )


def state_dict_of(model):
    """The weights in torch's names and layout: (out, in, height, width)."""
    arrays = {}
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
        arrays[torch_name(weight.path)] = np.ascontiguousarray(array)
    return arrays


def assert_same_weights(model, expected):
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def refuses(model, weights, message, **options):
    """Checks the error, and that the model is as it was."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        load_weights(model, weights, **options)
    assert_same_weights(model, before)


# --- Names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "torchvisions"),
    [
        ("stem_conv/kernel", "conv1.weight"),
        ("stem_bn/gamma", "bn1.weight"),
        ("stem_bn/moving_variance", "bn1.running_var"),
        ("stage1_block1_1_conv/kernel", "layer1.0.conv1.weight"),
        ("stage3_block12_2_conv/kernel", "layer3.11.conv2.weight"),
        ("stage4_block3_3_bn/beta", "layer4.2.bn3.bias"),
        ("stage4_block3_3_bn/moving_mean", "layer4.2.bn3.running_mean"),
        ("stage2_block1_shortcut_conv/kernel", "layer2.0.downsample.0.weight"),
        ("stage2_block1_shortcut_bn/gamma", "layer2.0.downsample.1.weight"),
        ("logits/kernel", "fc.weight"),
        ("logits/bias", "fc.bias"),
        ("resnet50/logits/bias", "fc.bias"),
    ],
)
def test_torch_name(ours, torchvisions):
    assert torch_name(ours) == torchvisions


def test_a_preactivation_network_has_no_counterpart():
    model = tiny(block="basic_v2")
    refuses(model, state_dict_of(tiny()), "no counterpart of .*stage2_block1_0_bn")


# --- State dicts ------------------------------------------------------------------


def test_state_dict():
    source, model = tiny(seed=1), tiny(seed=2)
    state = state_dict_of(source) | {"bn1.num_batches_tracked": np.array(7)}
    load_weights(model, state)
    assert_same_weights(model, source.get_weights())


def test_the_callers_state_dict_is_left_alone():
    state = state_dict_of(tiny())
    names = list(state)
    load_state_dict(tiny(include_top=False), state)
    assert list(state) == names


def test_features_do_without_the_classifier():
    source, model = tiny(seed=1), tiny(seed=2, include_top=False)
    load_weights(model, state_dict_of(source))
    assert_same_weights(model, source.get_weights()[:-2])


@pytest.mark.parametrize(
    "name", ["layer2.0.conv1.weight", "bn1.running_mean", "fc.bias"]
)
def test_a_missing_weight(name):
    state = state_dict_of(tiny())
    del state[name]
    refuses(tiny(seed=3), state, f"must hold '{name}'.*holds {len(state)} entries")


def test_a_weight_left_over():
    state = state_dict_of(tiny()) | {"layer3.0.conv1.weight": np.zeros((1, 1, 1, 1))}
    refuses(tiny(seed=3), state, "no place for: .'layer3.0.conv1.weight'")


@pytest.mark.parametrize("name", ["conv1.weight", "layer1.0.bn2.weight", "fc.weight"])
def test_a_weight_of_another_shape(name):
    state = state_dict_of(tiny())
    state[name] = state[name][:-1]
    refuses(tiny(seed=3), state, f"'{name}' must have the shape .*Received: ")


def test_a_kernel_in_keras_layout_is_not_taken():
    state = state_dict_of(tiny())
    state["conv1.weight"] = state["conv1.weight"].transpose(2, 3, 1, 0)
    refuses(tiny(seed=3), state, "'conv1.weight' must have the shape")


def test_classes_that_do_not_fit():
    refuses(tiny(classes=7), state_dict_of(tiny()), "'fc.weight'.*`classes`")


def test_a_new_classifier_from_a_state_dict():
    source, model = tiny(seed=1), tiny(seed=2, classes=7)
    classifier = model.get_weights()[-2:]
    load_weights(model, state_dict_of(source), new_classifier=True)
    assert_same_weights(model, source.get_weights()[:-2] + classifier)


def test_the_old_classifier_where_it_fits():
    source, model = tiny(seed=1), tiny(seed=2)
    load_weights(model, state_dict_of(source), new_classifier=True)
    assert_same_weights(model, source.get_weights())


def test_another_networks_state_dict():
    refuses(tiny(), state_dict_of(tiny(block="bottleneck")), "another network's|shape")


@pytest.mark.parametrize("state", [{}, {"model": {}, "epoch": 3}])
def test_no_state_dict_at_all(state):
    refuses(tiny(), state, "must hold 'conv1.weight'")


# --- Files ------------------------------------------------------------------------


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    source, model = tiny(seed=1), tiny(seed=2)
    safetensors.save_file(state_dict_of(source), tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    assert_same_weights(model, source.get_weights())


def test_a_truncated_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    safetensors.save_file(state_dict_of(tiny()), path)
    path.write_bytes(path.read_bytes()[:-1000])
    refuses(tiny(seed=3), path, "w.safetensors must hold a state dict.*undamaged")


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_torch_file(tmp_path, suffix):
    torch = pytest.importorskip("torch")
    source, model = tiny(seed=1), tiny(seed=2)
    state = {name: torch.tensor(a) for name, a in state_dict_of(source).items()}
    torch.save(state, tmp_path / f"w{suffix}")
    load_weights(model, str(tmp_path / f"w{suffix}"))
    assert_same_weights(model, source.get_weights())


def test_a_truncated_torch_file(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-1000])
    refuses(tiny(), path, "w.pth must hold a state dict")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    trace = tmp_path / "trace"
    torch.save({"conv1.weight": Malicious(trace)}, tmp_path / "w.pth")
    # It does what it is made for where it is let.
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert trace.exists()
    trace.unlink()

    refuses(tiny(), tmp_path / "w.pth", "must hold a state dict, of tensors only")
    assert not trace.exists()


def test_a_refusal_does_not_advise_to_load_it_anyway(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(Malicious(tmp_path / "trace"), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="UnpicklingError") as error:
        read_state_dict(tmp_path / "w.pth")
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_keras_file(tmp_path, name):
    source, model = tiny(seed=1), tiny(seed=2)
    save(source, tmp_path / name)
    load_weights(model, tmp_path / name)
    assert_same_weights(model, source.get_weights())


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize("other", [{"classes": 7}, {"block": "bottleneck"}], ids=str)
def test_another_networks_keras_file(tmp_path, name, other):
    save(tiny(seed=1, **other), tmp_path / name)
    refuses(tiny(seed=3), tmp_path / name, "don't fit 'tiny': check `classes`")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_a_new_classifier_from_a_keras_file(tmp_path, name):
    source, model = tiny(seed=1), tiny(seed=2, classes=7)
    classifier = model.get_weights()[-2:]
    save(source, tmp_path / name)
    load_weights(model, tmp_path / name, new_classifier=True)
    assert_same_weights(model, source.get_weights()[:-2] + classifier)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize("block", ["bottleneck", "basic_v2"])
def test_a_new_classifier_does_not_excuse_another_network(tmp_path, name, block):
    save(tiny(seed=1, block=block), tmp_path / name)
    refuses(tiny(seed=3), tmp_path / name, "don't fit 'tiny'", new_classifier=True)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_a_truncated_keras_file(tmp_path, name):
    save(tiny(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    refuses(tiny(seed=3), tmp_path / name, f"{name} don't fit")


def save(model, path):
    if path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)


@pytest.mark.parametrize("weights", ["imagenet", "nowhere/w.weights.h5"])
def test_no_such_file(weights):
    with pytest.raises(FileNotFoundError, match=f"No file at {weights}"):
        load_weights(tiny(), weights)


def test_another_kind_of_file(tmp_path):
    (tmp_path / "w.npz").touch()
    refuses(tiny(), tmp_path / "w.npz", "must be a .keras, .*Received: .*w.npz")


def test_create_takes_weights(tmp_path):
    source = applications.create("resnet20", classes=7)
    source.save_weights(tmp_path / "w.weights.h5")
    model = applications.create(
        "resnet20", classes=7, weights=tmp_path / "w.weights.h5"
    )
    assert_same_weights(model, source.get_weights())


# --- Torchvision ------------------------------------------------------------------


@pytest.fixture(scope="module")
def torchvision():
    pytest.importorskip("torch", reason="needs PyTorch: see CONTRIBUTING.md")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision: see CONTRIBUTING.md")
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # Its compiled operators don't load beside another build of PyTorch, but its
    # networks need none: it is enough that the two it looks for have a name.
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{name}",
            "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        )
    for module in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[module]
    return importlib.import_module("torchvision")


@pytest.fixture(scope="module")
def photographs(shared_data):
    """Four images as torchvision's networks expect them, (4, 224, 224, 3)."""
    image = pytest.importorskip("PIL.Image")
    batch = []
    for path in sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[::50]:
        picture = image.open(path).convert("RGB")
        scale = 256 / min(picture.size)
        size = [round(side * scale) for side in picture.size]
        left, top = ((side - 224) // 2 for side in size)
        picture = picture.resize(size).crop((left, top, left + 224, top + 224))
        batch.append((np.asarray(picture) - IMAGENET_MEAN) / IMAGENET_STD)
    assert len(batch) == 4
    return np.stack(batch).astype("float32")


def random_network(torchvision, name, x):
    """A network of torchvision whose every number is random and whose logits are O(1).

    The statistics of batch norm are those of ``x``, disturbed: statistics out of the
    air would let the activations grow or vanish over 152 layers. The last scale of
    each block is small, as in trained networks: with scales of 1 throughout, a random
    network multiplies rounding errors by 3 to 10 in 100 layers.
    """
    import torch

    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    last = ".bn2" if name in ("resnet18", "resnet34") else ".bn3"
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
            norm.momentum = None  # The average over all batches seen: one.
        for path, norm in model.named_modules():
            if path.endswith(last):
                norm.weight.uniform_(0.1, 0.5)
        model.train()(x)
        for norm in norms:
            noise = torch.randn_like(norm.running_mean)
            norm.running_mean += 0.2 * noise * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.5)
        logits = model.eval()(x)
        model.fc.weight *= 3 / logits.std()
        model.fc.bias.normal_()
        return model, model(x).numpy()


@pytest.mark.parity
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("resnet18", "resnet18"),
        ("resnet34", "resnet34"),
        ("resnet50_v1_5", "resnet50"),
        ("resnet101_v1_5", "resnet101"),
        ("resnet152_v1_5", "resnet152"),
    ],
)
def test_torchvisions_logits(torchvision, photographs, ours, theirs):
    import torch

    x = torch.from_numpy(photographs.transpose(0, 3, 1, 2)).contiguous()
    reference, expected = random_network(torchvision, theirs, x)
    # Logits up to 15 in size, over which 1e-4 is absolute: seen are 6e-6 (18 layers) to
    # 3e-5 (152). And the network tells the images apart.
    assert 1 < np.abs(expected).mean() < 10
    assert expected.std(axis=0).mean() > 0.1

    model = applications.create(ours, weights=reference.state_dict())
    logits = keras.ops.convert_to_numpy(
        keras.ops.stop_gradient(model(photographs, training=False))
    )
    np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("ours", ["resnet50", "resnet50_v1_5"])
def test_parameters_are_torchvisions(torchvision, ours):
    reference = torchvision.models.resnet50(weights=None)
    model = build(ARCHITECTURES[ours])
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == sum(
        p.numel() for p in reference.parameters()
    )


def test_weights_of_the_other_stride_are_warned_of():
    v1_5 = applications.create("resnet50_v1_5", input_shape=(64, 64, 3))
    state = {}
    for variable in v1_5.weights:
        value = variable.numpy()
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
        state[torch_name(variable.path)] = value.transpose(axes)
    with pytest.warns(UserWarning, match="load them into 'resnet50_v1_5'"):
        applications.create("resnet50", input_shape=(64, 64, 3), weights=state)
