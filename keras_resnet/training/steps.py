"""Training steps that Keras lacks: XLA under `tf.distribute`, accumulation, workers.

Each class is a functional `keras.Model` with another ``train_step``. Its layers and
variables are those of the model that it was made from, which is the one that is saved.

Accumulation makes one update with the mean gradient of a batch's micro-batches. The i-th
of K takes the images i, i + K, i + 2K, ..., and so the same on one device as on several.
Without batch norm this is the whole batch's gradient; batch norm sees micro-batches, and
updates its moving statistics in each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from keras_resnet.devices.find import Devices

Tensor: TypeAlias = Any  # Of Keras's backend.
Batch: TypeAlias = tuple[Tensor, ...]  # Images, labels and sample weights.
Logs: TypeAlias = dict[str, Tensor]
State: TypeAlias = tuple[list[Tensor], ...]  # JAX's, of all variables.


def trainer(
    model: keras.Model, devices: Devices, *, xla: bool, accumulate: int = 1
) -> keras.Model:
    """The model to compile and fit in place of ``model``, in `distribute.distribution`.

    Args:
        model: A functional model, built in the scope of its distribution.
        devices: What it will be trained on.
        xla: Whether it will be compiled with XLA.
        accumulate: Number of micro-batches per batch, at least 1.

    Returns:
        ``model`` itself where Keras's own training step suffices.
    """
    backend = keras.backend.backend()
    mirrored = backend == "tensorflow" and devices.replicas > 1
    several_workers = backend == "tensorflow" and devices.workers > 1
    if accumulate == 1 and not (mirrored and xla) and not several_workers:
        return model
    kind = {
        "tensorflow": SeveralWorkers if several_workers else Replica,
        "jax": JaxAccumulation,
        "torch": TorchAccumulation,
    }[backend]
    return kind(model.inputs, model.outputs, name=model.name, accumulate=accumulate)


def scaled(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """The optimizer to compile with: under float16 on TensorFlow, one that scales losses.

    Keras's own loss scaling looks only at the first replica's gradients.
    """
    float16 = model.dtype_policy.name == "mixed_float16"
    if float16 and keras.backend.backend() == "tensorflow":
        return LossScale(optimizer, name="loss_scale_optimizer")
    return optimizer


@keras.saving.register_keras_serializable(package="keras_resnet")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, but any replica whose gradients overflow cancels the update.

    Keras asks only the first replica, as if the gradients had already been summed over
    all of them: an overflow on another one would reach the weights.
    """

    def check_finite(self, grads: Sequence[Tensor]) -> Tensor:
        import tensorflow as tf

        overflowed = 1.0 - tf.cast(super().check_finite(grads), tf.float32)
        context = tf.distribute.get_replica_context()
        return tf.equal(context.all_reduce(tf.distribute.ReduceOp.SUM, overflowed), 0.0)


class Accumulation(keras.Model):
    """A functional model whose training step goes over micro-batches.

    Args:
        inputs: Inputs of the functional model.
        outputs: Its outputs.
        accumulate: Number of micro-batches, which must divide the batch.
        name: Name of the model.
    """

    def __init__(
        self, inputs: Any, outputs: Any, *, accumulate: int, name: str | None = None
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.accumulate: int = accumulate

    def micro_batches(self, data: Batch) -> list[Batch]:
        """Splits a batch into micro-batches."""
        if self.accumulate == 1:
            return [data]
        split = [
            [None] * self.accumulate if part is None else self._split(part)
            for part in data
        ]
        return list(zip(*split, strict=True))

    def _split(self, tensor: Tensor) -> list[Tensor]:
        # Height and width are unknown where a recipe trains on several sizes.
        shape = (-1, self.accumulate, *keras.ops.shape(tensor)[1:])
        split = keras.ops.reshape(tensor, shape)
        return [split[:, number] for number in range(self.accumulate)]

    def join(self, outputs: Sequence[Tensor]) -> Tensor:
        """The outputs of the micro-batches in the order of the batch."""
        if self.accumulate == 1:
            return outputs[0]
        stacked = keras.ops.stack(outputs, axis=1)
        return keras.ops.reshape(stacked, (-1, *outputs[0].shape[1:]))

    def metric_results(
        self, data: Batch, y_pred: Tensor, loss: Tensor, size: Any
    ) -> Logs:
        """Updates the metrics with a batch of ``size`` images; returns their values."""
        x, y, sample_weight = data
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=size)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)


class Replica(Accumulation):
    """The training step on TensorFlow, on one device or on each replica.

    Under MirroredStrategy ``compile(jit_compile=True)`` fails on the variables of other
    replicas (keras#19005). Here each replica compiles its forward and backward pass,
    and the update, which reduces over replicas, is outside.
    """

    def compile(
        self, *args: Any, jit_compile: bool | str = False, **kwargs: Any
    ) -> None:
        """As `keras.Model.compile`; XLA compiles the gradients of each replica."""
        self.xla: bool | str = jit_compile
        super().compile(*args, jit_compile=False, **kwargs)

    def train_step(self, data: Any) -> Logs:
        import tensorflow as tf

        data = keras.utils.unpack_x_y_sample_weight(data)
        # A function of its own each time that the step is traced, which is once for
        # each replica: it holds that replica's variables. Without XLA none, because
        # synchronized batch norm can't communicate from inside of a function.
        step = self.gradients
        if self.xla:
            step = tf.function(step, jit_compile=True, autograph=False)
        losses, outputs, total = [], [], None
        for micro_batch in self.micro_batches(data):
            # One after the other, else all activations are in memory at a time.
            with tf.control_dependencies(total or ()):
                loss, y_pred, gradients = step(*micro_batch)
            losses.append(loss)
            outputs.append(y_pred)
            if total is None:
                total = gradients
            else:
                total = [a + b for a, b in zip(total, gradients, strict=True)]
        mean = [gradient / self.accumulate for gradient in total]
        self.optimizer.apply_gradients(zip(mean, self.trainable_weights, strict=True))
        # Keras divides losses by the replicas, so that gradients can be summed.
        replicas = self.distribute_strategy.num_replicas_in_sync
        loss = replicas * tf.add_n(losses) / self.accumulate
        return self.metric_results(data, self.join(outputs), loss, tf.shape(data[0])[0])

    def gradients(
        self, x: Tensor, y: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Loss, logits and gradients of one micro-batch on one replica."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        return loss, y_pred, tape.gradient(scaled, self.trainable_weights)


class SeveralWorkers(Replica):
    """The training step under MultiWorkerMirroredStrategy (keras#20585)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("_maybe_symbolic_build", "_symbolic_build"):
            if not callable(getattr(keras.Model, name, None)):
                raise RuntimeError(
                    "Training on several workers with TensorFlow needs a Keras whose "
                    f"models have the private method `{name}`, such as 3.15. Received: "
                    f"Keras {keras.__version__}. Use that Keras, or --backend jax."
                )

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras's own reduces the first batch over all workers, and fails.
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            local = self.distribute_strategy.experimental_local_results
            data_batch = keras.tree.map_structure(
                lambda value: local(value)[0], next(batches)
            )
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def train_step(self, data: Any) -> Logs:
        return self._as_vectors(super().train_step(data))

    def test_step(self, data: Any) -> Logs:
        return self._as_vectors(super().test_step(data))

    def _as_vectors(self, results: Mapping[str, Tensor]) -> Logs:
        # Keras takes the mean over workers along the first axis.
        return {name: keras.ops.reshape(value, (1,)) for name, value in results.items()}


class JaxAccumulation(Accumulation):
    """Gradient accumulation on JAX, on one device or under `DataParallel`."""

    def train_step(self, state: State, data: Any) -> tuple[Logs, State]:
        import jax

        trainable, non_trainable, optimizer_variables, metrics_variables = state
        data = keras.utils.unpack_x_y_sample_weight(data)
        gradients_of = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)

        def step(carry, micro_batch):
            non_trainable, metrics_variables, total, losses = carry
            (_, aux), gradients = gradients_of(
                trainable,
                non_trainable,
                metrics_variables,
                *micro_batch,
                training=True,
                optimizer_variables=optimizer_variables,
            )
            loss, y_pred, non_trainable, metrics_variables = aux
            total = jax.tree.map(jax.numpy.add, total, gradients)
            return (non_trainable, metrics_variables, total, losses + loss), y_pred

        stacked = jax.tree.map(
            lambda *parts: jax.numpy.stack(parts), *self.micro_batches(data)
        )
        zeros = jax.tree.map(jax.numpy.zeros_like, trainable)
        carry = (non_trainable, metrics_variables, zeros, jax.numpy.zeros(()))
        carry, outputs = jax.lax.scan(step, carry, stacked)
        non_trainable, metrics_variables, total, losses = carry
        trainable, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables,
            jax.tree.map(lambda gradient: gradient / self.accumulate, total),
            trainable,
        )
        mapping = list(zip(self.metrics_variables, metrics_variables, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            logs = self.metric_results(
                data,
                self.join(list(outputs)),
                losses / self.accumulate,
                data[0].shape[0],
            )
        metrics_variables = [scope.get_current_value(v) for v in self.metrics_variables]
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)


class TorchAccumulation(Accumulation):
    """Gradient accumulation on PyTorch."""

    def train_step(self, data: Any) -> Logs:
        import torch

        data = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        losses, outputs = 0.0, []
        for x, y, sample_weight in self.micro_batches(data):
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            # PyTorch adds to the gradients that are there.
            (self.optimizer.scale_loss(loss) / self.accumulate).backward()
            losses = losses + loss.detach()
            outputs.append(y_pred.detach())
        weights = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        return self.metric_results(
            data, self.join(outputs), losses / self.accumulate, data[0].shape[0]
        )
