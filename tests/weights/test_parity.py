"""Logits equal to those of other implementations, with the same weights.

All numbers of a network are random, batch norm's statistics among them, and scaled so
that logits are O(1) (see `torch_references.randomize`); the images are photographs.
"""

import math
import re

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from keras_resnet.models.resnet import build
from keras_resnet.weights.load import load_weights
from keras_resnet.weights.to_torch import to_state_dict

pytestmark = pytest.mark.parity

# Of logits with a standard deviation of 3. Seen are 6e-6 (18 layers) to 5e-5 (200).
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def photographs(shared_data):
    """Two images as ImageNet's networks expect them, (2, 225, 225, 3)."""
    image = pytest.importorskip("PIL.Image")
    batch = []
    for path in sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[::100]:
        picture = image.open(path).convert("RGB")
        scale = 256 / min(picture.size)
        size = [round(side * scale) for side in picture.size]
        left, top = ((side - 225) // 2 for side in size)
        picture = picture.resize(size).crop((left, top, left + 225, top + 225))
        batch.append((np.asarray(picture) - IMAGENET_MEAN) / IMAGENET_STD)
    assert len(batch) == 2
    return np.stack(batch).astype("float32")


@pytest.fixture
def images(photographs):
    """As the networks were published for, (2, 224, 224, 3)."""
    return photographs[:, :224, :224]


@pytest.fixture
def details(photographs):
    """(2, 64, 64, 3), for networks that keep a high resolution, or for CIFAR."""
    return photographs[:, 80:144, 80:144]


@pytest.fixture(autouse=True)
def memory():
    """Gives back what Keras holds of a test's networks."""
    yield
    keras.backend.clear_session(free_memory=True)


def outputs(model, x):
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(x, training=False)))


@pytest.fixture
def check_logits(record_property):
    """The check that logits are equal; the difference goes into the JUnit report."""

    def check(model, x, expected):
        # The network tells the images apart, and its logits are as large as it says.
        assert 1 < np.abs(expected).mean() < 10
        assert expected.std(axis=0).mean() > 0.1
        found = outputs(model, x)
        record_property("largest_difference", float(np.abs(found - expected).max()))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)

    return check


@pytest.fixture
def check_torch(references, torch, check_logits):
    """The check of a network of ours against one in PyTorch, with its weights."""

    def check(ours, reference, x, **options):
        images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        expected = references.randomize(reference, images)
        model = applications.create(
            ours, weights=reference.state_dict(), input_shape=x.shape[1:], **options
        )
        check_logits(model, x, expected)

    return check


def exhaustive(*values):
    """One more row of a kind that others have, here or in `test_there_and_back`."""
    return pytest.param(*values, marks=pytest.mark.exhaustive)


# --- torchvision ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("resnet18", "resnet18"),
        exhaustive("resnet34", "resnet34"),
        ("resnet50_v1_5", "resnet50"),
        exhaustive("resnet101_v1_5", "resnet101"),
        exhaustive("resnet152_v1_5", "resnet152"),
        ("resnext50_32x4d", "resnext50_32x4d"),
        exhaustive("resnext101_32x8d", "resnext101_32x8d"),
        exhaustive("resnext101_64x4d", "resnext101_64x4d"),
        exhaustive("wide_resnet50_2", "wide_resnet50_2"),
        exhaustive("wide_resnet101_2", "wide_resnet101_2"),
    ],
)
def test_torchvision(torchvision, check_torch, images, ours, theirs):
    check_torch(ours, getattr(torchvision.models, theirs)(weights=None), images)


@pytest.mark.parametrize(
    ("output_stride", "dilated"),
    [exhaustive(16, (False, False, True)), (8, (False, True, True))],
)
def test_torchvision_dilated(torchvision, check_torch, images, output_stride, dilated):
    reference = torchvision.models.resnet50(
        weights=None, replace_stride_with_dilation=dilated
    )
    check_torch("resnet50_v1_5", reference, images, output_stride=output_stride)


# --- timm -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        exhaustive("resnet18", "resnet18"),
        exhaustive("resnet34", "resnet34"),
        exhaustive("resnet50_v1_5", "resnet50"),
        exhaustive("resnet101_v1_5", "resnet101"),
        exhaustive("resnet152_v1_5", "resnet152"),
        exhaustive("resnet50b", "resnet50"),
        ("resnet50c", "resnet50c"),
        exhaustive("resnet101c", "resnet101c"),
        exhaustive("resnet152c", "resnet152c"),
        ("resnet18d", "resnet18d"),
        exhaustive("resnet34d", "resnet34d"),
        exhaustive("resnet50d", "resnet50d"),
        exhaustive("resnet101d", "resnet101d"),
        exhaustive("resnet152d", "resnet152d"),
        exhaustive("resnet200d", "resnet200d"),
        exhaustive("resnext50_32x4d", "resnext50_32x4d"),
        exhaustive("resnext101_32x4d", "resnext101_32x4d"),
        exhaustive("resnext101_32x8d", "resnext101_32x8d"),
        exhaustive("resnext101_64x4d", "resnext101_64x4d"),
        exhaustive("wide_resnet50_2", "wide_resnet50_2"),
        exhaustive("wide_resnet101_2", "wide_resnet101_2"),
        exhaustive("seresnet50", "seresnet50"),
        exhaustive("seresnet101", "seresnet101"),
        exhaustive("seresnet152", "seresnet152"),
        exhaustive("seresnext50_32x4d", "seresnext50_32x4d"),
        exhaustive("seresnext101_32x4d", "seresnext101_32x4d"),
        exhaustive("resnetv2_18", "resnetv2_18"),
        exhaustive("resnetv2_34", "resnetv2_34"),
        ("resnetv2_50", "resnetv2_50"),
        exhaustive("resnetv2_101", "resnetv2_101"),
        exhaustive("resnetv2_152", "resnetv2_152"),
    ],
)
def test_timm(timm, check_torch, images, ours, theirs):
    check_torch(ours, timm.create_model(theirs), images)


def test_timm_darknet(timm, check_torch, images):
    check_torch("darknet53_timm", timm.create_model("darknet53"), images)


def test_timm_on_an_odd_side(timm, check_torch, photographs):
    """Where average pooling meets a border: 225 -> 113 -> 57 -> 29 -> 15 -> 8."""
    check_torch("resnet50d", timm.create_model("resnet50d"), photographs)


@pytest.mark.parametrize(
    ("network", "output_stride"), [("resnetv2_18", 8), exhaustive("resnet18d", 16)]
)
def test_timm_dilated(timm, check_torch, details, network, output_stride):
    reference = timm.create_model(network, output_stride=output_stride)
    check_torch(network, reference, details, output_stride=output_stride)


@pytest.mark.parametrize(
    ("network", "first", "channels"),
    [
        ("resnet18", "conv1", 1),
        ("resnet18d", "conv1.0", 4),
        exhaustive("resnet18", "conv1", 4),
        exhaustive("resnet18d", "conv1.0", 1),
    ],
)
def test_timm_of_other_channels(
    timm, torch, references, check_logits, images, network, first, channels
):
    """Weights for RGB, adapted as timm adapts them."""
    grey = images.mean(axis=-1, keepdims=True)
    x = grey if channels == 1 else np.concatenate([images, grey], axis=-1)
    source = timm.create_model(network)
    rgb = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    references.randomize(source, rgb)
    state = source.state_dict()

    adapt = timm.models._manipulate.adapt_input_conv
    kernel = adapt(channels, state[f"{first}.weight"])
    reference = timm.create_model(network, in_chans=channels).eval()
    reference.load_state_dict(state | {f"{first}.weight": kernel})
    with torch.no_grad():
        expected = reference(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    model = applications.create(network, weights=state, input_shape=x.shape[1:])
    check_logits(model, x, expected)


# --- Repositories without a package -----------------------------------------------


def test_akamaster(references, check_torch, details):
    x = details[:, :32, :32]
    check_torch("resnet20", references.Akamaster(3), x)


def test_wide_resnet(references, check_torch, details):
    x = details[:, :32, :32]
    check_torch("wide_resnet16_4", references.WideResNet(2, 4), x)


@pytest.mark.parametrize(
    ("ours", "arch", "block", "repeats", "options"),
    [
        ("drn_c_26", "C", "BasicBlock", (2, 2, 2, 2), {}),
        exhaustive("drn_c_58", "C", "Bottleneck", (3, 4, 6, 3), {}),
        exhaustive("drn_d_22", "D", "BasicBlock", (2, 2, 2, 2), {}),
        ("drn_d_24", "D", "BasicBlock", (2, 2, 2, 2), {"ends": 2}),
    ],
)
def test_drn(references, check_torch, details, ours, arch, block, repeats, options):
    reference = references.DRN(arch, getattr(references, block), repeats, **options)
    check_torch(ours, reference, details)


@pytest.mark.parametrize(
    ("ours", "block", "repeats"),
    [
        ("drn_a_18", "BasicBlock", (2, 2, 2, 2)),
        exhaustive("drn_a_50", "Bottleneck", (3, 4, 6, 3)),
    ],
)
def test_drn_a(references, check_torch, details, ours, block, repeats):
    reference = references.DRNA(getattr(references, block), repeats)
    check_torch(ours, reference, details)


# --- Keras ------------------------------------------------------------------------


def randomize(model, x, ends):
    """As `torch_references.randomize`; ``ends`` matches what ends a residual block."""
    rng = np.random.default_rng(0)
    norms = [n for n in model.layers if isinstance(n, keras.layers.BatchNormalization)]
    for layer in model.layers:
        values = layer.get_weights()
        if layer in norms:
            layer.momentum = 0.0  # The statistics are those of the batch.
            values[0] = rng.uniform(0.5, 1.5, values[0].shape)
            values[1] = rng.normal(0, 0.2, values[1].shape)
        elif values:
            deviation = math.sqrt(2 / math.prod(values[0].shape[:-1]))
            values[0] = rng.normal(0, deviation, values[0].shape)
            values[1:] = [rng.normal(0, 0.5, v.shape) for v in values[1:]]
        if re.search(ends, layer.name):
            values[0] = values[0] * rng.uniform(0.1, 0.5, values[0].shape[-1])
        layer.set_weights(values)
    logits = keras.ops.convert_to_numpy(model(x, training=True))
    for layer in norms:
        gamma, beta, mean, variance = layer.get_weights()
        mean += 0.2 * rng.normal(size=mean.shape) * np.sqrt(variance)
        variance *= rng.uniform(0.7, 1.5, variance.shape)
        layer.set_weights([gamma, beta, mean, variance])
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * 3 / logits.std(), bias])
    return outputs(model, x)


def state_of(model):
    return {
        "/".join(variable.path.split("/")[-2:]): value
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        exhaustive("resnet50", "ResNet50"),
        exhaustive("resnet101", "ResNet101"),
        exhaustive("resnet152", "ResNet152"),
        ("resnet50_v2_keras", "ResNet50V2"),
        exhaustive("resnet101_v2_keras", "ResNet101V2"),
        exhaustive("resnet152_v2_keras", "ResNet152V2"),
    ],
)
def test_keras_applications(check_logits, images, ours, theirs):
    constructor = getattr(keras.applications, theirs)
    reference = constructor(weights=None, classifier_activation=None)
    ends = r"block\d+_3_conv" if theirs.endswith("V2") else r"block\d+_3_bn"
    expected = randomize(reference, images, ends)
    model = applications.create(ours, weights=state_of(reference))
    check_logits(model, images, expected)


@pytest.mark.parametrize(
    ("ours", "block", "repeats", "v2", "stem"),
    [
        ("resnet18", "basic_block", (2, 2, 2, 2), False, [(64, 7)]),
        exhaustive("resnet50_v1_5", "bottleneck_block", (3, 4, 6, 3), False, [(64, 7)]),
        exhaustive("resnetv2_50", "bottleneck_block", (3, 4, 6, 3), True, [(64, 7)]),
        ("resnet50d", "bottleneck_block_vd", (3, 4, 6, 3), False,
         [(32, 3), (32, 3), (64, 3)]),
    ],
    ids=["v1_18", "v1_50", "v2_50", "vd_50"],
)  # fmt: skip
def test_kerashub(keras_hub, check_logits, images, ours, block, repeats, v2, stem):
    """Its `ResNetBackbone` with the classifier of `ResNetImageClassifier`."""
    filters, kernel_sizes = zip(*stem, strict=True)
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=list(filters),
        input_conv_kernel_sizes=list(kernel_sizes),
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=list(repeats),
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block,
        use_pre_activation=v2,
        image_shape=(224, 224, 3),
    )
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    logits = keras.layers.Dense(1000, name="predictions")(x)
    reference = keras.Model(backbone.input, logits)
    last = 2 if block.startswith("basic") else 3
    expected = randomize(reference, images, rf"_{last}_{'conv' if v2 else 'bn'}$")
    model = applications.create(ours, weights=state_of(reference))
    check_logits(model, images, expected)


# --- And back ---------------------------------------------------------------------


def round_trip(name, form, reference, torch):
    """Ours with random weights -> theirs, with ``strict=True`` -> ours, bit for bit."""
    spec = ARCHITECTURES[name]
    model, again = build(spec, name=name), build(spec, name=name)
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in model.weights]
    model.set_weights(weights)
    state = to_state_dict(model, spec, form)
    reference.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    load_weights(again, reference.state_dict(), spec)
    for found, expected in zip(again.get_weights(), weights, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("resnet18", "resnet18"),
        exhaustive("resnet50_v1_5", "resnet50"),
        exhaustive("resnext50_32x4d", "resnext50_32x4d"),
        exhaustive("wide_resnet50_2", "wide_resnet50_2"),
    ],
)
def test_there_and_back_torchvision(torchvision, torch, ours, theirs):
    reference = getattr(torchvision.models, theirs)(weights=None)
    round_trip(ours, "torchvision", reference, torch)


@pytest.mark.parametrize(
    "network",
    [exhaustive(name) for name in ("resnet50c", "resnet50d", "darknet53_timm")]
    + ["seresnet50", "resnetv2_50"],
)
def test_there_and_back_timm(timm, torch, network):
    reference = timm.create_model(network.removesuffix("_timm"))
    round_trip(network, "timm", reference, torch)
