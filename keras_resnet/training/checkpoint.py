"""How a run goes on after it was stopped: what is saved, atomically.

A checkpoint is a folder ``step_<updates>`` with the weights of model and optimizer
and the state of the callbacks. It appears under that name only when it is complete.
"""

import json
import os
import shutil

import keras

from keras_resnet.training.callbacks import steps_done

KEPT = 2  # The last, and one more should the disk have lost the last.


class Checkpoint(keras.callbacks.Callback):
    """Saves a checkpoint after every validation.

    Args:
        folder: Where checkpoints lie.
        stateful: The callbacks whose state belongs to the run, by name.
    """

    def __init__(self, folder, stateful):
        super().__init__()
        self.folder = folder
        self.stateful = stateful

    def on_epoch_end(self, epoch, logs=None):
        states = {name: callback.state() for name, callback in self.stateful.items()}
        save(self.folder, self.model, states)


def save(folder, model, states):
    """Writes the checkpoint of a compiled model's current step.

    Args:
        folder: Where checkpoints lie; older ones but `KEPT` are removed.
        model: Compiled.
        states: What else must survive, as JSON takes it.

    Raises:
        OSError: If it can't be written, for lack of space or of rights. Those written
            before stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{steps_done(model.optimizer):08d}"
    temporary = folder / f"writing_{final.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        model.save_weights(temporary / "state.weights.h5")
        (temporary / "state.json").write_text(json.dumps(states))
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
    except (OSError, RuntimeError) as error:  # h5py raises RuntimeError as well.
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(
            f"The checkpoint {final} can't be written: {error}. Free some space and run "
            "the same command: it goes on from the checkpoint before."
        ) from error
    if final.exists():
        shutil.rmtree(final)
    os.replace(temporary, final)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def checkpoints(folder):
    """The complete checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step_*"))


def restore(folder, model, stateful):
    """Brings a compiled model and its callbacks to the last readable checkpoint.

    Args:
        folder: Where checkpoints lie.
        model: Compiled, its optimizer not yet used.
        stateful: The callbacks by the names under which their state was saved.

    Returns:
        Updates done: 0 if there is no checkpoint.

    Raises:
        ValueError: If there are checkpoints and none of them can be read.
    """
    model.optimizer.build(model.trainable_variables)
    found = checkpoints(folder)
    for checkpoint in reversed(found):
        try:
            states = json.loads((checkpoint / "state.json").read_text())
            model.load_weights(checkpoint / "state.weights.h5")
        except (OSError, ValueError, KeyError) as error:
            failure = error
            continue
        if steps_done(model.optimizer) != int(checkpoint.name.removeprefix("step_")):
            raise ValueError(
                f"{checkpoint} must have been saved under the precision that training "
                "goes on with: its optimizer has other variables. Give the --precision "
                "that the run began with."
            )
        for name, callback in stateful.items():
            callback.set_model(model)
            callback.restore(states[name])
        return steps_done(model.optimizer)
    if found:
        raise ValueError(
            f"None of the checkpoints in {folder} can be read ({failure}). Remove that "
            "folder to train from the beginning."
        )
    return 0
