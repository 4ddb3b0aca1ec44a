"""The parts of a detector that have weights, as functional Keras models.

One goes from images to feature maps and what the region proposal network says of each
anchor, the other from what ROIAlign pools to logits and offsets.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_resnet.applications import Weights, backbone
from keras_resnet.config.detector import PYRAMID_LEVELS, DetectorSpec
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.detection.pyramid import fan_in_uniform, feature_pyramid
from keras_resnet.models import resnet
from keras_resnet.models.layers import (
    batch_norm,
    frozen_batch_norms,
    initializer,
    relu,
)

CONVOLUTIONS = 4  # Of a box head of "convolutions".


def gaussian(deviation: float) -> keras.initializers.Initializer:
    """What new layers of detectors begin with; Girshick 2015, sec. 2.3."""
    return keras.initializers.RandomNormal(stddev=deviation)


def strides(spec: DetectorSpec) -> tuple[int, ...]:
    """What the image's sides are divided by, for each map of `feature_network`."""
    of_stages = [
        stride for name, stride in spec.network.strides.items() if name != "stem"
    ]
    if spec.neck == "fpn":
        return (*of_stages, 2 * of_stages[-1])
    # With neck "dc5" the last stage has the stride of the third.
    return (of_stages[-2],)


def stages_of(spec: DetectorSpec) -> tuple[str, ...]:
    """The stages whose maps the neck takes.

    Raises:
        ValueError: If the backbone doesn't have those that the neck needs, or a pyramid
            can't be built on them.
    """
    stages = [name for name in spec.network.strides if name != "stem"]
    if spec.neck == "fpn" and len(stages) != PYRAMID_LEVELS - 1:
        raise ValueError(
            f"A backbone with neck='fpn' must have {PYRAMID_LEVELS - 1} stages, as many "
            f"as there are sizes of anchors but one. Received: {spec.network.name!r} "
            f"with {len(stages)}."
        )
    found = [spec.network.strides[name] for name in stages]
    if spec.neck == "fpn" and found != [found[0] * 2**n for n in range(len(found))]:
        raise ValueError(
            "With neck='fpn' each stage of the backbone must halve the map of the one "
            f"before. Received: {spec.network.name!r} with the strides {found}. Take "
            "neck='c4' or neck='dc5'."
        )
    if len(stages) < 2:
        raise ValueError(
            f"A backbone must have two stages or more. Received: {spec.network.name!r} "
            f"with {len(stages)}."
        )
    return {"fpn": tuple(stages), "c4": (stages[-2],), "dc5": (stages[-1],)}[spec.neck]


def feature_network(spec: DetectorSpec, body: keras.Model) -> keras.Model:
    """From images to feature maps and to what the region proposal network puts out.

    Args:
        spec: The detector's row.
        body: The backbone, with a dict of feature maps, of which there are those of
            `stages_of`.

    Returns:
        A model to a dict of lists with an entry per map: ``"maps"``
        ``(batch, height, width, channels)``, ``"objectness"`` (logits)
        ``(batch, anchors)`` and ``"offsets"`` ``(batch, anchors, 4)``.
    """
    maps = [body.output[name] for name in stages_of(spec)]
    if spec.neck == "fpn":
        maps = feature_pyramid(
            maps, filters=spec.pyramid_filters, norm=spec.pyramid_batch_norm
        )
    head = proposal_head(spec, maps[0].shape[-1])
    said = [head(features) for features in maps]
    outputs = {
        "maps": maps,
        "objectness": [one["objectness"] for one in said],
        "offsets": [one["offsets"] for one in said],
    }
    return keras.Model(body.input, outputs, name="features")


def proposal_head(spec: DetectorSpec, channels: int) -> keras.Model:
    """The region proposal network (Ren et al. 2015, sec. 3.1), for maps of any size."""
    anchors = len(spec.anchors.sizes[0]) * len(spec.anchors.ratios)
    x = features = keras.Input((None, None, channels), name="map")
    for number in range(1, spec.proposals.convolutions + 1):
        x = layers.Conv2D(
            channels,
            3,
            padding="same",
            kernel_initializer=gaussian(0.01),
            name=f"rpn_{number}_conv",
        )(x)
        x = relu(x, name=f"rpn_{number}")

    def output(filters, name, shape):
        y = layers.Conv2D(
            filters, 1, kernel_initializer=gaussian(0.01), dtype="float32", name=name
        )(x)
        return layers.Reshape(shape, dtype="float32", name=f"{name}_anchors")(y)

    outputs = {
        "objectness": output(anchors, "rpn_logits", (-1,)),
        "offsets": output(4 * anchors, "rpn_offsets", (-1, 4)),
    }
    return keras.Model(features, outputs, name="proposal_head")


def box_network(
    spec: DetectorSpec, channels: int, classes: int, *, frozen: bool
) -> keras.Model:
    """From pooled maps to logits and offsets.

    Args:
        spec: The detector's row.
        channels: Of the pooled maps.
        classes: Number of classes without the background.
        frozen: Whether the batch norms of a ``"stage"`` keep statistics and scales.

    Returns:
        A model from ``(n, pooled, pooled, channels)`` to a dict of ``"logits"``
        ``(n, classes + 1)`` and ``"offsets"`` ``(n, classes or classes + 1, 4)``. Where
        the row wants context, its second input are features of the whole image for each.
    """
    row = spec.box_head
    inputs = pooled = keras.Input((row.pooled, row.pooled, channels), name="pooled")
    build = {"dense": _dense, "convolutions": _convolutions, "stage": _stage}[
        row.layers
    ]
    # Other heads are new, and so are their batch norms.
    pretrained = frozen and row.layers == "stage"
    with frozen_batch_norms() if pretrained else contextlib.nullcontext():
        x = build(pooled, spec)
    if row.context:
        whole = keras.Input(x.shape[1:], name="whole_image")
        inputs = [pooled, whole]
        x = layers.Concatenate(name="box_context")([x, whole])

    def output(units, deviation, name):
        start = gaussian(deviation)
        return layers.Dense(
            units, kernel_initializer=start, dtype="float32", name=name
        )(x)

    boxes = classes + 1 if row.background_class == "first" else classes
    offsets = layers.Reshape((boxes, 4), dtype="float32", name="box_offsets_classes")(
        output(4 * boxes, 0.001, "box_offsets")
    )
    outputs = {"logits": output(classes + 1, 0.01, "box_logits"), "offsets": offsets}
    return keras.Model(inputs, outputs, name="box_head")


def until_features(spec: DetectorSpec, box_head: keras.Model) -> keras.Model:
    """The part of a box head before its last two layers, with the same layers.

    Args:
        spec: The detector's row.
        box_head: As of `box_network`.

    Returns:
        A model from ``(n, pooled, pooled, channels)`` to ``(n, units)``.
    """
    if spec.box_head.context:
        features = box_head.get_layer("box_context").input[0]
    else:
        features = box_head.get_layer("box_logits").input
    return keras.Model(box_head.inputs[0], features, name="box_features")


def said_of(box_head: keras.Model, features: Any) -> dict[str, Any]:
    """The logits and offsets of a box head, by its last two layers.

    Args:
        box_head: As of `box_network`.
        features: What these layers take, ``(n, units)``.
    """
    offsets = box_head.get_layer("box_offsets")(features)
    return {
        "logits": box_head.get_layer("box_logits")(features),
        "offsets": box_head.get_layer("box_offsets_classes")(offsets),
    }


def _hidden(x, spec, name):
    return layers.Dense(
        spec.box_head.units,
        activation="relu",
        kernel_initializer=fan_in_uniform(),
        name=name,
    )(x)


def _dense(x, spec):
    x = layers.Flatten(name="box_flatten")(x)
    return _hidden(_hidden(x, spec, "box_dense1"), spec, "box_dense2")


def _convolutions(x, spec):
    for number in range(1, CONVOLUTIONS + 1):
        x = layers.Conv2D(
            x.shape[-1],
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer(),
            name=f"box_{number}_conv",
        )(x)
        name = f"box_{number}"
        x = relu(batch_norm(x, name=name), name=name)
    return _hidden(layers.Flatten(name="box_flatten")(x), spec, "box_dense1")


def _stage(x, spec):
    x = resnet.last_stage(x, spec.network)
    return layers.GlobalAveragePooling2D(name="box_pool")(x)


def networks(
    spec: DetectorSpec, classes: int, *, frozen: bool, weights: Weights = None
) -> tuple[keras.Model, keras.Model, Preprocessing]:
    """Both networks of a detector.

    Args:
        spec: The detector's row.
        classes: Number of classes without the background.
        frozen: Whether the row's stages and batch norms are frozen.
        weights: Of the backbone, as of `applications.backbone`.

    Returns:
        `feature_network`, `box_network`, and the backbone's `Preprocessing`.
    """
    frozen_norm = frozen and spec.frozen_batch_norm
    whole = backbone(
        spec.network,
        weights=weights,
        frozen_batch_norm=frozen_norm,
        output_stride=strides(spec)[0] if spec.neck == "dc5" else None,
    )
    features = feature_network(spec, whole)
    channels = features.output["maps"][0].shape[-1]
    box_head = box_network(spec, channels, classes, frozen=frozen_norm)
    _copy_weights(whole, box_head)
    if frozen:
        resnet.freeze(features, spec.frozen_stages)
    return features, box_head, whole.preprocessing


def _copy_weights(whole, box_head):
    """Gives the last stage, where it is the box head, what the backbone's has."""
    names = {layer.name for layer in whole.layers}
    for layer in box_head.layers:
        if layer.weights and layer.name in names:
            layer.set_weights(whole.get_layer(layer.name).get_weights())


def parts(features: keras.Model, box_head: keras.Model) -> Sequence[keras.layers.Layer]:
    """All layers of both networks that have weights."""
    head = features.get_layer("proposal_head")
    layers_of = [*features.layers, *head.layers, *box_head.layers]
    return [one for one in layers_of if one.weights and one is not head]
