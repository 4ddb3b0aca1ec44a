"""`fit` ends in time on signals, at no loss, and goes on where it was."""

import itertools
import os
import signal
import time
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet.config.recipe import Recipe, WeightAverage
from keras_resnet.config.schedules import PlateauDecay
from keras_resnet.training import checkpoint, history, loggers, saving, snapshots
from keras_resnet.training.checkpoint_files import checkpoints, updates_done
from keras_resnet.training.fit import FitData, compile_model, fit
from keras_resnet.training.snapshots import (
    SNAPSHOTS,
    Snapshots,
    read_snapshot,
    snapshot_updates,
    snapshots_in,
)
from tests.helpers.file_systems import bucket  # noqa: F401

EPOCH, EPOCHS, SIZE = 3, 3, 8
RECIPE = Recipe(
    network="none",
    dataset="none",
    batch_size=SIZE,
    steps=EPOCH * EPOCHS,
    validate_every=EPOCH,
    # Each validation changes the rate, as none is 50 points better than the last.
    schedule=PlateauDecay(learning_rate=0.1, factor=0.5, patience=1, min_delta=50.0),
    augmentation=None,
    average=WeightAverage(decay=0.5, every=1),
    target=None,
    source="test",
)


class Sending(keras.callbacks.Callback):
    """Sends this process signals at a moment of training, and counts batches."""

    def __init__(self, event=None, at=0, numbers=()):
        super().__init__()
        self.event, self.at, self.numbers = event, at, numbers
        self.counts = {"train": 0, "test": 0}
        self.first = []

    def _count(self, event):
        self.first.append(event)
        self.counts[event] += 1
        if (event, self.counts[event]) == (self.event, self.at):
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def on_train_batch_begin(self, batch, logs=None):
        self._count("train")

    def on_test_batch_begin(self, batch, logs=None):
        self._count("test")


class Logged(loggers._RowLogger):
    """Another tool, to which a run is logged."""

    def begin(self):
        self.told = []
        return -1

    def log(self, step, values):
        self.told.append((step, values))

    def close(self):
        pass


def numbers(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def train(folder, sending=None, scale=1, loggers=(), snapshots=(), spoilt=None):
    """Trains from the last checkpoint on; the rows of the history, and the weights.

    The images of validation are multiplied by ``scale``; weights are kept after the
    updates ``snapshots``; images of the update ``spoilt`` have no number.
    """
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((3,)),
        keras.layers.Dense(2),
        keras.layers.BatchNormalization(),
    ]
    model = keras.Sequential(layers)
    compile_model(model, RECIPE, xla=False)
    model.run_eagerly = True  # Tracing takes longer.

    def batches(arrays):
        return tf.data.Dataset.from_tensor_slices(arrays).batch(SIZE)

    x, y = numbers(4 * SIZE, 1)
    images, labels = numbers(SIZE * RECIPE.steps, 0)
    if spoilt is not None:
        images[SIZE * spoilt - 1] = np.nan
    data = FitData(
        batches=lambda done: batches((images, labels)).skip(done),
        validation=batches((scale * x, y)),
        examples=SIZE * EPOCH,
    )
    sending = [sending] if sending else []
    options = {"before_saving": sending, "loggers": loggers, "verbose": 0}
    if snapshots:
        options["snapshots"] = Snapshots(model, folder / SNAPSHOTS, snapshots)
    _, rows = fit(model, RECIPE, data, folder, **options)
    assert rows == history.read_history(folder / "history.csv")
    for row in rows:
        assert row.pop("images_per_second") > 0
    return rows, model.get_weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(autouse=True)
def ctrl_c():
    """As in a terminal: what a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def assert_equal(one, other):
    assert one[0] == other[0]
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("epoch", [1, pytest.param(EPOCHS, marks=pytest.mark.slow)])
def test_a_validation_ends_at_a_signal_and_is_done_first(tmp_path, whole, epoch):
    # In the second of four batches.
    sending = Sending("test", 4 * (epoch - 1) + 2, [signal.SIGTERM])
    with pytest.raises(SystemExit) as left:
        train(tmp_path, sending)
    assert left.value.code == 128 + signal.SIGTERM
    assert sending.counts == {"train": EPOCH * epoch, "test": 4 * (epoch - 1) + 2}
    assert updates_done(tmp_path / "checkpoints") == EPOCH * epoch
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    again = Sending()
    assert_equal(train(tmp_path, again), whole)
    assert again.first[:4] == ["test"] * 4
    assert again.counts["train"] == EPOCH * (EPOCHS - epoch)
    # And once it is done, no more.
    last = Sending()
    assert_equal(train(tmp_path, last), whole)
    assert last.counts == {"train": 0, "test": 0}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows")
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # SLURM's early warning, and what follows.
        (("SIGUSR1", "SIGTERM"), 138),
        (("SIGTERM", "SIGTERM"), 143),
        # `timeout` and others pass on what the terminal has sent as well.
        (("SIGINT", "SIGINT"), None),
    ],
)
def test_other_signals_that_follow_cost_nothing(tmp_path, whole, sent, code):
    sending = Sending("train", 2, [getattr(signal, name) for name in sent])
    with pytest.raises((SystemExit, KeyboardInterrupt)) as left:
        train(tmp_path, sending)
    assert getattr(left.value, "code", None) == code
    assert updates_done(tmp_path / "checkpoints") == 2
    assert_equal(train(tmp_path), whole)


def test_a_second_ctrl_c_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "SAME_SIGNAL", -1.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Sending("train", 2, 2 * [signal.SIGINT]))
    assert updates_done(tmp_path / "checkpoints") == 0


def test_a_signal_where_all_is_saved_is_obeyed_at_once(tmp_path):
    class Long(Sending):
        def _count(self, event):
            super()._count(event)
            time.sleep(60)  # As if the first update were traced and compiled.

    began = time.monotonic()
    with pytest.raises(SystemExit):
        train(tmp_path, Long("train", 1, [signal.SIGTERM]))
    assert time.monotonic() - began < 30
    assert checkpoints(tmp_path / "checkpoints") == []


@pytest.mark.slow
def test_no_run_goes_on_from_where_its_validation_diverged(tmp_path, whole):
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("train", 5, [signal.SIGTERM]))
    good = "The last checkpoint, step_00000005, is good"
    for _ in range(2):  # The second goes on from there, too.
        with pytest.raises(FloatingPointError, match=f"nan after update 6 .*{good}"):
            train(tmp_path, scale=np.float32("nan"))
        assert updates_done(tmp_path / "checkpoints") == 5
        assert (tmp_path / "checkpoints/diverged_step_00000006").is_dir()
    assert_equal(train(tmp_path), whole)


def test_a_checkpoint_whose_validation_diverges_again_is_set_aside(tmp_path):
    # As versions left it that didn't.
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("test", 2, [signal.SIGTERM]))
    with pytest.raises(FloatingPointError, match="nan after update 3 .*None was saved"):
        train(tmp_path, scale=np.float32("nan"))
    assert checkpoints(tmp_path / "checkpoints") == []


@pytest.mark.parametrize(
    ("sent_at", "spoilt", "good", "aside"),
    [
        # Saved in the middle of an epoch: nothing has told that its weights are good.
        (5, 6, 3, ["diverged_step_00000005"]),
        # An epoch's end, which was validated.
        pytest.param(5, 7, 6, [], marks=pytest.mark.slow),
        pytest.param(2, 3, 0, ["diverged_step_00000002"], marks=pytest.mark.slow),
    ],
)
def test_no_run_goes_on_from_weights_whose_loss_in_training_is_nan(
    tmp_path, sent_at, spoilt, good, aside
):
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("train", sent_at, [signal.SIGTERM]))
    said = f"step_{good:08d}, is good" if good else "None was saved"
    for _ in range(2):  # The second goes on from there, too.
        with pytest.raises(FloatingPointError, match=f"after update {spoilt} .*{said}"):
            train(tmp_path, spoilt=spoilt)
        assert updates_done(tmp_path / "checkpoints") == good
        found = sorted(
            path.name for path in (tmp_path / "checkpoints").glob("diverged_*")
        )
        assert found == aside


def test_a_run_on_a_bucket_ends_with_the_same_bits(tmp_path, whole, bucket):  # noqa: F811
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("train", 5, [signal.SIGTERM]))
    assert_equal(train(tmp_path), whole)


@pytest.mark.slow
def test_a_history_that_cant_be_written_costs_nothing(tmp_path, whole, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Another program has opened it")

    # Its rows are those of the checkpoint, and other tools are told of them.
    logged = Logged(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(history.HistoryLog, "_write", refuse)
        with pytest.warns(UserWarning, match="history.csv can't be written .*goes on"):
            with pytest.raises(SystemExit):
                sending = Sending("train", 8, [signal.SIGTERM])
                train(tmp_path, sending, loggers=[logged])
    assert [step for step, _ in logged.told] == [3, 6]
    assert logged.told[1][1]["val_loss"] == whole[0][1]["val_loss"]
    assert updates_done(tmp_path / "checkpoints") == 8
    assert_equal(train(tmp_path), whole)


def test_a_validation_that_cant_be_kept_is_done_again(tmp_path, whole, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_states", refuse)
        with pytest.warns(UserWarning, match="The result of the validation can't be"):
            assert_equal(train(tmp_path), whole)
    again = Sending()
    assert_equal(train(tmp_path, again), whole)
    assert again.counts == {"train": 0, "test": 4}


KEPT = snapshot_updates(4, RECIPE.steps)  # The third lies within an epoch.


def kept(folder):
    return {n: read_snapshot(path) for n, path in snapshots_in(folder).items()}


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    """What a run that keeps weights ends with, and the weights that it keeps."""
    folder = tmp_path_factory.mktemp("keeping")
    return train(folder, snapshots=KEPT), kept(folder)


def test_weights_are_kept_and_change_nothing(keeping, whole):
    assert KEPT == [0, 3, 6, 9]
    ended, found = keeping
    assert_equal(ended, whole)
    assert list(found) == KEPT
    keras.utils.set_random_seed(0)
    initial = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    np.testing.assert_array_equal(found[0][0], initial.get_weights()[0])
    # The last are those that the run ends with: the averages.
    for a, b in zip(found[9], whole[1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_nothing(tmp_path, whole, monkeypatch):
    """Neither the time of day nor that of files decides what a run goes on from."""
    seconds = itertools.count(1e8, -3600)  # From 1973 on, each hour before the last.
    monkeypatch.setattr(time, "time", lambda: next(seconds))
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("train", 5, [signal.SIGTERM]))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    for age, path in enumerate(sorted(tmp_path.rglob("*"))):
        os.utime(path, (1e8 - age, 1e8 - age))  # The last checkpoint before the first.
    again = Sending()
    assert_equal(train(tmp_path, again), whole)
    assert again.counts["train"] == RECIPE.steps - 5


@pytest.mark.parametrize(
    "at", [5, *(pytest.param(at, marks=pytest.mark.slow) for at in (2, 3))]
)
def test_a_run_that_goes_on_keeps_the_same_weights(tmp_path, whole, at):
    steps = snapshot_updates(RECIPE.steps, RECIPE.steps)  # All but one.
    for name, ends in (("whole", []), ("stopped", [at])):
        for end in ends:
            with pytest.raises(SystemExit):
                sending = Sending("train", end, [signal.SIGTERM])
                train(tmp_path / name, sending, snapshots=steps)
        assert_equal(train(tmp_path / name, snapshots=steps), whole)
    expected, found = kept(tmp_path / "whole"), kept(tmp_path / "stopped")
    assert list(expected) == list(found) == steps
    for step in steps:
        for a, b in zip(expected[step], found[step], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_run_begun_without_keeps_the_weights_still_ahead(tmp_path, keeping):
    ended, all_kept = keeping
    with pytest.raises(SystemExit):
        train(tmp_path, Sending("train", 3, [signal.SIGTERM]))
    with pytest.warns(
        UserWarning, match="gone past 1 of the 4 sets of weights that `sn"
    ):
        assert_equal(train(tmp_path, snapshots=KEPT), ended)
    found = kept(tmp_path)
    assert list(found) == KEPT[1:]  # With those that it goes on from.
    for update, weights in found.items():
        for a, b in zip(weights, all_kept[update], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "full", ["disk", pytest.param("write", marks=pytest.mark.slow)]
)
def test_a_full_disk_costs_weights_and_no_checkpoint(
    tmp_path, whole, monkeypatch, full
):
    if full == "disk":
        # A snapshot would fit, and the checkpoint after it wouldn't.
        monkeypatch.setattr(snapshots, "ROOM", 2**60)
    else:

        def refuse(*arrays, **named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(snapshots, "write_snapshot", refuse)
    with pytest.warns(UserWarning) as said:
        assert_equal(train(tmp_path, snapshots=KEPT), whole)
    told = [str(one.message) for one in said if one.category is UserWarning]
    for update, message in zip(KEPT, told, strict=True):
        assert f"after update {update} aren't kept in" in message
    assert kept(tmp_path) == {}
    assert updates_done(tmp_path / "checkpoints") == RECIPE.steps


def test_fit_traces_the_network_once(tmp_path):
    import tensorflow as tf

    traced = []

    class Noting(keras.layers.Layer):
        def call(self, x, training=False):
            traced.append(training)
            return x

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Noting()(inputs)))
    recipe = replace(RECIPE, steps=2, validate_every=2, average=None)
    compile_model(model, recipe, xla=False)
    batches = tf.data.Dataset.from_tensor_slices(numbers(2 * SIZE, 0)).batch(SIZE)
    traced.clear()
    data = FitData(batches=lambda done: batches, validation=batches, examples=SIZE)
    fit(model, recipe, data, tmp_path, verbose=0)
    assert traced == [True, False]  # To train and to validate.
