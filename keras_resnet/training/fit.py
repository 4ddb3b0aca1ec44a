"""Compile and `model.fit`, as a recipe says, from wherever the run stands."""

import math

import keras

from keras_resnet.config.recipes import PlateauDecay
from keras_resnet.training import callbacks, checkpoint, optimizers


def compile_model(model, recipe, *, xla):
    """Compiles a model that gives logits with the recipe's optimizer.

    Args:
        model: A `keras.Model` from images to logits ``(batch, classes)``.
        recipe: A `Recipe`.
        xla: Whether to compile with XLA.

    Raises:
        ValueError: If the recipe warms up and the backend is JAX.
    """
    rate = optimizers.learning_rate(recipe.schedule, recipe.steps)
    if recipe.warmup_learning_rate is not None:
        if keras.backend.backend() == "jax":
            raise ValueError(
                "Warm-up until the error falls needs the TensorFlow or PyTorch backend: "
                "on JAX, Keras reads the learning rate once per epoch. "
                f"Received: warmup_learning_rate={recipe.warmup_learning_rate}."
            )
        rate = recipe.warmup_learning_rate  # The callback takes over.
    optimizer = optimizers.CoupledSGD(
        rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        coupled_weight_decay=recipe.weight_decay,
    )
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=xla,
    )


def fit(model, recipe, batches, validation, folder, *, examples, extra=(), verbose=1):
    """Trains a compiled model to the recipe's last update.

    Goes on from the last checkpoint in ``folder``. Every ``recipe.validate_every``
    updates it validates, writes a row of ``history.csv`` and saves a checkpoint.

    Args:
        model: As `compile_model` left it.
        recipe: A `Recipe`.
        batches: Function from the updates done to the batches that remain.
        validation: Batches of images and labels.
        folder: The run's, a `pathlib.Path`.
        examples: Number of training examples.
        extra: Callbacks that must act before the run is saved.
        verbose: Of `keras.Model.fit`.

    Returns:
        Seconds that earlier parts of the run trained for.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """
    log = callbacks.HistoryLog(
        folder / "history.csv", batch_size=recipe.batch_size, examples=examples
    )
    stateful = {"history": log, **reactive_schedules(recipe)}
    checkpoints = folder / "checkpoints"
    done = checkpoint.restore(checkpoints, model, stateful)
    earlier = log.seconds
    if done and verbose:
        print(f"Going on from update {done:,} of {recipe.steps:,}.")
    if done >= recipe.steps:
        return earlier
    model.fit(
        batches(done),
        validation_data=validation,
        initial_epoch=done // recipe.validate_every,
        epochs=math.ceil(recipe.steps / recipe.validate_every),
        steps_per_epoch=recipe.validate_every,
        shuffle=False,  # The batches come in an order of their own.
        callbacks=[
            callbacks.StopAtNaN(),
            callbacks.StopAfter(recipe.steps),
            *extra,
            *stateful.values(),
            checkpoint.Checkpoint(checkpoints, stateful),
        ],
        verbose=verbose,
    )
    return earlier


def reactive_schedules(recipe):
    """The callbacks that set the learning rate by how training goes, by name."""
    chosen = {}
    if recipe.warmup_learning_rate is not None:
        rate = optimizers.learning_rate(recipe.schedule, recipe.steps)
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
