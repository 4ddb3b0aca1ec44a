"""Weights from elsewhere: names, files, refusals."""

import pathlib
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.spec import doubling
from keras_resnet.models.resnet import build
from keras_resnet.weights.conventions import FORMATS, recognized
from keras_resnet.weights.files import read_checkpoint
from keras_resnet.weights.load import load_state_dict, load_weights
from keras_resnet.weights.to_torch import named_arrays, to_state_dict
from tests.helpers.cut import cut
from tests.helpers.weight_files import TINY


def tiny_spec(block="basic", **changes):
    return replace(TINY, stages=doubling(block, (1, 1), 16), **changes)


BOTTLENECK = tiny_spec("bottleneck_v1_5")
PREACTIVATION = tiny_spec(order="preactivation")


def tiny(*, seed=0, classes=5, spec=TINY, input_shape=(32, 32, 3), **options):
    keras.utils.set_random_seed(seed)
    return build(
        spec,
        input_shape=input_shape,
        classes=classes,
        name="tiny",
        **options,
    )


def state_dict_of(model, spec=TINY):
    """The weights in torch's names and layout: (out, in, height, width)."""
    return named_arrays(model, spec, FORMATS["torchvision"])


def assert_same_weights(model, expected):
    for weight, other in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def refuses(model, weights, message, *, spec=TINY, **options):
    """Checks the error, and that the model is as it was."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        load_weights(model, weights, spec, **options)
    assert_same_weights(model, before)


@pytest.fixture
def cut_to_a_block(monkeypatch):
    """Leaves one block a stage, a quarter as wide, to networks that differ in strides."""
    for name in ("resnet50", "resnet50_v1_5", "resnet50c", "resnet50d"):
        smaller = cut(ARCHITECTURES[name], repeats=1, narrower=4)
        monkeypatch.setitem(ARCHITECTURES, name, smaller)


# --- Names ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "form", "ours", "theirs"),
    [
        ("resnet50", "torchvision", "stem_conv/kernel", "conv1.weight"),
        ("resnet50", "torchvision", "stem_bn/gamma", "bn1.weight"),
        ("resnet50", "torchvision", "stem_bn/moving_variance", "bn1.running_var"),
        ("resnet50", "torchvision", "stage3_block12_2_conv/kernel",
         "layer3.11.conv2.weight"),
        ("resnet50", "torchvision", "stage4_block3_3_bn/beta", "layer4.2.bn3.bias"),
        ("resnet50", "torchvision", "stage2_block1_shortcut_conv/kernel",
         "layer2.0.downsample.0.weight"),
        ("resnet50", "torchvision", "stage2_block1_shortcut_bn/gamma",
         "layer2.0.downsample.1.weight"),
        ("resnet50", "torchvision", "logits/bias", "fc.bias"),
        ("resnet50", "kerashub", "stage2_block1_shortcut_bn/gamma",
         "stack1_block0_0_bn/gamma"),
        ("resnet50", "keras_applications", "stage2_block1_shortcut_bn/gamma",
         "conv3_block1_0_bn/gamma"),
        ("resnet50d", "torchvision", "stem_2_bn/beta", "conv1.4.bias"),
        ("resnet50d", "torchvision", "stem_3_bn/beta", "bn1.bias"),
        ("resnet50d", "torchvision", "stage1_block1_shortcut_conv/kernel",
         "layer1.0.downsample.1.weight"),
        ("seresnet50", "torchvision", "stage1_block2_se_1_conv/bias",
         "layer1.1.se.fc1.bias"),
        ("resnetv2_50", "timm_v2", "stage1_block2_0_bn/gamma",
         "stages.0.blocks.1.norm1.weight"),
        ("resnetv2_50", "timm_v2", "stage1_block1_shortcut_conv/kernel",
         "stages.0.blocks.0.downsample.conv.weight"),
        ("darknet53_timm", "timm_darknet", "stage2_downsample_bn/gamma",
         "stages.1.conv_down.bn.weight"),
        ("drn_c_26", "drn", "stage7_block2_1_bn/gamma", "layer7.0.bn2.weight"),
        ("drn_d_24", "drn", "stage7_block2_1_bn/gamma", "layer7.4.weight"),
        ("drn_d_24", "drn", "stage3_block2_1_bn/gamma", "layer3.1.bn1.weight"),
        ("wide_resnet28_10", "wide_resnet", "stage1_block1_shortcut_conv/kernel",
         "group0.block0.convdim"),
        ("wide_resnet28_10", "wide_resnet", "stage2_block1_0_bn/gamma",
         "group1.block0.bn0.weight"),
        ("resnet20", "akamaster", "logits/kernel", "linear.weight"),
    ],
)  # fmt: skip
def test_names(network, form, ours, theirs):
    layer, variable = ours.split("/")
    assert FORMATS[form].key(ARCHITECTURES[network], layer, variable) == theirs


def test_a_preactivation_network_has_no_counterpart():
    model = tiny(spec=PREACTIVATION)
    refuses(model, state_dict_of(tiny()), "another network", spec=PREACTIVATION)


# --- State dicts ------------------------------------------------------------------


def test_state_dict():
    source, model = tiny(seed=1), tiny(seed=2)
    state = state_dict_of(source) | {"bn1.num_batches_tracked": np.array(7)}
    load_weights(model, state, TINY)
    assert_same_weights(model, source.get_weights())


def test_the_callers_state_dict_is_left_alone():
    state = state_dict_of(tiny())
    names = list(state)
    load_state_dict(tiny(include_top=False), state, TINY)
    assert list(state) == names


def test_features_do_without_the_classifier():
    source, model = tiny(seed=1), tiny(seed=2, include_top=False)
    load_weights(model, state_dict_of(source), TINY)
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
    load_weights(model, state_dict_of(source), TINY, new_classifier=True)
    assert_same_weights(model, source.get_weights()[:-2] + classifier)


def test_the_old_classifier_where_it_fits():
    source, model = tiny(seed=1), tiny(seed=2)
    load_weights(model, state_dict_of(source), TINY, new_classifier=True)
    assert_same_weights(model, source.get_weights())


def test_another_networks_state_dict():
    refuses(
        tiny(),
        state_dict_of(tiny(spec=BOTTLENECK), BOTTLENECK),
        "another network's|shape",
    )


@pytest.mark.parametrize("weights", [3, [np.zeros(3)], np.zeros(3)], ids=str)
def test_weights_of_no_kind(weights):
    refuses(
        tiny(), weights, "Weights must be a file, the folder of a run, a state dict"
    )


@pytest.mark.parametrize("state", [{}, {"model": {}, "epoch": 3}])
def test_no_state_dict_at_all(state):
    refuses(tiny(), state, "must hold 'conv1.weight'")


# --- Files ------------------------------------------------------------------------


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    source, model = tiny(seed=1), tiny(seed=2)
    safetensors.save_file(state_dict_of(source), tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors", TINY)
    assert_same_weights(model, source.get_weights())


def test_a_truncated_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    safetensors.save_file(state_dict_of(tiny()), path)
    path.write_bytes(path.read_bytes()[:-1000])
    refuses(tiny(seed=3), path, "w.safetensors must hold a state dict.*undamaged")


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_torch_file(tmp_path, torch, suffix):
    source, model = tiny(seed=1), tiny(seed=2)
    state = {name: torch.tensor(a) for name, a in state_dict_of(source).items()}
    torch.save(state, tmp_path / f"w{suffix}")
    load_weights(model, str(tmp_path / f"w{suffix}"), TINY)
    assert_same_weights(model, source.get_weights())


def test_a_truncated_torch_file(tmp_path, torch):
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


def test_a_pickle_that_runs_code_is_refused(tmp_path, torch):
    trace = tmp_path / "trace"
    torch.save({"conv1.weight": Malicious(trace)}, tmp_path / "w.pth")
    # It does what it is made for where it is let.
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert trace.exists()
    trace.unlink()

    refuses(tiny(), tmp_path / "w.pth", "must hold a state dict, of tensors only")
    assert not trace.exists()


def test_a_refusal_does_not_advise_to_load_it_anyway(tmp_path, torch):
    torch.save(Malicious(tmp_path / "trace"), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="UnpicklingError") as error:
        read_checkpoint(tmp_path / "w.pth")
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_keras_file(tmp_path, name):
    source, model = tiny(seed=1), tiny(seed=2)
    save(source, tmp_path / name)
    load_weights(model, tmp_path / name, TINY)
    assert_same_weights(model, source.get_weights())


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize(
    "other", [{"classes": 7}, {"spec": BOTTLENECK}], ids=["classes", "network"]
)
def test_another_networks_keras_file(tmp_path, name, other):
    save(tiny(seed=1, **other), tmp_path / name)
    refuses(tiny(seed=3), tmp_path / name, "don't fit 'tiny': check `classes`")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_a_new_classifier_from_a_keras_file(tmp_path, name):
    source, model = tiny(seed=1), tiny(seed=2, classes=7)
    classifier = model.get_weights()[-2:]
    save(source, tmp_path / name)
    load_weights(model, tmp_path / name, TINY, new_classifier=True)
    assert_same_weights(model, source.get_weights()[:-2] + classifier)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize("spec", [BOTTLENECK, PREACTIVATION], ids=["bottleneck", "v2"])
def test_a_new_classifier_does_not_excuse_another_network(tmp_path, name, spec):
    save(tiny(seed=1, spec=spec), tmp_path / name)
    refuses(tiny(seed=3), tmp_path / name, "don't fit 'tiny'", new_classifier=True)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize(
    ("other", "of"),
    [
        pytest.param("drn_d_24", "drn_d_22", marks=pytest.mark.slow),
        ("plain20", "resnet20"),
    ],
)
def test_a_keras_file_of_another_network_with_the_same_shapes(
    tmp_path, name, other, of
):
    options = {"input_shape": (32, 32, 3), "classes": 3}
    save(applications.create(other, **options), tmp_path / name)
    with pytest.raises(ValueError, match="another network's"):
        applications.create(of, weights=tmp_path / name, **options)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("other", "of"), [("resnet50_v1_5", "resnet50"), ("resnet50c", "resnet50d")]
)
@pytest.mark.usefixtures("cut_to_a_block")
def test_keras_files_of_the_other_stride_are_warned_of(tmp_path, other, of):
    options = {"input_shape": (32, 32, 3), "classes": 3}
    applications.create(other, **options).save(tmp_path / "w.keras")
    with pytest.warns(UserWarning, match="strides in other places"):
        applications.create(of, weights=tmp_path / "w.keras", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?!.*prepared)")
        applications.create(
            other, weights=tmp_path / "w.keras", output_stride=8, **options
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w.weights.h5", "must be a whole file of weights that Keras wrote"),
        ("w.keras", "must be a whole .keras file"),
    ],
)
def test_a_truncated_keras_file(tmp_path, name, message):
    save(tiny(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    refuses(tiny(seed=3), tmp_path / name, f"{name} {message}")


def save(model, path):
    if path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)


@pytest.mark.parametrize("weights", ["imagenet.pth", "nowhere/w.weights.h5"])
def test_no_such_file(weights):
    with pytest.raises(FileNotFoundError, match=f"No file at {weights}"):
        load_weights(tiny(), weights, TINY)


def test_another_kind_of_file(tmp_path):
    (tmp_path / "w.onnx").touch()
    refuses(tiny(), tmp_path / "w.onnx", "must be a .keras, .*Received: .*w.onnx")


def test_create_takes_weights(tmp_path):
    source = applications.create("resnet20", classes=7)
    source.save_weights(tmp_path / "w.weights.h5")
    model = applications.create(
        "resnet20", classes=7, weights=tmp_path / "w.weights.h5"
    )
    assert_same_weights(model, source.get_weights())


def test_akamasters_names_are_known_without_a_classifier():
    spec = ARCHITECTURES["resnet20"]
    state = state_dict_of(build(spec), spec)
    state = {name.replace("fc.", "linear."): value for name, value in state.items()}
    model = build(spec, include_top=False)
    assert recognized(state, spec) == "akamaster"
    load_state_dict(model, state, spec)


@pytest.mark.parametrize(
    "change", [{"layer3.extra": np.zeros(3)}, {"layer1.0.conv1.weight": np.zeros(())}]
)
def test_a_damaged_file_of_akamasters(change):
    spec = ARCHITECTURES["resnet20"]
    model = applications.create("resnet20")
    torch = FORMATS["torchvision"]
    state = {}
    for variable, array in zip(model.weights, model.get_weights(), strict=True):
        layer, name = variable.path.split("/")[-2:]
        key = torch.key(spec, layer, name).replace("fc.", "linear.")
        state[key] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    load_state_dict(model, state, spec)
    with pytest.raises(ValueError, match="names and shapes must fit 'resnet20'"):
        load_state_dict(model, state | change, spec)


@pytest.mark.usefixtures("cut_to_a_block")
def test_no_state_dict_for_networks_of_the_other_stride():
    model = applications.create("resnet50", input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="torchvision has no network like 'resnet50'"):
        to_state_dict(model, ARCHITECTURES["resnet50"], "torchvision")


@pytest.mark.usefixtures("cut_to_a_block")
def test_weights_of_the_other_stride_are_warned_of():
    v1_5 = applications.create("resnet50_v1_5", input_shape=(64, 64, 3))
    state = to_state_dict(v1_5, ARCHITECTURES["resnet50_v1_5"], "torchvision")
    with pytest.warns(UserWarning, match="load them into 'resnet50_v1_5'"):
        applications.create("resnet50", input_shape=(64, 64, 3), weights=state)


@pytest.mark.parametrize(
    ("form", "network", "right"),
    [
        ("kerashub", "resnet50", "resnet50_v1_5"),
        ("keras_applications", "resnet50_v1_5", "resnet50"),
    ],
)
@pytest.mark.usefixtures("cut_to_a_block")
def test_keras_weights_of_the_other_stride_are_warned_of(form, network, right):
    spec = ARCHITECTURES[network]
    model = build(spec, input_shape=(64, 64, 3), name=network)
    state = {}
    for variable in model.weights:
        layer, name = variable.path.split("/")[-2:]
        state[FORMATS[form].key(spec, layer, name)] = variable.numpy()
    with pytest.warns(UserWarning, match=f"load them into '{right}'"):
        load_state_dict(model, state, spec)


def test_biases_of_keras_applications_go_into_the_means():
    state = {
        "conv1_conv/kernel": np.zeros((1, 1, 1, 2)),
        "conv1_conv/bias": np.array([1.0, -2.0]),
        "conv1_bn/moving_mean": np.array([0.5, 0.5]),
        "conv1_bn/moving_variance": np.array([1.0, 2.0]),
    }
    folded = FORMATS["keras_applications"].prepare(state, ARCHITECTURES["resnet50"])
    assert "conv1_conv/bias" not in folded
    np.testing.assert_array_equal(folded["conv1_bn/moving_mean"], [-0.5, 2.5])
    np.testing.assert_allclose(
        folded["conv1_bn/moving_variance"] - [1.0, 2.0], 1e-8, rtol=1e-6
    )
    # In v2 a bias goes into the residual stream, so it stays, and so does its own.
    kept = FORMATS["keras_applications"].prepare(
        state, ARCHITECTURES["resnet50_v2_keras"]
    )
    assert "conv1_conv/bias" in kept
