"""Checkpoints are whole or absent, and bring everything back."""

import errno
import os
import signal

import keras
import numpy as np
import pytest

from keras_resnet.training import checkpoint
from keras_resnet.training.callbacks import Steps, steps_done
from keras_resnet.training.optimizers import CoupledSGD
from keras_resnet.training.saving import Checkpoint


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


def save(folder, model, states):
    checkpoint.save(folder, model, states, steps_done(model.optimizer))


def train(model, steps):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        x = rng.normal(size=(4, 3)).astype("float32")
        model.train_on_batch(x, np.ones((4, 16), "float32"))


def test_everything_comes_back(tmp_path):
    model = compiled_model()
    train(model, 3)
    checkpoint.save(
        tmp_path, model, {"counter": Counter(5).state()}, steps_done(model.optimizer)
    )

    other, counter = compiled_model(), Counter()
    done, metrics = checkpoint.restore(tmp_path, other, {"counter": counter})
    assert done == 3
    for restored, saved in zip(metrics, model.metrics_variables, strict=True):
        np.testing.assert_array_equal(restored, saved.numpy())
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
    assert checkpoint.restore(tmp_path, compiled_model(), {}) == (0, [])


def test_the_last_two_are_kept(tmp_path):
    model = compiled_model()
    for _ in range(4):
        train(model, 1)
        save(tmp_path, model, {})
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "step_00000003",
        "step_00000004",
    ]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    model = compiled_model()
    for _ in range(2):
        train(model, 1)
        save(tmp_path, model, {})
    weights = tmp_path / "step_00000002" / "variables.npz"
    weights.write_bytes(weights.read_bytes()[:1000])
    other = compiled_model()
    assert checkpoint.restore(tmp_path, other, {})[0] == 1
    (tmp_path / "step_00000001" / "state.json").unlink()
    with pytest.raises(ValueError, match="None of the checkpoints"):
        checkpoint.restore(tmp_path, compiled_model(), {})
    assert {path.name for path in tmp_path.iterdir()} == {
        "damaged_step_00000001",
        "damaged_step_00000002",
    }


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", '{"counter": {}}', '{"counter": []}']
)
def test_a_state_of_another_shape_is_named(tmp_path, text):
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {"counter": Counter(5).state()})
    state = tmp_path / "step_00000001" / "state.json"
    state.write_text(text)
    with pytest.raises(
        ValueError, match=r"step_00000001.state.json must hold the state of counter"
    ):
        checkpoint.restore(tmp_path, compiled_model(), {"counter": Counter()})
    assert state.exists()  # Another version may know it.


@pytest.mark.parametrize(
    ("code", "hint"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "See that you may write there")],
)
def test_a_disk_that_takes_no_more_loses_nothing(tmp_path, monkeypatch, code, hint):
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {})
    train(model, 1)

    def fail(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match=f"{hint} and run the same command"):
        save(tmp_path, model, {})
    other = compiled_model()
    assert checkpoint.restore(tmp_path, other, {})[0] == 1
    assert steps_done(other.optimizer) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_another_precisions_checkpoint_is_refused(tmp_path):
    model = compiled_model()
    train(model, 2)
    save(tmp_path, model, {})
    scaled = compiled_model()
    scaled.compile(
        keras.optimizers.LossScaleOptimizer(CoupledSGD(0.1, momentum=0.9)), "mse"
    )
    with pytest.raises(ValueError, match="the precision that training goes on with"):
        checkpoint.restore(tmp_path, scaled, {})


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {})
    train(model, 1)
    model.layers[0].bias.assign(np.full(16, np.nan))
    with pytest.raises(FloatingPointError, match="update 2. The last .*step_00000001"):
        save(tmp_path, model, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_arrays_and_random_generators_come_back(tmp_path):
    class Averages(Counter):
        def state(self):
            return {"count": self.count, "arrays": [np.arange(3.0), np.eye(2)]}

        def restore(self, state):
            self.arrays = state["arrays"]

    def noisy_model():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5, seed=1)])
        model.compile(CoupledSGD(0.1), "mse")
        return model

    model, other = noisy_model(), noisy_model()
    x = np.ones((4, 3), "float32")
    model.train_on_batch(x, x)
    checkpoint.save(
        tmp_path, model, {"averages": Averages().state()}, steps_done(model.optimizer)
    )
    callback = Averages()
    checkpoint.restore(tmp_path, other, {"averages": callback})
    np.testing.assert_array_equal(callback.arrays[1], np.eye(2))
    np.testing.assert_array_equal(model(x, training=True), other(x, training=True))


@pytest.mark.parametrize(
    ("name", "error"), [("SIGINT", KeyboardInterrupt), ("SIGTERM", SystemExit)]
)
def test_a_signal_saves_first(tmp_path, name, error):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    model = compiled_model()
    steps = Steps(9)
    callback = Checkpoint(tmp_path, {}, steps, lambda step: step == 9)
    interrupt = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: (
            batch == 2 and os.kill(os.getpid(), number)
        )
    )
    x, y = np.ones((36, 3), "float32"), np.ones((36, 16), "float32")
    with pytest.raises(error) as caught:
        model.fit(x, y, batch_size=4, callbacks=[steps, interrupt, callback], verbose=0)
    callback.release()
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step_00000003"]
    assert signal.getsignal(number) is before
    if error is SystemExit:
        assert caught.value.code == 143


def test_the_newest_is_known_by_its_number(tmp_path):
    # As text, step_100000000 comes before step_99999998.
    for name in ("step_99999998", "step_100000000", "step_00000009", "step_of_others"):
        (tmp_path / name).mkdir()
    found = [path.name for path in checkpoint.checkpoints(tmp_path)]
    assert found == ["step_00000009", "step_99999998", "step_100000000"]
    assert checkpoint.updates_done(tmp_path) == 100_000_000
    model = compiled_model()
    train(model, 1)
    checkpoint.save(tmp_path, model, {}, 100_000_001)
    found = [path.name for path in checkpoint.checkpoints(tmp_path)]
    assert found == ["step_100000000", "step_100000001"]
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 100_000_001
