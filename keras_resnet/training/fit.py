"""Compile and `model.fit`, as a recipe says, from wherever the run stands."""

import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnet.config.detection_recipe import EitherRecipe
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.schedules import PlateauDecay
from keras_resnet.devices import distribute
from keras_resnet.devices.find import ALONE, Devices
from keras_resnet.training import callbacks, checkpoint, optimizers
from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.building import build_loss_and_metrics
from keras_resnet.training.history import HistoryLog
from keras_resnet.training.progress import progress_of
from keras_resnet.training.saving import BeforeValidation, Checkpoint
from keras_resnet.training.schedules import learning_rate
from keras_resnet.training.snapshots import Snapshots
from keras_resnet.training.steps import scaled

NO_DECAY = ("gamma", "beta", "bias")


def compile_model(
    model: keras.Model, recipe: Recipe, *, xla: bool, steps_per_execution: int = 1
) -> None:
    """Compiles a model that gives logits with the recipe's optimizer.

    Args:
        model: A `keras.Model` from images to logits ``(batch, classes)``.
        recipe: A `Recipe`.
        xla: Whether to compile with XLA.
        steps_per_execution: Updates that Python starts at a time; must divide the
            recipe's steps and those between validations.
    """
    rate = learning_rate(recipe.schedule, recipe.steps)
    if recipe.warmup_learning_rate is not None:
        rate = recipe.warmup_learning_rate  # The callback takes over.
    optimizer = optimizers.CoupledSGD(
        rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        coupled_weight_decay=recipe.weight_decay,
        exclude_from_decay=() if recipe.decay_all else NO_DECAY,
    )
    if recipe.soft_labels:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.CategoricalAccuracy("accuracy")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
    model.compile(
        scaled(optimizer, model),
        loss,
        metrics=[accuracy],
        jit_compile=xla,
        steps_per_execution=steps_per_execution,
    )
    build_loss_and_metrics(model, soft_labels=recipe.soft_labels)


@dataclass(frozen=True)
class FitData:
    """What `fit` iterates over.

    Attributes:
        batches: Function from the updates done to the batches that remain.
        validation: Batches of images and labels.
        examples: Number of training examples.
    """

    batches: Callable[[int], Iterable[Any]]
    validation: Iterable[Any]
    examples: int


def fit(
    model: keras.Model,
    recipe: EitherRecipe,
    data: FitData,
    folder: pathlib.Path,
    *,
    devices: Devices = ALONE,
    before_saving: Sequence[keras.callbacks.Callback] = (),
    loggers: Sequence[keras.callbacks.Callback] = (),
    snapshots: Snapshots | None = None,
    verbose: int = 1,
) -> tuple[float, list[dict[str, float]]]:
    """Trains a compiled model to the recipe's last update.

    Goes on from the last checkpoint in ``folder``, in the middle of an epoch too. An
    epoch, to Keras, are the ``recipe.validate_every`` updates between two validations;
    after each, a checkpoint is saved, the model is validated, and a row of
    ``history.csv`` is written. A run that was stopped in a validation begins with it.
    Inside of `distribute.distribution`.

    Args:
        model: As `compile_model` left it; or a detector, compiled.
        recipe: A `Recipe` or a `DetectionRecipe`.
        data: What to train and to validate on.
        folder: The run's.
        devices: What is computed on. Of several workers, the chief alone writes or prints.
        before_saving: Callbacks that must act before the run is saved.
        loggers: Of `training.loggers`.
        snapshots: Keeps weights along the training, if that is asked for.
        verbose: 0 for silence, 1 for a line that redraws itself in a terminal or a
            notebook, 2 for a line a minute and per validation, as 1 elsewhere.

    Returns:
        Seconds that earlier parts of the run trained for, and the rows of
        ``history.csv``, as `history.read_history` gives them.

    Raises:
        FloatingPointError: If the loss is no longer finite.
        KeyboardInterrupt, SystemExit: If a signal ended it; a checkpoint was saved.
    """
    steps = callbacks.Steps(recipe.steps)
    log = _history(folder, recipe, steps, data.examples)
    average = averaging(model, recipe, steps)
    reactive = reactive_schedules(recipe)
    stateful = {"history": log, **reactive, **average}
    checkpoints = folder / "checkpoints"
    steps.done, metrics = checkpoint.restore(checkpoints, model, stateful)
    earlier = log.seconds
    _begin(model, recipe, steps.done, devices, verbose and devices.chief)
    if devices.chief:
        log.write()  # Now: of a run that is trained no more rows come.
    for logger in loggers:
        logger.history = log.numbers

    def epoch_ends(step):
        return step % recipe.validate_every == 0 or step == recipe.steps

    in_epoch = () if epoch_ends(steps.done) else metrics
    saving = Checkpoint(checkpoints, stateful, steps, epoch_ends, in_epoch, devices)
    shown = progress_of(recipe, steps, data.examples, verbose if devices.chief else 0)
    chosen = [
        steps,
        _stop_at_nan(steps, checkpoints, devices, epoch_ends),
        *before_saving,
        # Before what changes the learning rate: it tells that of the last update.
        *shown,
        *([log] if devices.chief else []),
        *reactive.values(),
        BeforeValidation(saving, log),
        *average.values(),
        *_snapshots(snapshots, model, steps, average.get("average"), devices),
        *loggers,
        saving,
    ]
    if in_epoch:
        # Keras makes a metric's variables with its first batch: here, of validation.
        model.evaluate(data.validation, steps=1, verbose=0)
    try:
        _validate_the_last(model, recipe, data, log, chosen)
        _fit_to_the_end(model, recipe, data, steps, chosen)
    finally:
        saving.release()
        for told in (*shown, *loggers):
            told.end()
    saving.leave_if_asked()  # After the last one that it could act upon.
    if recipe.average:
        average["average"].put_in()
    return earlier, log.numbers()


def _history(folder, recipe, steps, examples):
    return HistoryLog(
        folder / "history.csv",
        steps,
        batch_size=recipe.batch_size,
        examples=examples,
    )


def _snapshots(snapshots, model, steps, average, devices):
    """The callback that keeps weights, if there is one, told of what it keeps them of."""
    if snapshots is None:
        return []
    snapshots.steps, snapshots.average, snapshots.writes = steps, average, devices.chief
    snapshots.set_model(model)
    snapshots.begin()
    return [snapshots]


def _stop_at_nan(steps, checkpoints, devices, epoch_ends):
    """The callback that ends training at a loss of NaN, from which no run goes on.

    The loss of an update is that of the weights before it, of which a signal or the time
    may have saved a checkpoint. One of an epoch's end was validated, and is good.
    """

    def advice():
        validated = stop.diverged < steps.done and epoch_ends(stop.diverged)
        if devices.chief and not validated:
            checkpoint.set_diverged_aside(checkpoints, stop.diverged)
        return checkpoint.advice(checkpoints, steps.done)

    stop = callbacks.StopAtNaN(steps, advice)
    return stop


def _begin(model, recipe, done, devices, verbose):
    """Checks that all can go on from the same update, and says from which."""
    if done % model.steps_per_execution:
        raise ValueError(
            "The run stands in the middle of an execution: `steps_per_execution` "
            f"(--steps-per-execution) must divide the {done} updates done. "
            f"Received: steps_per_execution={model.steps_per_execution}. Go on with 1."
        )
    distribute.agree(
        done,
        devices,
        "All workers must go on from the same update: give them an --output-dir that "
        "all of them see.",
    )
    if done and verbose:
        print(f"Going on from update {done:,} of {recipe.steps:,}.")


def _validate_the_last(model, recipe, data, log, chosen):
    """Validates an epoch that was trained and saved, if any, as `model.fit` would have."""
    if log.unvalidated is None:
        return
    epoch = math.ceil(log.steps.done / recipe.validate_every) - 1
    hooks = keras.callbacks.CallbackList(chosen, model=model)
    hooks.on_train_begin()
    hooks.on_epoch_begin(epoch)
    found = model.evaluate(
        data.validation, callbacks=hooks, return_dict=True, verbose=0
    )
    validation = {f"val_{name}": value for name, value in found.items()}
    hooks.on_epoch_end(epoch, log.unvalidated["logs"] | validation)
    hooks.on_train_end()


def _fit_to_the_end(model, recipe, data, steps, chosen):
    """Calls `model.fit` for what is left of an epoch, then for the other epochs."""
    while steps.done < recipe.steps:
        epoch, into_epoch = divmod(steps.done, recipe.validate_every)
        # `fit` has one length for all its epochs: the rest of one is a call.
        last = epoch + 1 if into_epoch else recipe.steps / recipe.validate_every
        model.fit(
            data.batches(steps.done),
            validation_data=data.validation,
            initial_epoch=epoch,
            epochs=math.ceil(last),
            steps_per_epoch=recipe.validate_every - into_epoch,
            shuffle=False,  # The batches come in an order of their own.
            callbacks=chosen,
            verbose=0,
        )


def averaging(
    model: keras.Model, recipe: EitherRecipe, steps: callbacks.Steps
) -> dict[str, AverageWeights]:
    """The callback that averages the weights, by its name; empty where none does."""
    if not recipe.average:
        return {}
    average = AverageWeights(
        recipe.average.decay, recipe.average.every, steps=steps, keep=False
    )
    average.set_model(model)  # Also of a run that is trained.
    return {"average": average}


def reactive_schedules(recipe: EitherRecipe) -> dict[str, keras.callbacks.Callback]:
    """The callbacks that set the learning rate by how training goes, by name."""
    chosen = {}
    if recipe.warmup_learning_rate is not None:
        rate = learning_rate(recipe.schedule, recipe.steps)
        chosen["warm_up"] = callbacks.WarmUpUntilLearning(
            rate if callable(rate) else lambda step: rate,
            warmup_learning_rate=recipe.warmup_learning_rate,
        )
    if isinstance(recipe.schedule, PlateauDecay):
        chosen["plateau"] = callbacks.ReduceOnPlateau(
            factor=recipe.schedule.factor,
            patience=recipe.schedule.patience,
            min_delta=recipe.schedule.min_delta,
        )
    return chosen
