"""What trainers save around weights: other mappings, averages, prefixes, options."""

import argparse
import collections
import enum
import pathlib
import pickle
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.models.resnet import build
from keras_resnet.weights.checkpoints import weights_in
from keras_resnet.weights.conventions import FORMATS, fitting_names
from keras_resnet.weights.load import load_state_dict, load_weights
from keras_resnet.weights.read import read
from keras_resnet.weights.to_torch import named_arrays
from tests.helpers.weight_files import (
    TINY,
    Malicious,
    assert_same_weights,
    refuses,
    small,
)


def fits(state):
    return fitting_names(state, TINY)


@pytest.fixture(scope="module")
def network():
    return small(TINY, seed=1)


@pytest.fixture(scope="module")
def state(network):
    """With the counters that PyTorch's batch norms have."""
    return named_arrays(network, TINY, FORMATS["torchvision"])


@pytest.fixture(scope="module")
def other():
    return named_arrays(small(TINY, seed=2), TINY, FORMATS["torchvision"])


@pytest.fixture(scope="module")
def tensors(state):
    torch = pytest.importorskip("torch")
    return {name: torch.tensor(array) for name, array in state.items()}


def loads(path, state):
    """Checks that a file's weights are found; that they load, `test_load` checks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*doesn't tell how its images")
        found = read(path, "small", TINY)
    assert (found.form, found.state.keys()) == ("torchvision", state.keys())
    for name, array in state.items():
        np.testing.assert_array_equal(found.state[name], array)


def prefixed(state, prefix):
    return {f"{prefix}{name}": array for name, array in state.items()}


def split(state, network, classifier):
    """With other prefixes before the network's names and its classifier's."""
    return {
        f"{classifier if name.startswith('fc.') else network}{name}": array
        for name, array in state.items()
    }


def openmmlab(state):
    return split(state, "backbone.", "head.")


# --- Where the weights are --------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "place", "others"),
    [
        (lambda a, b: a, "", ()),
        (lambda a, b: {"state_dict": a, "epoch": 3}, "state_dict", ()),
        (lambda a, b: {"net": a, "acc": 93.0}, "net", ()),
        (lambda a, b: (a, 3), "0", ()),
        (lambda a, b: {"models": [{"epoch": 1}, {"weights": a}]}, "models.1.weights", ()),
        (lambda a, b: {"whatever": {"deep": {"weights": a}}}, "whatever.deep.weights", ()),
        (
            lambda a, b: {"state_dict": b, "state_dict_ema": a, "epoch": 3},
            "state_dict_ema",
            ("state_dict",),
        ),
        (lambda a, b: {"model_ema": a, "model": b}, "model_ema", ("model",)),
        (lambda a, b: {"model": b, "ema": {"module": a}}, "ema.module", ("model",)),
        (lambda a, b: {"model": b, "swa_model": a}, "swa_model", ("model",)),
        # Parameters without batch norm's statistics are no whole network.
        (
            lambda a, b: {
                "model": a,
                "ema": {k: v for k, v in b.items() if "running" not in k},
            },
            "model",
            (),
        ),
        # Of equal rank, the first.
        (lambda a, b: {"student": a, "teacher": b}, "student", ("teacher",)),
        (lambda a, b: {"schema": a, "model": b}, "schema", ("model",)),
        # Flat, as Lightning's and MoCo's.
        (lambda a, b: prefixed(b, "model.") | prefixed(a, "ema_model."), "ema_model",
         ("model",)),
        (lambda a, b: prefixed(a, "net.") | {"loss.weight": np.ones(3)}, "net", ()),
        # The slow copy is never taken, though its name comes first and it is an average.
        (
            lambda a, b: {
                "state_dict": prefixed(b, "module.encoder_k.")
                | prefixed(a, "module.encoder_q.")
                | {"module.queue": np.ones((2, 3)), "module.queue_ptr": np.ones(1)}
            },
            "state_dict.module.encoder_q",
            ("state_dict.module.encoder_k",),
        ),
        (
            lambda a, b: prefixed(b, "average.momentum_encoder.")
            | prefixed(a, "online_encoder."),
            "online_encoder",
            ("average.momentum_encoder",),
        ),
        (
            lambda a, b: {"target_net": b, "online_net": a},
            "online_net",
            ("target_net",),
        ),
        # Unless it is all there is.
        (lambda a, b: {"encoder_k": a}, "encoder_k", ()),
        # OpenMMLab's two prefixes, and others that hold network and classifier apart.
        (
            lambda a, b: {"state_dict": openmmlab(a), "meta": {"epoch": 3}},
            "state_dict.backbone and state_dict.head",
            (),
        ),
        (
            lambda a, b: prefixed(openmmlab(a), "module."),
            "module.backbone and module.head",
            (),
        ),
        (lambda a, b: split(a, "model.net.", "model.loss.cls."),
         "model.loss.cls and model.net", ()),
        (lambda a, b: split(a, "backbone.", ""), "", ()),
        (
            lambda a, b: {"ema": openmmlab(a), "model": openmmlab(b)},
            "ema.backbone and ema.head",
            ("model.backbone and model.head",),
        ),
        (lambda a, b: {"net": split(a, "module.backbone.", "module.")}, "net.module",
         ()),
        # An optimizer's momentum has as many arrays.
        (
            lambda a, b: {
                "optimizer": {"state": {i: {"momentum_buffer": v} for i, v in
                                        enumerate(b.values())}},
                "model": a,
            },
            "model",
            (),
        ),
    ],
)  # fmt: skip
def test_where_the_weights_are(state, other, checkpoint, place, others):
    found = weights_in(checkpoint(state, other), fits)
    assert (found.place, found.others) == (place, others)
    assert found.state.keys() == state.keys()
    assert all(found.state[name] is state[name] for name in state)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "model.",
        "backbone.",
        "net.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.backbone.",
        "module.model.net.backbone._orig_mod.",
    ],
)
def test_prefixes_that_all_names_share(state, prefix):
    wrapped = prefixed(state, prefix) | {"n_averaged": np.array(7)}
    assert weights_in(wrapped, fits).state.keys() == state.keys()


def test_a_format_whose_names_share_a_root_keeps_it():
    spec = ARCHITECTURES["wide_resnet16_4"]
    names = [
        FORMATS["wide_resnet"].key(spec, "stage1_block1_1_conv", "kernel"),
        FORMATS["wide_resnet"].key(spec, "stage1_block1_1_bn", "gamma"),
    ]
    held = dict.fromkeys(names, np.zeros(3))
    found = weights_in(held, lambda state: fitting_names(state, spec))
    assert found.state.keys() == held.keys()


@pytest.mark.parametrize("checkpoint", [{}, {"epoch": 3}, [], None, {"a": {"b": "c"}}])
def test_no_weights(checkpoint):
    assert weights_in(checkpoint, fits).state == {}


def test_mappings_within_themselves(state):
    checkpoint = {"model": state}
    checkpoint["again"] = checkpoint
    assert weights_in(checkpoint, fits).state.keys() == state.keys()


def test_the_choice_is_said(state, other, network):
    model = small(TINY, seed=3)
    with pytest.warns(UserWarning, match="'state_dict_ema', an average.* 'state_dict'"):
        load_weights(model, {"state_dict": other, "state_dict_ema": state}, TINY)
    assert_same_weights(model, network)
    model = small(TINY, seed=3)
    load_state_dict(model, {"ema": prefixed(state, "module.")}, TINY)
    assert_same_weights(model, network)


ASSUMED = pytest.mark.filterwarnings("ignore:.*doesn't tell how its images")


def moco(query, key, units=8):
    """As MoCo's second version saves: its classifier is a perceptron for contrast."""

    def encoder(state):
        kept = {name: one for name, one in state.items() if not name.startswith("fc.")}
        rows = {"fc.0.weight": (units, 32), "fc.0.bias": (units,)}
        return kept | {name: np.ones(shape, "float32") for name, shape in rows.items()}

    encoders = prefixed(encoder(query), "module.encoder_q.")
    return {"state_dict": encoders | prefixed(encoder(key), "module.encoder_k.")}


@ASSUMED
def test_moco_s_query_encoder_is_loaded_and_errors_name_both(state, other, network):
    file = moco(state, other)
    both = "'state_dict.module.encoder_q'.*'state_dict.module.encoder_k'"
    with pytest.warns(UserWarning, match=both):
        refuses(TINY, file, f"must hold 'fc.weight'.*new_classifier.*{both}")
    model = small(TINY, seed=3)
    with pytest.raises(ValueError, match=both):
        load_state_dict(model, file, TINY)
    with pytest.warns(UserWarning, match=both):
        load_weights(model, file, TINY, new_classifier=True)
    for weight, expected in zip(
        model.get_weights()[:-2], network.get_weights()[:-2], strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_parts_of_two_networks_are_not_mixed(state, other):
    held = openmmlab(state) | split(other, "ema_backbone.", "ema_head.")
    found = weights_in(held, fits)
    assert (found.place, found.others) == ("ema_backbone", ("backbone",))
    assert not any(name.startswith("fc.") for name in found.state)


@ASSUMED
def test_openmmlab_s_classifier_of_another_number_of_classes(state):
    held = openmmlab(state)
    held |= {
        "head.fc.weight": np.ones((5, 32), "float32"),
        "head.fc.bias": np.ones(5, "float32"),
    }
    found = read({"state_dict": held}, "small", TINY)
    assert found.classes == ("0", "1", "2", "3", "4")
    five, seven = small(TINY, seed=3, classes=5), small(TINY, seed=4, classes=7)
    load_weights(five, held, TINY)
    assert (five.get_layer("logits").get_weights()[0] == 1).all()
    refuses(TINY, held, "'fc.weight' must have the shape.*new_classifier")
    own = seven.get_weights()[-2:]
    load_weights(seven, held, TINY, new_classifier=True)
    np.testing.assert_array_equal(seven.get_weights()[-2], own[0])
    np.testing.assert_array_equal(seven.get_weights()[0], five.get_weights()[0])


# --- Files of PyTorch -------------------------------------------------------------


class Mode(enum.Enum):
    FAST = 1


class Config(dict):
    """As EasyDict and the like: a dict with attributes."""

    def __init__(self, **values):
        super().__init__(values)
        self.__dict__.update(values)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "name", ["w.pth", "w.pth.tar", "w.ckpt", "w.bin", "w.pt7", "w.h5", "w.keras", "w"]
)
def test_content_and_not_the_suffix_decides(tmp_path, torch, tensors, state, name, old):
    torch.save(
        {"params": tensors}, tmp_path / name, _use_new_zipfile_serialization=not old
    )
    loads(tmp_path / name, state)


def test_other_kinds_by_content(tmp_path, state):
    with open(tmp_path / "w.pth", "wb") as file:
        np.savez(file, **state)
    loads(tmp_path / "w.pth", state)
    save = pytest.importorskip("safetensors.numpy").save
    (tmp_path / "w.bin").write_bytes(save(state))
    loads(tmp_path / "w.bin", state)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_what_trainers_save_beside(tmp_path, torch, tensors, state, old):
    checkpoint = {
        "args": argparse.Namespace(lr=0.1, arch="resnet"),
        "best_acc1": np.float64(76.1),
        "history": np.arange(3),
        "meters": collections.defaultdict(list, loss=[1.0, 2.0]),
        "counts": collections.Counter("abc"),
        "last": collections.deque([1, 2], maxlen=5),
        "config": Config(lr=3),
        "mode": Mode.FAST,
        Mode.FAST: 1,
        "path": pathlib.Path("somewhere"),
        "optimizer": {"state": {0: {"step": torch.tensor(3)}}},
        "state_dict": collections.OrderedDict(tensors),
    }
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not old)
    loads(path, state)


def module_of(torch, tensors):
    """A module of PyTorch with these parameters and buffers, by their names."""
    whole = torch.nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = whole
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        if "running" in last or "num" in last:
            module.register_buffer(last, tensor)
        else:
            module.register_parameter(last, torch.nn.Parameter(tensor))
    whole.register_buffer("unsaved", torch.zeros(3), persistent=False)
    return whole


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "epoch": 3}])
def test_a_whole_pickled_model(tmp_path, torch, tensors, state, wrap):
    torch.save(wrap(module_of(torch, tensors)), tmp_path / "model.pt")
    loads(tmp_path / "model.pt", state)


def test_a_whole_pickled_model_of_several_devices(tmp_path, torch, tensors, state):
    parallel = torch.nn.DataParallel(module_of(torch, tensors))
    torch.save(parallel, tmp_path / "model.pt")
    loads(tmp_path / "model.pt", state)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda bad, good: {"state_dict": good, "args": bad},
        lambda bad, good: {"state_dict": good, "args": argparse.Namespace(x=bad)},
        lambda bad, good: {"state_dict": good, "more": collections.deque([bad])},
        lambda bad, good: {**good, "bad": bad},
        lambda bad, good: [bad],
    ],
    ids=["beside", "within", "deque", "among", "alone"],
)
@pytest.mark.parametrize("how", ["function", "builtin", "system"])
def test_no_code_of_a_file_is_run(tmp_path, torch, tensors, how, wrap, old):
    trace = tmp_path / "trace"
    bad, path = Malicious(trace, how), tmp_path / "w.pth"
    torch.save(wrap(bad, tensors), path, _use_new_zipfile_serialization=not old)
    torch.load(path, weights_only=False)
    assert trace.exists()  # It does what it is made for where it is let.
    trace.unlink()
    try:
        read(path, "small", TINY)
    except ValueError as error:
        assert "weights_only" not in str(error)
    assert not trace.exists()


def test_a_malicious_module(tmp_path, torch, tensors):
    module = module_of(torch, tensors)
    module.hook = Malicious(tmp_path / "trace", "builtin")
    torch.save(module, tmp_path / "model.pt")
    read(tmp_path / "model.pt", "small", TINY)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_plain_pickle(tmp_path, state, torch, protocol):
    path, trace = tmp_path / "w.pkl", tmp_path / "trace"
    path.write_bytes(
        pickle.dumps([state, Malicious(trace, "builtin")], protocol=protocol)
    )
    refuses(TINY, path, "w.pkl must hold a state dict.*save `model.state_dict")
    assert not trace.exists()


def test_torchscript(tmp_path, torch):
    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Double()).save(tmp_path / "w.pt")
    refuses(TINY, tmp_path / "w.pt", "w.pt is a TorchScript program.*torch.jit.load")


def test_torch_export(tmp_path):
    """With members as `torch.export.save` of PyTorch 2.13 names them."""
    with zipfile.ZipFile(tmp_path / "w.pt2", "w") as archive:
        archive.writestr("w/archive_format", "pt2")
        archive.writestr("w/models/model.json", "{}")
    refuses(TINY, tmp_path / "w.pt2", "program that torch.export wrote")


# --- Other classifiers ------------------------------------------------------------

HEADS = {
    "dropout before": {"fc.1.weight": (1000, 32), "fc.1.bias": (1000,)},
    "two layers": {
        "fc.0.weight": (8, 32),
        "fc.0.bias": (8,),
        "fc.2.weight": (5, 8),
        "fc.2.bias": (5,),
    },
    "no bias": {"fc.weight": (1000, 32)},
    "another name": {"head.weight": (5, 32), "head.bias": (5,)},
    "none": {},
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_other_classifiers(state, network, head):
    other = {k: v for k, v in state.items() if not k.startswith("fc.")}
    other |= {name: np.ones(shape, "float32") for name, shape in head.items()}
    refuses(TINY, other, "'fc.bias'.*whose classifier is .*`new_classifier=True`")

    model = small(TINY, seed=3, classes=7)
    new = model.get_weights()[-2:]
    load_weights(model, other, TINY, new_classifier=True)
    for weight, expected in zip(
        model.get_weights(), network.get_weights()[:-2] + new, strict=True
    ):
        np.testing.assert_array_equal(weight, expected)

    features = build(TINY, input_shape=(32, 32, 3), include_top=False)
    load_weights(features, other, TINY)
    np.testing.assert_array_equal(features.get_weights()[0], network.get_weights()[0])


def test_a_preactivation_networks_names_are_not_taken_for_it(state):
    refuses(replace(TINY, order="preactivation"), state, "another network")


@pytest.mark.parametrize(
    "around", [lambda a: a, lambda a: {"optimizer": a, "epoch": 3}]
)
def test_an_optimizers_state_is_no_network(around):
    one = {"exp_avg": np.ones(3), "exp_avg_sq": np.ones(3)}
    checkpoint = around({"state": {0: one, 1: one}, "param_groups": [{"lr": 0.1}]})
    refuses(TINY, checkpoint, r"an optimizer's state \(.*state.0: exp_avg, exp_avg_sq")


def test_errors_name_the_network_and_not_its_model(state):
    model = build(TINY, input_shape=(32, 32, 3))  # Keras calls it "functional".
    part = {name: array for name, array in state.items() if "bn1" not in name}
    with pytest.raises(ValueError, match="for 'resnet20'. Is it another network's"):
        load_weights(model, part, TINY, network="resnet20")


def test_one_weight_too_many_is_in_the_singular(state):
    more = state | {"teacher_fc": np.ones(3)}
    refuses(TINY, more, "holds 1 weight that 'small' has no place for: .'teacher_fc'")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(state, value):
    bad = state | {"bn1.weight": np.full(16, value, "float32")}
    refuses(TINY, bad, "must be finite numbers. Received: 'bn1.weight' .* 16 of 16")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "bn1.running_var",
            lambda a: a - 2,
            "not be negative. Received: 'bn1.running_var",
        ),
        (
            "conv1.weight",
            lambda a: a.astype("int8"),
            "Received: 'conv1.weight' of int8",
        ),
        ("fc.bias", lambda a: a + 0j, "Received: 'fc.bias' of complex64"),
        ("fc.bias", lambda a: a > 0, "Received: 'fc.bias' of bool"),
    ],
)
def test_weights_that_only_damage_gives(state, tensors, name, change, message):
    from torch import from_numpy

    bad = change(state[name])
    refuses(TINY, state | {name: bad}, message)
    refuses(TINY, tensors | {name: from_numpy(bad)}, message)


def test_variances_that_rounding_made_of_0(state):
    model = small(TINY)
    variance = np.full(16, -1e-9, "float32")
    load_weights(model, state | {"bn1.running_var": variance}, TINY)
    np.testing.assert_array_equal(
        model.get_layer("stem_bn").moving_variance.numpy(), variance
    )
