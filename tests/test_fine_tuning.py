"""Fine-tuning with plain Keras on real photographs of Imagenette."""

import io

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.to_torch import named_arrays
from tests.helpers.reference import with_random_weights

CLASSES, EACH, SIDE = 3, 16, 64


@pytest.fixture(scope="module")
def photographs(shared_data):
    """48 photographs, normalized as ImageNet's weights expect, and their labels."""
    image = pytest.importorskip("PIL.Image", reason="needs pillow: pip install pillow")
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [data]")
    from keras_resnet.data.sources import load

    train = load("imagenette", data_dir=shared_data / "tfds").train
    chosen = np.concatenate(
        [np.flatnonzero(train.labels == label)[:EACH] for label in range(CLASSES)]
    )
    pixels = [
        np.asarray(
            image.open(io.BytesIO(train.images[i])).convert("RGB").resize((SIDE, SIDE))
        )
        for i in chosen
    ]
    x = keras_resnet.preprocess_input(np.stack(pixels), "resnet18")
    return x, np.asarray(train.labels)[chosen]


def fit(model, photographs, *, epochs, eagerly=True):
    """Fits as a user does; returns the loss of each epoch.

    Without a graph unless told: tracing takes longer than a few updates.
    """
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=eagerly,
    )
    keras.utils.set_random_seed(0)
    x, y = photographs
    history = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0)
    return history.history["loss"]


@pytest.fixture(scope="module")
def few(photographs):
    """One batch of them: an update is enough to see what moves."""
    x, y = photographs
    return x[::3], y[::3]


def with_new_head(base):
    """``base``, pooled if it isn't, and a classifier for our classes."""
    features = base.output
    if isinstance(features, dict):
        features = keras.layers.GlobalAveragePooling2D()(features["stage4"])
    keras.utils.set_random_seed(1)
    return keras.Model(base.input, keras.layers.Dense(CLASSES, name="head")(features))


def snapshot(model):
    """Copies of all weights by path."""
    return {
        variable.path: value
        for variable, value in zip(model.weights, model.get_weights(), strict=True)
    }


def changed(before, after, ending):
    """Of the weights whose path ends so, those that are not the same to the bit."""
    paths = [path for path in before if path.endswith(ending)]
    assert paths
    return [path for path in paths if not np.array_equal(before[path], after[path])]


STATISTICS = ("moving_mean", "moving_variance")
SCALES = ("gamma", "beta")


@pytest.mark.exhaustive
def test_a_new_head_learns(photographs):
    keras.utils.set_random_seed(0)
    base = keras_resnet.create(
        "resnet18", include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    loss = fit(with_new_head(base), photographs, epochs=8, eagerly=False)
    # Knowing nothing of three classes is a loss of ln 3 = 1.10.
    assert loss[-1] < 0.7 < loss[0]


@pytest.mark.slow
def test_frozen_batch_norm_does_not_move(few):
    base = keras_resnet.backbone(
        "resnet18",
        features=["stage4"],
        frozen_batch_norm=True,
        input_shape=(SIDE, SIDE, 3),
    )
    before = snapshot(base)
    fit(with_new_head(base), few, epochs=1)
    after = snapshot(base)
    assert changed(before, after, STATISTICS + SCALES) == []
    assert len(changed(before, after, "kernel")) == 20


@pytest.mark.slow
def test_batch_norm_moves_unless_frozen(few):
    base = keras_resnet.backbone(
        "resnet18", features=["stage4"], input_shape=(SIDE, SIDE, 3)
    )
    before = snapshot(base)
    fit(with_new_head(base), few, epochs=1)
    after = snapshot(base)
    assert len(changed(before, after, STATISTICS)) == 2 * 20
    assert len(changed(before, after, SCALES)) == 2 * 20


@pytest.mark.slow
def test_of_a_frozen_base_only_the_head_learns(few):
    base = keras_resnet.create(
        "resnet18", include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3)
    )
    base.trainable = False
    model = with_new_head(base)
    before = snapshot(model)
    fit(model, few, epochs=1)
    after = snapshot(model)
    assert changed(before, after, "") == ["head/kernel", "head/bias"]


@pytest.mark.exhaustive
def test_four_channels_from_weights_for_three(photographs):
    x, y = photographs
    with_depth = np.concatenate([x, x.mean(axis=-1, keepdims=True)], axis=-1)
    rgb = with_random_weights(keras_resnet.create("resnet20"))
    base = keras_resnet.create(
        "resnet20",
        include_top=False,
        pooling="avg",
        input_shape=(SIDE, SIDE, 4),
        weights=named_arrays(rgb, ARCHITECTURES["resnet20"], FORMATS["torchvision"]),
    )
    kernel = base.get_layer("stem_conv").kernel
    assert kernel.shape == (3, 3, 4, 16)
    before = keras.ops.convert_to_numpy(kernel)
    loss = fit(with_new_head(base), (with_depth, y), epochs=4)
    assert loss[-1] < loss[0]
    moved = keras.ops.convert_to_numpy(kernel) != before
    assert moved.any(axis=(0, 1, 3)).all()  # In each of the channels.
