"""Checkpoints are whole or absent, and bring everything back."""

import errno

import keras
import numpy as np
import pytest

from keras_resnet.training import checkpoint
from keras_resnet.training.callbacks import steps_done
from keras_resnet.training.optimizers import CoupledSGD


class Counter(keras.callbacks.Callback):
    """A callback whose state is a number."""

    def __init__(self, count=0):
        super().__init__()
        self.count = count

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]


def compiled_model():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(16), keras.layers.BatchNormalization()]
    )
    model.compile(CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=1e-3), "mse")
    return model


def train(model, steps):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        x = rng.normal(size=(4, 3)).astype("float32")
        model.train_on_batch(x, np.ones((4, 16), "float32"))


def test_everything_comes_back(tmp_path):
    model = compiled_model()
    train(model, 3)
    checkpoint.save(tmp_path, model, {"counter": Counter(5).state()})

    other, counter = compiled_model(), Counter()
    assert checkpoint.restore(tmp_path, other, {"counter": counter}) == 3
    assert counter.count == 5
    for restored, saved in zip(
        other.weights + other.optimizer.variables,
        model.weights + model.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(restored.numpy(), saved.numpy())
    train(model, 2)
    train(other, 2)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


def test_no_checkpoint_means_the_beginning(tmp_path):
    assert checkpoint.restore(tmp_path, compiled_model(), {}) == 0


def test_the_last_two_are_kept(tmp_path):
    model = compiled_model()
    for _ in range(4):
        train(model, 1)
        checkpoint.save(tmp_path, model, {})
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "step_00000003",
        "step_00000004",
    ]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    model = compiled_model()
    for _ in range(2):
        train(model, 1)
        checkpoint.save(tmp_path, model, {})
    weights = tmp_path / "step_00000002" / "state.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    other = compiled_model()
    assert checkpoint.restore(tmp_path, other, {}) == 1
    (tmp_path / "step_00000001" / "state.json").unlink()
    with pytest.raises(ValueError, match="None of the checkpoints"):
        checkpoint.restore(tmp_path, compiled_model(), {})


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    model = compiled_model()
    train(model, 1)
    checkpoint.save(tmp_path, model, {})
    train(model, 1)

    def no_space(path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(model, "save_weights", no_space)
    with pytest.raises(OSError, match="Free some space and run the same command"):
        checkpoint.save(tmp_path, model, {})
    other = compiled_model()
    assert checkpoint.restore(tmp_path, other, {}) == 1
    assert steps_done(other.optimizer) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_another_precisions_checkpoint_is_refused(tmp_path):
    model = compiled_model()
    train(model, 2)
    checkpoint.save(tmp_path, model, {})
    scaled = compiled_model()
    scaled.compile(
        keras.optimizers.LossScaleOptimizer(CoupledSGD(0.1, momentum=0.9)), "mse"
    )
    with pytest.raises(ValueError, match="saved under the precision"):
        checkpoint.restore(tmp_path, scaled, {})
