"""Checkpoints are whole or absent, and bring everything back."""

import errno
import json
import os
import signal
import zlib

import keras
import numpy as np
import pytest

from keras_resnet.training import checkpoint, checkpoint_files
from keras_resnet.training.callbacks import Steps, steps_done
from keras_resnet.training.checkpoint_files import STATE, checkpoints, updates_done
from keras_resnet.training.optimizers import CoupledSGD
from keras_resnet.training.saving import Checkpoint
from tests.helpers.file_systems import bucket, unflushed  # noqa: F401


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
    assert [path.name for path in checkpoints(tmp_path)] == [
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
    (tmp_path / "step_00000001" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="None of the checkpoints"):
        checkpoint.restore(tmp_path, compiled_model(), {})
    assert {path.name for path in tmp_path.iterdir()} == {
        "damaged_step_00000001",
        "damaged_step_00000002",
    }


@pytest.mark.parametrize("error", [NotImplementedError, zlib.error, MemoryError])
def test_whatever_numpy_raises_of_damage(tmp_path, monkeypatch, error):
    model = compiled_model()
    for _ in range(2):
        train(model, 1)
        save(tmp_path, model, {})
    load = np.load

    def load_the_first(path):
        if "step_00000002" in str(path):
            raise error("of the file")
        return load(path)

    monkeypatch.setattr(np, "load", load_the_first)
    if error is MemoryError:  # It may be whole.
        with pytest.raises(MemoryError):
            checkpoint.restore(tmp_path, compiled_model(), {})
        assert updates_done(tmp_path) == 2
    else:
        assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 1


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
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EFBIG, r"Lift the limit of a file's size \(`ulimit -f`\)"),
        (errno.EACCES, "See that you may write there"),
    ],
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
    usual = {"SIGINT": signal.default_int_handler}  # A shell's `&` has it ignored.
    found = signal.signal(number, usual.get(name, signal.SIG_DFL))
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
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000003"]
    assert signal.getsignal(number) is before
    signal.signal(number, found)
    if error is SystemExit:
        assert caught.value.code == 143


def test_the_newest_is_known_by_its_number(tmp_path):
    # As text, step_100000000 comes before step_99999998.
    for name in ("step_99999998", "step_100000000", "step_00000009", "step_of_others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).touch()
    found = [path.name for path in checkpoints(tmp_path)]
    assert found == ["step_00000009", "step_99999998", "step_100000000"]
    assert updates_done(tmp_path) == 100_000_000
    model = compiled_model()
    train(model, 1)
    checkpoint.save(tmp_path, model, {}, 100_000_001)
    found = [path.name for path in checkpoints(tmp_path)]
    assert found == ["step_100000000", "step_100000001"]
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 100_000_001


def test_a_bucket_keeps_the_last_two_and_sets_a_damaged_one_aside(tmp_path, bucket):  # noqa: F811
    model = compiled_model()
    for _ in range(3):
        train(model, 1)
        save(tmp_path, model, {})
    assert [path.name for path in checkpoints(tmp_path)] == [
        "step_00000002",
        "step_00000003",
    ]
    (tmp_path / "step_00000003" / "variables.npz").write_bytes(b"half")
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 2
    assert updates_done(tmp_path) == 2  # The damaged one counts no more.
    train(model, 1)
    save(tmp_path, model, {})
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 4


def test_a_system_that_keeps_nothing_by_itself_is_saved_to(tmp_path, unflushed):  # noqa: F811
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {})
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 1


def test_what_a_kill_leaves_is_no_checkpoint_and_is_removed(tmp_path):
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {})
    half = tmp_path / "step_00000002"
    half.mkdir()
    (half / "variables.npz").write_bytes(b"half")
    (tmp_path / "writing_step_00000003_x").mkdir()  # Of an earlier version.
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 1
    assert half.exists()  # Another process may read; one alone writes.
    train(model, 2)
    save(tmp_path, model, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step_00000001",
        "step_00000003",
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_one_of_the_same_update_is_replaced_whole_or_not(tmp_path, monkeypatch, times):
    # An optimizer that scales losses leaves updates out, and counts fewer than epochs.
    model, other, counter = compiled_model(), compiled_model(), Counter()
    for count in range(times):
        train(model, 1)
        checkpoint.save(tmp_path, model, {"counter": Counter(count).state()}, 7)
    good = model.get_weights()
    train(model, 1)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint_files, "write_states", killed)
        checkpoint.save(tmp_path, model, {"counter": Counter(9).state()}, 7)
    assert checkpoint.restore(tmp_path, other, {"counter": counter})[0] == 7
    assert counter.count == times - 1
    np.testing.assert_array_equal(other.get_weights()[0], good[0])

    checkpoint.save(tmp_path, model, {"counter": Counter(9).state()}, 7)
    other = compiled_model()
    checkpoint.restore(tmp_path, other, {"counter": counter})
    assert counter.count == 9
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    assert len(list((tmp_path / "step_00000007").iterdir())) == 2


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    model = compiled_model()
    train(model, 1)
    save(tmp_path, model, {"counter": Counter(5).state()})
    state = tmp_path / "step_00000001" / STATE
    said = json.loads(state.read_text())
    del said["variables"]
    state.write_text(json.dumps(said))
    counter = Counter()
    assert checkpoint.restore(tmp_path, compiled_model(), {"counter": counter})[0] == 1
    assert counter.count == 5


@pytest.mark.slow
def test_an_old_one_that_cant_be_removed_ends_nothing(tmp_path, monkeypatch):
    def refuse(path, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError(13, "Another program has opened it")

    model = compiled_model()
    monkeypatch.setattr(checkpoint_files.shutil, "rmtree", refuse)
    for _ in range(3):
        train(model, 1)
        save(tmp_path, model, {})
    assert checkpoint.restore(tmp_path, compiled_model(), {})[0] == 3
