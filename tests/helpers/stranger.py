"""A stranger's script with plain `fit`: ``python -m tests.helpers.stranger FOLDER``.

With ``KILLED_IN=k`` in its environment it kills itself in the middle of epoch k. At its
end it prints a sum over all that training leaves.
"""

import hashlib
import os
import random
import signal
import sys

import keras
import numpy as np

from keras_resnet import callbacks, optimizers

EPOCHS = 4


class Batches(keras.utils.PyDataset):
    """Batches of noise: the labels are the signs of a sum."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x = np.random.default_rng(index).normal(size=(8, 6)).astype("float32")
        return x, (x.sum(1) > 0).astype("int32")


class Kill(keras.callbacks.Callback):
    """Kills the process in the middle of an epoch, after drawing from Python and NumPy."""

    drawn = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.drawn = random.random() + np.random.uniform()

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2 and str(self.epoch) == os.environ.get("KILLED_IN"):
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=5),
            keras.layers.Dense(2),
        ]
    )
    model.compile(
        optimizers.CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    plateau = callbacks.ReduceOnPlateau(patience=1, min_delta=50.0)
    average = callbacks.AverageWeights(0.9)
    early = keras.callbacks.EarlyStopping(
        "loss", patience=9, restore_best_weights=False
    )
    kill = Kill()
    history = model.fit(
        Batches(),
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[
            callbacks.Resume(folder),
            plateau,
            average,
            early,
            callbacks.HistoryLog(f"{folder}/history.csv", batch_size=8),
            kill,
        ],
    )
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    digest.update(repr((plateau.lowest, plateau.waited, kill.drawn)).encode())
    digest.update(repr((early.wait, early.best, average.updates)).encode())
    rows = callbacks.read_history(f"{folder}/history.csv")
    print([row["step"] for row in rows], history.epoch, digest.hexdigest())


if __name__ == "__main__":
    main(sys.argv[1])
