"""Clones a functional model operation by operation, and notes what each is made from."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras

# Calls an operation of the clone with its arguments; returns what takes its output's place.
Call: TypeAlias = Callable[..., Any]


def is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers that can be cloned, or a built list of them."""
    if isinstance(model, keras.Sequential):
        return model.built
    # The only public sign of a graph.
    return isinstance(model, keras.Model) and "input_layers" in model.get_config()


def functional(model: keras.Model) -> keras.Model:
    """The graph of a model, as a functional model on the same layers.

    Raises:
        ValueError: If the model is neither functional nor a built `keras.Sequential`.
    """
    if not is_functional(model):
        raise ValueError(
            "`model` must be a functional model or a built Sequential one: the graph of "
            f"other classes is not known. Received: model={model!r}."
        )
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def clone(
    model: keras.Model,
    call: Call | None = None,
    *,
    dtype: str | None = None,
    weights: bool = True,
) -> keras.Model:
    """A model with copies of a model's layers and weights, called by ``call``.

    Functional models inside of the model are not nested in the clone: their layers are
    its own.

    Args:
        model: A functional model or a built `keras.Sequential`; it stays as it is.
        call: A function of an operation of the clone and its arguments, which calls it;
            its result takes the place of the output. By default, it only calls it.
        dtype: In which the clone's layers hold their weights and compute; by default
            each as in the model.
        weights: Whether it gets the model's weights; else it keeps its initial ones.

    Raises:
        ValueError: If the model is not functional.
    """
    copies: dict[int, tuple[Any, Any]] = {}

    def copy(operation: Any) -> Any:
        if is_functional(operation):
            return operation  # `call_inside` goes through it.
        if id(operation) not in copies:
            config = operation.get_config()
            if dtype and isinstance(operation, keras.Layer):
                config["dtype"] = dtype
            copies[id(operation)] = operation, type(operation).from_config(config)
        return copies[id(operation)][1]

    def call_inside(operation: Any, *arguments: Any, **options: Any) -> Any:
        if not is_functional(operation):
            return (call or _call)(operation, *arguments, **options)

        # Keras has no public way to go through a graph that is a part of another.
        return functional(operation)._run_through_graph(
            arguments[0], operation_fn=copy, call_fn=call_inside
        )

    cloned = keras.models.clone_model(
        functional(model), clone_function=copy, call_function=call_inside
    )
    for old, new in copies.values() if weights else ():
        if isinstance(new, keras.Layer) and new.built and new.weights:
            new.set_weights(old.get_weights())
            if isinstance(new, keras.layers.Normalization):
                new.finalize_state()  # It computes with copies of its weights.
    return cloned


def _call(operation: Any, *arguments: Any, **options: Any) -> Any:
    return operation(*arguments, **options)


def without_xla(model: keras.Model) -> keras.Model:
    """A model whose ``predict`` TensorFlow does not compile with XLA, where it can.

    Compiling takes longer than an analysis saves by it. On CPUs TensorFlow convolves
    images with their channels first under XLA alone.
    """
    last = keras.config.image_data_format() == "channels_last"
    if keras.backend.backend() == "tensorflow" and last:
        model.jit_compile = False
    return model


def tensors(values: Any) -> Iterator[keras.KerasTensor]:
    """The Keras tensors in a nested structure of arguments or outputs."""
    for value in keras.tree.flatten(values):
        if keras.utils.is_keras_tensor(value):
            yield value


class Trace:
    """Which operation made each tensor of a graph, and from the outputs of which others.

    Operations have numbers in the order of their calls. A set of operations is an integer
    whose bit ``n`` stands for number ``n``: networks of a thousand layers have half a
    million pairs of an operation and one before it.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._tensors: list[keras.KerasTensor] = []  # Kept, or an `id` comes again.
        self._numbers: dict[int, int] = {}
        self._before: list[int] = []
        self._sources: list[int] = []

    def note(self, name: str, arguments: Any, outputs: Any) -> None:
        """Notes the call of an operation."""
        sources = before = 0
        for tensor in tensors(arguments):
            number = self.number(tensor)
            sources |= 1 << number
            before |= self._before[number]
        self._add(name, sources, before, tensors(outputs))

    def _add(
        self, name: str, sources: int, before: int, outputs: Iterator[keras.KerasTensor]
    ) -> None:
        number = len(self.names)
        self.names.append(name)
        self._sources.append(sources)
        self._before.append(before | 1 << number)
        for tensor in outputs:
            self._tensors.append(tensor)
            # What an operation passes on unchanged is still its first maker's.
            self._numbers.setdefault(id(tensor), number)

    def number(self, tensor: keras.KerasTensor) -> int:
        """The number of the operation that made a tensor, also of an input."""
        if id(tensor) not in self._numbers:
            self._add(tensor.name, 0, 0, iter([tensor]))
        return self._numbers[id(tensor)]

    def maker(self, tensor: keras.KerasTensor) -> str:
        """The name of the operation that made a tensor."""
        return self.names[self.number(tensor)]

    def before(self, tensor: keras.KerasTensor) -> int:
        """The set of all operations that a tensor depends on."""
        return self._before[self.number(tensor)]

    def entries(self, operations: int) -> int:
        """The set of the operations outside of a set whose outputs it takes."""
        taken = 0
        for number in numbers(operations):
            taken |= self._sources[number]
        return taken & ~operations


def numbers(operations: int) -> Iterator[int]:
    """The numbers in a set, in ascending order."""
    while operations:
        lowest = operations & -operations
        yield lowest.bit_length() - 1
        operations ^= lowest
