"""Takes a network apart: its feature maps, its features and the scores of its classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnet.analysis.graphs import clone, tensors

# Layers that change no number outside of training.
_PASS_ON = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)
# What makes probabilities of scores.
_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


@dataclass(frozen=True, kw_only=True)
class Dissected:
    """A clone of a network, and the tensors inside of it.

    Attributes:
        model: The clone. Functional models in the network lie flat in it.
        tensors: The output of each operation by the operation's name, in the order of the
            network. A layer that is called again has a number behind its name there.
        scores: Of the classes, ``(batch, classes)``: what a softmax or sigmoid at the
            network's end is taken of; where there is none, the network's output. `None`
            of a network that has not one output.
        classifier: The `keras.layers.Dense` that computes the scores, if one does.
        features: What the classifier takes; `None` without one.
        pooled: Name of the feature maps whose global average becomes the features or,
            without a classifier, the scores; `None` where no such average is there.
    """

    model: keras.Model
    tensors: dict[str, keras.KerasTensor]
    scores: keras.KerasTensor | None
    classifier: keras.layers.Dense | None
    features: keras.KerasTensor | None
    pooled: str | None

    def tensor(self, name: str) -> keras.KerasTensor:
        """The output of an operation.

        Raises:
            ValueError: If there is none of this name.
        """
        if name not in self.tensors:
            raise ValueError(
                "`layer` must be the name of a layer of the network. "
                f"Received: layer={name!r}. The last ones are "
                f"{', '.join(list(self.tensors)[-10:])}."
            )
        return self.tensors[name]

    def maps(self, name: str | None = None) -> str:
        """The name of an operation that gives feature maps.

        Args:
            name: Of the operation; by default of the last one, or of the one whose maps
                are pooled.

        Raises:
            ValueError: If there is none, or if its output is no feature map.
        """
        if name is not None:
            shape = self.tensor(name).shape
            if len(shape) != 4:
                raise ValueError(
                    "`layer` must be one that gives feature maps, with an output of 4 "
                    f"dimensions. Received: layer={name!r}, whose output has the shape "
                    f"{shape}."
                )
            return name
        if self.pooled:
            return self.pooled
        found = [name for name, one in self.tensors.items() if len(one.shape) == 4]
        if not found:
            raise ValueError(
                "`model` must have feature maps, outputs of layers with 4 dimensions. "
                f"Received: a model named {self.model.name!r} without any."
            )
        return found[-1]

    def steps(self) -> tuple[str, ...]:
        """The names of the additions or, where there are none, of the convolutions.

        Raises:
            ValueError: If there are neither.
        """
        for kind in (keras.layers.Add, keras.layers.Conv2D):
            found = [
                layer.name for layer in self.model.layers if isinstance(layer, kind)
            ]
            names = tuple(name for name in found if name in self.tensors)
            if names:
                return names
        raise ValueError(
            "Without names of layers, the model must have additions or convolutions. "
            f"Received: a model named {self.model.name!r} without any."
        )


def dissect(
    model: keras.Model,
    behind: dict[str, Callable[[Any], Any]] | None = None,
    *,
    note: Callable[[Any, Any, keras.KerasTensor], None] | None = None,
) -> Dissected:
    """Clones a network and finds what its classes' scores are made from.

    Args:
        model: A functional model or a built `keras.Sequential`; it stays as it is.
        behind: Functions of a tensor by the name of the operation, as in
            `Dissected.tensors`, whose output they are applied to in the clone.
        note: Called with each operation of the clone, its arguments and its output.

    Raises:
        ValueError: If the model is not functional.
    """
    finder = _Finder(behind or {}, note)
    cloned = clone(model, finder.call)
    scores, classifier, features = None, None, None
    if keras.utils.is_keras_tensor(cloned.output):
        scores = finder.back(cloned.output, _is_end)
        classifier, features = finder.classifier(scores)
    pooled = finder.pooled(scores if classifier is None else features)
    if classifier is not None and classifier.activation in _PROBABILITIES:
        scores = _without_activation(classifier)(features)
    return Dissected(
        model=cloned,
        tensors=finder.tensors,
        scores=scores,
        classifier=classifier,
        features=features,
        pooled=pooled,
    )


class _Finder:
    """Notes the operations of a graph while it is cloned."""

    def __init__(
        self,
        behind: dict[str, Callable[[Any], Any]],
        note: Callable[[Any, Any, keras.KerasTensor], None] | None,
    ) -> None:
        self.tensors: dict[str, keras.KerasTensor] = {}
        self._behind = behind
        self._note = note
        # By the `id` of a tensor: the operation that made it, its name, its first input.
        self._made: dict[int, tuple[Any, str, Any]] = {}

    def call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        """Calls an operation of the graph."""
        outputs = operation(*arguments, **options)
        name, number = operation.name, 1
        while name in self.tensors:
            number += 1
            name = f"{operation.name}_{number}"
        inputs = list(tensors((arguments, options)))
        if keras.utils.is_keras_tensor(outputs):
            outputs = self._behind.get(name, _unchanged)(outputs)
            self.tensors[name] = outputs
            # What an operation passes on as it is stays its first maker's.
            made = operation, name, inputs[0] if inputs else None
            self._made.setdefault(id(outputs), made)
            if self._note:
                self._note(operation, (arguments, options), outputs)
        return outputs

    def back(self, tensor: Any, passes: Callable[[Any], bool]) -> Any:
        """What a tensor was in front of the operations of a kind that it came through."""
        while id(tensor) in self._made and passes(self._made[id(tensor)][0]):
            tensor = self._made[id(tensor)][2]
        return tensor

    def classifier(self, scores: Any) -> tuple[keras.layers.Dense | None, Any]:
        """The `Dense` that made scores, if one did, and its input."""
        operation, _, features = self._made.get(id(scores), (None, None, None))
        of_probabilities = (keras.activations.linear, *_PROBABILITIES)
        if isinstance(operation, keras.layers.Dense) and len(features.shape) == 2:
            if operation.activation in of_probabilities:
                return operation, features
        return None, None

    def pooled(self, tensor: Any) -> str | None:
        """The name of the feature maps that a tensor is the global average of, if any."""
        before = self.back(tensor, _passes_on)
        operation, _, maps = self._made.get(id(before), (None, None, None))
        if isinstance(operation, keras.layers.GlobalAveragePooling2D):
            return next(name for name, one in self.tensors.items() if one is maps)
        return None


def _unchanged(tensor: Any) -> Any:
    return tensor


def _passes_on(operation: Any) -> bool:
    linear = getattr(operation, "activation", None) is keras.activations.linear
    is_linear = isinstance(operation, keras.layers.Activation) and linear
    return is_linear or isinstance(operation, _PASS_ON)


def _is_end(operation: Any) -> bool:
    """Whether the scores are still those in front of an operation at the end."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation in (keras.activations.linear, *_PROBABILITIES)
    return isinstance(operation, keras.layers.Softmax) or _passes_on(operation)


def _without_activation(classifier: keras.layers.Dense) -> keras.layers.Dense:
    """A classifier that gives the scores of which another gives the probabilities."""
    config = classifier.get_config() | {
        "activation": None,
        "name": f"{classifier.name}_scores",
    }
    scores = keras.layers.Dense.from_config(config)
    scores.build((None, classifier.kernel.shape[0]))
    scores.set_weights(classifier.get_weights())
    return scores
