"""All kinds of networks on TensorFlow, JAX and PyTorch: the same logits, weights alike.

Keras has one backend per process, so each computes in a process of its own. The weights
are a function of the variables' names, and so need no files.
"""

import re
import zlib
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.merges import Scaling, ShortcutDropout
from keras_resnet.config.spec import CONVOLUTIONS
from keras_resnet.models.resnet import build
from tests.helpers.backends import BACKENDS, computed, in_shards, of_backend
from tests.helpers.cut import cut
from tests.helpers.reference import called, images

pytestmark = [pytest.mark.slow, pytest.mark.multiprocess]
# Each takes a minute or more.
JAX, TORCH = (in_shards(name, "networks_on_backends") for name in ("jax", "torch"))

# Of the largest logit where that is above 1. Asked is 1e-4; float32 does better.
TOLERANCE = 1e-5
# Cut to two blocks a stage. Every row, whole, agreed on the three backends before this was
# cut for CI's time: JAX compiles for minutes. The least that shows each part:
LAYOUTS = (
    "resnet18",
    "resnet50_caffe",
    "resnet101_caffe",
    "resnet18_v2",
    "resnetv2_18",
    "resnet50_v2_keras",
    "plain18",
    "resnet18d",
    "seresnet50",
    "resnext50_32x4d",
    "darknet53",
    "darknet53_timm",
    "drn_d_22",
    "drn_a_50",
    "resnet20",
    "highway19",
    "resnet110_bn_after_addition",
    "resnet110_relu_before_addition",
    "resnet110_relu_only_preactivation",
    "resnet110_constant_scaling",
    "resnet110_exclusive_gating",
    "resnet110_shortcut_gating",
    "resnet110_conv_shortcut",
    "resnet110_dropout_shortcut",
    "resnet110_stochastic_depth",
)
# TensorFlow on a CPU convolves with the channels first under XLA alone, whose compiling
# takes most of the time. highway19 would be wrong there: Keras 3.15's `ops.add` adds a
# bias to the columns where there are as many as filters, here 32.
COMPILED = ("resnet18", "resnetv2_18", "resnet18d", "resnet20")
HALF_PRECISION = (
    "resnet18",
    "resnet18_v2",
    "resnetv2_18",
    "seresnet50",
    "highway19",
    "resnet110_exclusive_gating",
    "resnet110_shortcut_gating",
)
# JAX compiles each new shape of each operation, which takes most of these tests' time.
# What is ours of a part, of a layout and of a precision is the same on all backends:
# there, the rest of these is exhaustive.
ON_JAX = (
    *COMPILED,
    "resnext50_32x4d",
    "drn_a_50",
    "darknet53",
    "resnet110_exclusive_gating",
    "resnet110_shortcut_gating",
    "resnet110_dropout_shortcut",
)
LAST = {"tensorflow": LAYOUTS, "jax": ON_JAX, "torch": LAYOUTS}
FIRST = {"tensorflow": COMPILED, "jax": COMPILED, "torch": LAYOUTS}
HALF = {name: HALF_PRECISION for name in BACKENDS} | {"jax": HALF_PRECISION[-2:]}


def size_of(name):
    """Of the images: small, for time."""
    return 64 if ARCHITECTURES[name].dataset == "imagenet" else 32


def fill(model, spec):
    """Gives a model weights that depend on their names alone, and keep its signal.

    Kernels keep the variance behind a ReLU; statistics, scales and biases scatter around
    what they begin with. What ends a residual is small, or else the variance would
    double with every block; unless the merge halves the shortcut.
    """
    end = {Scaling: 1.7, ShortcutDropout: 0.85}.get(type(spec.merge), 0.1)
    names = {layer.name for layer in model.layers}
    values = []
    for variable, value in zip(model.weights, model.get_weights(), strict=True):
        layer, kind = variable.path.split("/")[-2:]
        random = np.random.default_rng(zlib.crc32(f"{layer}/{kind}".encode()))
        noise = random.standard_normal(value.shape, "float32")
        if kind == "kernel":
            value = noise * np.sqrt(2 / np.prod(value.shape[:-1]), dtype="float32")
        elif "seed_generator" not in variable.path:
            value = value + np.clip(noise, -4, 4) / 10
        if match := re.fullmatch(r"(stage(\d+)_block\d+)_(\d)_(conv|bn)", layer):
            block = spec.stages[int(match[2]) - 1].block
            ends = block != "conv" and int(match[3]) == CONVOLUTIONS[block]
            normed = f"{match[1]}_{match[3]}_bn" in names
            if ends and spec.order != "plain":
                if kind == ("gamma" if normed else "kernel"):
                    value = value * end
        values.append(value)
    model.set_weights(values)
    return model


# --- In processes of their own ----------------------------------------------------


def filled(name, **changes):
    """A network, cut, with its weights, and two images in Keras's data format."""
    spec = replace(cut(ARCHITECTURES[name]), **changes)
    x = images(2, size_of(name), size_of(name), 3)
    if keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, -1, 1)
    return fill(build(spec, input_shape=x.shape[1:], name=name), spec), x


def parts(spec):
    """What a network is made of, whatever its depth and width."""
    return (
        spec.stem,
        spec.order,
        spec.shortcut,
        type(spec.merge),
        spec.groups > 1,
        bool(spec.squeeze_excitation),
        bool(spec.stochastic_depth),
        spec.dataset,
        frozenset((s.block, s.dilation > 1) for s in spec.stages),
    )


# Of those made of the same parts, the first.
ROWS = {parts(spec): name for name, spec in reversed(ARCHITECTURES.items())}


OTHERS = tuple(name for name in ROWS.values() if name not in LAYOUTS)


def write_logits(path):
    """Writes logits with the channels last and first, and in mixed precision."""
    backend = keras.backend.backend()
    logits = layouts("channels_last", LAST[backend]) | layouts(
        "channels_first", FIRST[backend], compiled=backend == "tensorflow"
    )
    np.savez(path, **logits, **halves(HALF[backend]))


def write_others(path):
    """Writes those of a network of each other combination, and what JAX left out."""
    logits = {name: called(*filled(name)) for name in OTHERS}
    if keras.backend.backend() != "torch":
        logits |= layouts("channels_last", LAYOUTS)
    if keras.backend.backend() == "jax":
        logits |= layouts("channels_first", set(LAYOUTS) - set(FIRST["jax"]))
        logits |= halves(name for name in HALF_PRECISION if name not in HALF["jax"])
    np.savez(path, **logits)


def layouts(layout, names, compiled=False):
    """The logits in a data format, and those of stochastic depth."""
    logits = {}
    keras.config.set_image_data_format(layout)
    for name in names:
        model, x = filled(name)
        if compiled:
            model.compile(jit_compile=True)
            logits[f"{layout}/{name}"] = model.predict(x, verbose=0)
        else:
            logits[f"{layout}/{name}"] = called(model, x)
    if keras.backend.backend() != "tensorflow":
        # The same images are left out in both, and the same statistics seen.
        keras.utils.set_random_seed(2)
        model, x = filled("wide_resnet16_4", stochastic_depth=0.9)
        logits[f"{layout}/training"] = called(model, x, training=True)
        logits[f"{layout}/inference"] = called(model, x)
    keras.config.set_image_data_format("channels_last")
    return logits


def halves(names):
    """The logits in mixed precision."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    logits = {f"mixed_bfloat16/{name}": called(*filled(name)) for name in names}
    keras.config.set_dtype_policy("float32")
    return logits


def computing(function):
    """A fixture of what `computed` returns."""

    @pytest.fixture(scope="module", name=function)
    def fixture(tmp_path_factory):
        return computed(__name__, function, tmp_path_factory.mktemp(function))

    return fixture


of_layouts = computing("write_logits")
of_others = computing("write_others")


# --- The tests --------------------------------------------------------------------


def difference(ours, others):
    """The greatest difference of logits, as a part of the greatest above 1."""
    return float(np.abs(ours - others).max() / max(1, np.abs(ours).max()))


def check_logits(ours, others):
    differences = {name: difference(ours[name], others[name]) for name in ours}
    assert {n: d for n, d in differences.items() if not d < TOLERANCE} == {}
    # The two images are told apart, or else the agreement would be one of biases.
    apart = {name: difference(*logits) for name, logits in ours.items()}
    assert {n: d for n, d in apart.items() if not d > 10 * TOLERANCE} == {}


def of_layout(results, layout):
    """The logits by network."""
    return {
        name.removeprefix(f"{layout}/"): logits
        for name, logits in results.items()
        if name.startswith(f"{layout}/")
    }


def test_each_part_is_in_a_network():
    def each_part(names):
        rows = [parts(ARCHITECTURES[name]) for name in names]
        single = {part for row in rows for part in enumerate(row[:-1])}
        return single | {block for row in rows for block in row[-1]}

    assert each_part(LAYOUTS) == each_part(ARCHITECTURES)


@pytest.mark.parametrize("backend", [JAX, TORCH])
def test_each_part_agrees(write_logits, backend):
    ours, others = (
        of_layout(of_backend(write_logits, name), "channels_last")
        for name in ("tensorflow", backend)
    )
    assert set(ours) == set(LAYOUTS)
    check_logits({name: ours[name] for name in LAST[backend]}, others)


@pytest.mark.exhaustive
@pytest.mark.xdist_group("networks_on_backends")
def test_each_part_agrees_on_jax(write_others):
    ours, others = (
        of_layout(of_backend(write_others, name), "channels_last")
        for name in ("tensorflow", "jax")
    )
    assert set(LAYOUTS) == set(ours) <= set(others)
    check_logits(ours, others)


@pytest.mark.exhaustive
@pytest.mark.xdist_group("networks_on_backends")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_kind_agrees(write_others, backend):
    ours = {name: write_others["tensorflow"][name] for name in OTHERS}
    check_logits(ours, of_backend(write_others, backend))


def check_layouts(results, names):
    last, first = (of_layout(results, f"channels_{end}") for end in ("last", "first"))
    assert set(names) <= set(first)
    differences = {
        name: difference(last[name], first[name])
        for name in first
        if name != "training"
    }
    assert {n: d for n, d in differences.items() if not d < TOLERANCE} == {}


@pytest.mark.parametrize("backend", ["tensorflow", JAX, TORCH])
def test_channels_first_is_channels_last(write_logits, backend):
    check_layouts(of_backend(write_logits, backend), FIRST[backend])


@pytest.mark.exhaustive
@pytest.mark.xdist_group("networks_on_backends")
def test_channels_first_is_channels_last_on_jax(write_others):
    results = of_backend(write_others, "jax")
    check_layouts(results, set(LAYOUTS) - set(COMPILED))


@pytest.mark.parametrize("backend", [JAX, TORCH])
def test_stochastic_depth_leaves_out_whole_images_in_both(write_logits, backend):
    results = of_backend(write_logits, backend)
    last, first = (results[f"channels_{end}/training"] for end in ("last", "first"))
    # A batch's own statistics magnify what is lost to rounding.
    assert difference(last, first) < 1e-3
    assert difference(last, results["channels_last/inference"]) > 0.1


def check_half(full, half):
    assert full.dtype == half.dtype == "float32"
    # bfloat16 has 8 bits: it is used, and what it loses stays small.
    assert 1e-4 < difference(full, half) < 0.1


@pytest.mark.parametrize("backend", ["tensorflow", JAX, TORCH])
def test_mixed_precision_keeps_the_logits_in_float32(write_logits, backend):
    results = of_backend(write_logits, backend)
    for name in HALF[backend]:
        half = results[f"mixed_bfloat16/{name}"]
        check_half(results[f"channels_last/{name}"], half)


@pytest.mark.exhaustive
@pytest.mark.xdist_group("networks_on_backends")
def test_mixed_precision_on_jax(write_others):
    results = of_backend(write_others, "jax")
    for name in set(HALF_PRECISION) - set(HALF["jax"]):
        half = results[f"mixed_bfloat16/{name}"]
        check_half(results[f"channels_last/{name}"], half)
