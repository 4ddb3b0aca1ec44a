"""Gradients on Keras's backend, and networks called without a change of their state."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

Tensor: TypeAlias = Any  # Of Keras's backend.
Values: TypeAlias = Sequence[Any]  # Tensors, arrays or variables.
Gradients: TypeAlias = Callable[..., tuple[Tensor, list[Tensor]]]


def value_and_gradients(
    function: Callable[..., Tensor], *, compiled: bool = False
) -> Gradients:
    """The function that computes a scalar and its gradients, as `jax.value_and_grad`.

    Args:
        function: Gives a scalar tensor. Its first argument is a list of tensors, for which
            the gradients are; further arguments are tensors, or lists of them.
        compiled: Whether TensorFlow makes a graph of it, and JAX compiles it, at the first
            call: for many calls with arguments of the same shapes.

    Returns:
        A function of the same arguments, whose first may also hold arrays or variables. It
        returns the scalar and the list of gradients, zeros where the scalar does not
        depend on a tensor.
    """
    of_backend = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    differentiated = of_backend[keras.backend.backend()](function, compiled)

    def call(values: Values, *others: Any) -> tuple[Tensor, list[Tensor]]:
        return differentiated(as_tensors(values), *others)

    return call


def _tensorflow(function: Callable[..., Tensor], compiled: bool) -> Gradients:
    import tensorflow as tf

    def differentiated(values, *others):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            value = function(values, *others)
        zeros = tf.UnconnectedGradients.ZERO
        return value, tape.gradient(value, values, unconnected_gradients=zeros)

    return tf.function(differentiated, autograph=False) if compiled else differentiated


def _jax(function: Callable[..., Tensor], compiled: bool) -> Gradients:
    import jax

    differentiated = jax.value_and_grad(function)
    return jax.jit(differentiated) if compiled else differentiated


def _torch(function: Callable[..., Tensor], compiled: bool) -> Gradients:
    import torch

    def differentiated(values, *others):
        values = [value.detach().clone().requires_grad_() for value in values]
        with torch.enable_grad():
            value = function(values, *others)
        gradients = torch.autograd.grad(value, values, materialize_grads=True)
        return value.detach(), list(gradients)

    return differentiated


def hessian_products(
    function: Callable[..., Tensor], *, compiled: bool = False
) -> Callable[..., list[Tensor]]:
    """The function that multiplies the Hessian of a scalar by a vector.

    It takes about as long as two gradients, and the Hessian is never computed.

    Args:
        function: As of `value_and_gradients`, of tensors that are its first argument.
        compiled: As of `value_and_gradients`.

    Returns:
        A function of these tensors, of a vector as a list of tensors or arrays of the same
        shapes, and of the further arguments. It returns the product in these shapes.
    """
    of_backend = {
        "tensorflow": _tensorflow_hessian,
        "jax": _jax_hessian,
        "torch": _torch_hessian,
    }
    product = of_backend[keras.backend.backend()](function, compiled)

    def call(values: Values, vectors: Values, *others: Any) -> list[Tensor]:
        return list(product(as_tensors(values), as_tensors(vectors), *others))

    return call


def _tensorflow_hessian(
    function: Callable[..., Tensor], compiled: bool
) -> Callable[..., list[Tensor]]:
    import tensorflow as tf

    gradients = _tensorflow(function, compiled=False)

    def product(values, vectors, *others):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            _, found = gradients(values, *others)
            slope = tf.add_n(
                [tf.reduce_sum(g * v) for g, v in zip(found, vectors, strict=True)]
            )
        zeros = tf.UnconnectedGradients.ZERO
        return tape.gradient(slope, values, unconnected_gradients=zeros)

    return tf.function(product, autograph=False) if compiled else product


def _jax_hessian(
    function: Callable[..., Tensor], compiled: bool
) -> Callable[..., list[Tensor]]:
    import jax

    def product(values, vectors, *others):
        gradient = jax.grad(lambda values: function(values, *others))
        return jax.jvp(gradient, (values,), (vectors,))[1]

    return jax.jit(product) if compiled else product


def _torch_hessian(
    function: Callable[..., Tensor], compiled: bool
) -> Callable[..., list[Tensor]]:
    import torch

    def product(values, vectors, *others):
        values = [value.detach().clone().requires_grad_() for value in values]
        with torch.enable_grad():
            value = function(values, *others)
            found = torch.autograd.grad(
                value, values, create_graph=True, materialize_grads=True
            )
            slope = sum((g * v).sum() for g, v in zip(found, vectors, strict=True))
        if not slope.requires_grad:  # A linear function.
            return [torch.zeros_like(value) for value in values]
        return torch.autograd.grad(slope, values, materialize_grads=True)

    return product


def as_tensors(values: Values) -> list[Tensor]:
    """Tensors of the backend with the values of arrays, tensors or variables."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # Keras's own function leaves variables as they are.

        return [tf.convert_to_tensor(value) for value in values]
    return [keras.ops.convert_to_tensor(value) for value in values]


def as_array(tensor: Tensor) -> np.ndarray:
    """The values of a tensor of the backend."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor)))


def stateless(
    function: Callable[..., Tensor], variables: Sequence[keras.Variable] = ()
) -> Callable[..., Tensor]:
    """A function as ``function``, in which variables have the values that it is given.

    Args:
        function: Any function of tensors.
        variables: The variables that have other values in it.

    Returns:
        A function of the list of these values and the arguments of ``function``. Whatever
        a call assigns, such as batch norm's moving statistics, is lost at its end.
    """

    def called(values: Values, *arguments: Any) -> Tensor:
        with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
            return function(*arguments)

    return called


def outputs(
    model: keras.Model, batches: Iterable[np.ndarray], *, training: bool
) -> Iterable[list[np.ndarray]]:
    """Yields a model's outputs batch by batch, and leaves its state as it is.

    Args:
        model: A model with a list of outputs.
        batches: Images, as the model takes them.
        training: Whether batch norm normalizes by the batch, and dropout drops.
    """
    call = stateless(lambda images: model(images, training=True))
    for images in batches:
        if training:
            (tensor,) = as_tensors([images])
            yield [as_array(one) for one in keras.tree.flatten(call([], tensor))]
        else:
            # Of a list of one output, Keras gives the output itself.
            found = keras.tree.flatten(model.predict_on_batch(images))
            yield [np.asarray(one) for one in found]


def mean_cross_entropy(logits: Tensor, labels: Tensor, from_logits: bool) -> Tensor:
    """The mean cross-entropy of a batch, in nats, as a scalar tensor.

    Args:
        logits: Outputs of the model, ``(batch, classes)``.
        labels: Integers, ``(batch,)``.
        from_logits: Whether they are logits; else probabilities.
    """
    losses = keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=from_logits
    )
    return keras.ops.mean(losses)


def norm(tensor: Tensor) -> float:
    """The Euclidean norm of all values of a tensor, computed in float64."""
    return float(np.linalg.norm(as_array(tensor).astype("float64").ravel()))
