"""`Resume` in scripts that know nothing else of this package."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_resnet.callbacks import AverageWeights, Resume
from tests.helpers.tiny_model import batches, tiny_model


def run(backend, folder, killed_in=""):
    """The stranger's script: how it ended, and what it printed last."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.stranger", str(folder)],
        env=os.environ | {"KERAS_BACKEND": backend, "KILLED_IN": killed_in},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout.strip().split("\n")[-1]


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("tensorflow", marks=pytest.mark.slow),
        *(pytest.param(b, marks=pytest.mark.exhaustive) for b in ("jax", "torch")),
    ],
)
def test_a_killed_script_goes_on_with_the_same_bits(tmp_path, backend):
    pytest.importorskip(backend)
    ended, whole = run(backend, tmp_path / "whole")
    assert ended == 0
    assert whole.startswith("[4, 8, 12, 16] [0, 1, 2, 3] ")
    assert run(backend, tmp_path / "cut", "2")[0] == -signal.SIGKILL
    assert run(backend, tmp_path / "cut") == (0, whole)


def fit(folder, epochs, callbacks=(), shuffle=False, x=None, resume=None):
    keras.utils.set_random_seed(0)
    model = tiny_model()
    resume = resume or Resume(folder)
    data = batches(2) if x is None else (x,)
    history = model.fit(
        *data,
        batch_size=4,
        epochs=epochs,
        shuffle=shuffle,
        verbose=0,
        callbacks=[resume, *callbacks],
    )
    return model, history


def same(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"), 3)[0]


@pytest.mark.slow
def test_a_finished_training_trains_no_more_and_with_more_epochs_goes_on(
    tmp_path, whole
):
    fit(str(tmp_path), 2)
    model, history = fit(tmp_path, 2)
    assert history.epoch == [0, 1]
    assert not same(model, whole)
    model, history = fit(tmp_path, 3)
    assert same(model, whole)
    assert history.epoch == [0, 1, 2]
    assert len(history.history["loss"]) == 3
    # The next `fit`, without it, begins at its own beginning.
    assert model.fit(*batches(1), verbose=0).epoch == [0]


@pytest.mark.slow
def test_averages_are_kept_and_not_trained_on(tmp_path):
    def average():
        return AverageWeights(0.5)

    one, _ = fit(tmp_path / "one", 3, [average()])
    fit(tmp_path / "two", 2, [average()])
    two, _ = fit(tmp_path / "two", 3, [average()])
    assert same(one, two)
    again, _ = fit(tmp_path / "two", 3, [average()])
    assert same(one, again)


def test_a_damaged_checkpoint_is_named_and_set_aside(tmp_path, whole, capsys):
    fit(tmp_path, 2)
    (tmp_path / "step_00000004" / "variables.npz").write_bytes(b"PK\3\4 cut short")
    assert same(fit(tmp_path, 3)[0], whole)
    assert "step_00000004 can't be read" in capsys.readouterr().out
    assert (tmp_path / "damaged_step_00000004").exists()


def test_early_stopping_stays_stopped(tmp_path):
    def stopping():
        return keras.callbacks.EarlyStopping(
            "loss", patience=1, min_delta=9, restore_best_weights=True
        )

    model, history = fit(tmp_path, 9, [stopping()])
    assert history.epoch == [0, 1]
    again, history = fit(tmp_path, 9, [stopping()])
    assert history.epoch == [0, 1]
    assert same(model, again)  # The best ones, of the first epoch.


@pytest.mark.slow
def test_keras_own_plateau_goes_on_counting(tmp_path):
    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", patience=2, min_delta=9)

    def rate(folder, *parts):
        for epochs in parts:
            model, _ = fit(folder, epochs, [plateau()])
        return float(model.optimizer.learning_rate)

    assert rate(tmp_path / "one", 3) == pytest.approx(0.01)
    assert rate(tmp_path / "two", 2, 3) == pytest.approx(0.01)


@pytest.mark.slow
def test_another_order_of_the_batches_is_told(tmp_path):
    import tensorflow as tf

    fit(tmp_path, 1)
    with pytest.warns(UserWarning, match="order of the batches may be another"):
        fit(tmp_path, 2, shuffle=True)
    dataset = tf.data.Dataset.from_tensor_slices(batches(2)).batch(4)
    with pytest.warns(UserWarning, match="order of the batches may be another"):
        fit(tmp_path, 3, x=dataset)
    # Who asks for the epoch has a dataset that begins with it.
    resume = Resume(tmp_path)
    assert resume.epochs_done == 3
    fit(tmp_path, 4, x=dataset, resume=resume)
    assert Resume(tmp_path / "none").epochs_done == 0


def test_another_network_or_callback_is_refused(tmp_path):
    fit(tmp_path, 1)
    with pytest.raises(ValueError, match="state of resume, AverageWeights"):
        fit(tmp_path, 2, [AverageWeights(0.5)])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(17)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="saved of the network, the optimizer"):
        model.fit(*batches(1), callbacks=[Resume(tmp_path)], verbose=0)
    with pytest.raises(RuntimeError, match="one of the `callbacks`"):
        Resume(tmp_path).on_train_begin()


def test_a_file_in_the_folders_place_is_refused_at_once(tmp_path):
    file = tmp_path / "backup"
    file.touch()
    epochs = []
    counted = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: epochs.append(1))
    x, y = np.zeros((4, 3)), np.zeros((4, 2))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="backup, which is a file"):
        model.fit(x, y, verbose=0, callbacks=[Resume(file), counted])
    assert not epochs


def test_a_callback_with_another_kind_of_restore_is_left_alone(tmp_path):
    class Mine(keras.callbacks.Callback):
        def restore(self, weights):
            raise AssertionError("It is none of ours.")

    x, y = np.zeros((4, 3)), np.zeros((4, 2))
    for _ in range(2):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        resume = Resume(tmp_path / "backup")
        model.fit(x, y, shuffle=False, verbose=0, callbacks=[resume, Mine()])
        assert resume.epoch == 1
