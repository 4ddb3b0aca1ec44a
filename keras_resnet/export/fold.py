"""Folds batch norm into the convolutions beside it: fewer layers, the same answers.

In inference a batch norm is ``scale * x + shift`` per channel, which a convolution can
do by itself where nothing lies between them (Jacob et al. 2018, sec. 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Folds batch norm into the convolutions and dense layers around it.

    - A batch norm right behind a linear convolution or dense layer that nothing else
      uses goes into it: all of ResNet v1, and in v2 those inside of the blocks.
    - One right before such a layer goes into it where no border of zeros lies between,
      that is before dense layers and convolutions that are 1x1 or unpadded.
    - All others stay: behind an addition (the first of a pre-activation block), before a
      ReLU, and in layers that are called several times.
    - On TensorFlow a model whose channels are first gets biases that Keras 3.15 may add
      along the width (README.md): fold one whose channels are last.

    Keras's own classes are folded, and none derived from them, which may compute something
    else with their weights, unless it names as ``computes_as`` the class whose results
    it gives.

    Args:
        model: Functional or Sequential `keras.Model`; it stays as it is.

    Returns:
        A new functional `keras.Model` for inference, whose layers keep their names and
        are of the same classes. Outputs differ by rounding alone.

    Raises:
        ValueError: If the model is neither functional nor Sequential.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    # The only public sign of a graph that can be cloned.
    if not isinstance(model, keras.Model) or "input_layers" not in model.get_config():
        raise ValueError(
            "`model` must be a functional model or a built Sequential one: the graph of "
            f"other classes is not known. Received: model={model!r}."
        )
    folds = _folds(model)
    gone = {norm for fold in folds.values() for norm in (fold.before, fold.behind)}

    def clone(layer):
        if isinstance(layer, keras.Model):
            return fold_batch_norm(layer)
        config = layer.get_config()
        if layer.name in folds:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *inputs, **options):
        return inputs[0] if layer.name in gone else layer(*inputs, **options)

    folded = keras.models.clone_model(model, clone_function=clone, call_function=call)
    layers = {layer.name: layer for layer in model.layers}
    for layer in folded.layers:
        # Nested models have theirs; Keras renames input layers, which have none.
        if layer.weights and not isinstance(layer, keras.Model):
            fold = folds.get(layer.name)
            old = layers[layer.name]
            layer.set_weights(fold.weights(layers) if fold else old.get_weights())
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # It computes with copies of its weights.
    return folded


@dataclass
class _Fold:
    """A linear layer and the batch norms that go into it, by name."""

    linear: str
    before: str | None = None
    behind: str | None = None

    def weights(self, layers):
        """The layer's kernel and bias with the batch norms in them."""
        layer = layers[self.linear]
        kernel, *rest = (np.asarray(w, "float64") for w in layer.get_weights())
        bias = rest[0] if rest else np.zeros(kernel.shape[-1])
        if self.before:
            scale, shift = (
                _per_output(v, kernel, layer)
                for v in _scale_and_shift(layers[self.before])
            )
            bias = bias + (kernel * shift).sum(axis=tuple(range(kernel.ndim - 1)))
            kernel = kernel * scale
        if self.behind:
            scale, shift = _scale_and_shift(layers[self.behind])
            kernel, bias = kernel * scale, bias * scale + shift
        return [kernel, bias]


def _scale_and_shift(norm):
    """What a batch norm multiplies by and adds in inference, float64."""
    gamma = np.float64(norm.gamma) if norm.scale else 1.0
    beta = np.float64(norm.beta) if norm.center else 0.0
    scale = gamma / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
    return scale, beta - scale * np.float64(norm.moving_mean)


def _per_output(values, kernel, layer):
    """Values per input channel, as the kernel's last two axes: (in / groups, out)."""
    groups = getattr(layer, "groups", 1)
    values = values.reshape(groups, -1).T  # A group's inputs meet its filters alone.
    return np.repeat(values, kernel.shape[-1] // groups, axis=1)


def _folds(model):
    """Which batch norms go into which layers: name of the layer -> `_Fold`."""
    layers = {layer.name: layer for layer in model.layers}
    sources, users = _graph(model)
    folds = {}
    norms = [  # That are called once.
        name
        for name, layer in layers.items()
        if _class_of(layer) is keras.layers.BatchNormalization
        and len(sources[name]) == 1
    ]
    for name in norms:
        source = layers.get(sources[name][0])
        if _is_linear(source, layers[name], sources) and users[source.name] == [name]:
            folds[source.name] = _Fold(source.name, behind=name)
    behind = {fold.behind for fold in folds.values()}
    for name in norms:
        user = layers.get(users[name][0]) if len(users[name]) == 1 else None
        if (
            name not in behind
            and _is_linear(user, layers[name], sources, activated=True)
            and _has_no_border(user)
        ):
            folds.setdefault(user.name, _Fold(user.name)).before = name
    return folds


def _is_linear(layer, norm, sources, activated=False):
    """Whether a layer is a convolution or dense layer that takes in a batch norm."""
    if _class_of(layer) not in (keras.layers.Conv2D, keras.layers.Dense):
        return False
    rank = norm.input_spec.ndim
    first = getattr(layer, "data_format", None) == "channels_first"
    return (
        len(sources[layer.name]) == 1
        and norm.axis % rank == (1 if first else rank - 1)
        and (activated or layer.activation is keras.activations.linear)
        and not getattr(layer, "quantization_mode", None)
    )


def _class_of(layer):
    """The class whose results a layer gives."""
    return getattr(layer, "computes_as", type(layer))


def _has_no_border(layer):
    if _class_of(layer) is keras.layers.Dense:
        return True
    return layer.padding == "valid" or layer.kernel_size == (1, 1)


def _graph(model):
    """What each operation takes and who takes its output, by name, call by call.

    Read from the configuration, which holds bare `keras.ops` too; the model's outputs
    are used by ``None``.
    """
    config = model.get_config()
    sources = {}
    for layer in config["layers"]:
        for node in layer["inbound_nodes"]:
            for source in _origins(node):
                sources.setdefault(layer["name"], []).append(source)
    users = {layer["name"]: [] for layer in config["layers"]}
    for name, origins in sources.items():
        for origin in origins:
            users[origin].append(name)
    for name in _names(config["output_layers"]):
        users[name].append(None)
    return sources, users


def _origins(value):
    """Names of the operations whose tensors lie in a node's serialized arguments."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            for item in value.values():
                yield from _origins(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _origins(item)


def _names(outputs):
    """Names in ``output_layers``: ``[name, node, tensor]`` or nested lists of it."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if outputs and isinstance(outputs[0], str):
        yield outputs[0]
    else:
        for output in outputs:
            yield from _names(output)
