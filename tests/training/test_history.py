"""What `history.csv` holds, also after a run has gone on."""

import json

import keras
import pytest

from keras_resnet.training.callbacks import Steps
from keras_resnet.training.history import HISTORY, HistoryLog, read_history
from tests.helpers.tiny_model import batches, tiny_model


def test_history_has_neither_gaps_nor_doubles(tmp_path):
    path = tmp_path / "history.csv"
    x, y = batches(4)
    model = tiny_model()

    def train(epochs, first, state=None):
        steps = Steps(12, 4 * first)
        log = HistoryLog(path, steps, batch_size=4, examples=16)
        if state:
            log.restore(json.loads(json.dumps(state)))
        states = []  # As a checkpoint after each validation holds it.
        saving = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: states.append(log.state())
        )
        model.fit(
            x,
            y,
            batch_size=4,
            initial_epoch=first,
            epochs=epochs,
            validation_data=(x, y),
            callbacks=[steps, log, saving],
            verbose=0,
        )
        assert log.seconds > 0
        return states

    # A power cut leaves the first checkpoint, and of the file anything.
    saved, _ = train(2, 0)
    text = path.read_text()
    path.write_text(text[: text.rindex(",") + 1])
    train(3, 1, saved)
    rows = read_history(path)
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert tuple(rows[0]) == HISTORY
    assert all(row["learning_rate"] == pytest.approx(0.1) for row in rows)
    assert all(row["images_per_second"] > 0 for row in rows)


def test_history_of_a_strangers_fit(tmp_path):
    path = tmp_path / "deep" / "history.csv"
    model = tiny_model()
    x, y = batches(4)
    model.compile(
        "sgd",
        model.loss,
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(name="top5")],
    )
    model.fit(
        *(x, y),
        validation_data=(x, y),
        validation_freq=2,
        batch_size=4,
        epochs=2,
        callbacks=[HistoryLog(str(path))],
        verbose=0,
    )
    first, second = read_history(path)
    assert (first["step"], first["epoch"], second["step"]) == (4, 1, 8)
    assert "val_loss" not in first
    assert second["val_top5"] > 0
    assert "images_per_second" not in second
