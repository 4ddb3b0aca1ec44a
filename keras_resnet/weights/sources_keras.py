"""Fetches published weights from keras.applications and KerasHub.

Both download by themselves: keras.applications checks an MD5, KerasHub checks nothing.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.class_names import imagenet_classes
from keras_resnet.config.preprocessing import CROP_ROUNDING, Preprocessing
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.download import Published, by_library, imagenet, refuse
from keras_resnet.weights.facts import keras_applications
from keras_resnet.weights.packages import imported

# Our networks and the constructors of the same graphs in keras.applications.
KERAS = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "resnet50_v2_keras": "ResNet50V2",
    "resnet101_v2_keras": "ResNet101V2",
    "resnet152_v2_keras": "ResNet152V2",
}
# Our networks and how the names of their presets begin, before "_imagenet" and so on.
KERASHUB = {
    "resnet18": "resnet_18",
    "resnet50_v1_5": "resnet_50",
    "resnet101_v1_5": "resnet_101",
    "resnet152_v1_5": "resnet_152",
    "resnetv2_50": "resnet_v2_50",
    "resnetv2_101": "resnet_v2_101",
    "resnet50d": "resnet_vd_50",
    "resnet101d": "resnet_vd_101",
    "resnet152d": "resnet_vd_152",
}


def applications(tag: str, network: str, spec: ResNetSpec) -> Published:
    """Fetches ``"keras:imagenet"``, the weights of keras.applications."""
    if tag != "imagenet" or network not in KERAS:
        advice = "another network takes another source (README, Weights)"
        if f"{network}_keras" in KERAS:
            advice = f"keras.applications' graph of this name is our '{network}_keras'"
        known = f"'keras:imagenet' is of {', '.join(KERAS)}; {advice}."
        refuse(f"keras:{tag}", network, known)
    build = getattr(keras.applications, KERAS[network])
    model = by_library(
        f"keras:{tag}", lambda: build(weights="imagenet", classifier_activation=None)
    )
    return Published(
        keras_state(model),
        keras_applications(spec),
        origin=f"keras.applications.{KERAS[network]}",
        classes=imagenet_classes(),
        reference=partial(_keras_logits, model),
    )


def kerashub(tag: str, network: str, spec: ResNetSpec) -> Published:
    """Fetches a preset of KerasHub, such as ``"kerashub:resnet_50_imagenet"``."""
    if not is_preset_of(network, tag):
        name = KERASHUB.get(network)
        refuse(
            f"kerashub:{tag}",
            network,
            f"Its presets begin with '{name}_'." if name else "It has none.",
        )
    keras_hub = imported("keras_hub", f"'kerashub:{tag}'")
    model = by_library(
        f"kerashub:{tag}",
        lambda: keras_hub.models.ImageClassifier.from_preset(tag),
    )
    model.output_dense.activation = keras.activations.linear
    return Published(
        keras_state(model),
        kerashub_preprocessing(model.preprocessor.image_converter.get_config()),
        origin=f"keras_hub preset {tag}",
        classes=imagenet_classes(),
        reference=partial(_keras_logits, model),
    )


def network_called(name: str) -> str | None:
    """Returns the network of ours that a model's name means, `None` if it is none's.

    Args:
        name: The name of a Keras model: ours, or that of keras.applications' constructor
            in small letters, such as ``"resnet50v2"``.
    """
    theirs = {called.lower(): network for network, called in KERAS.items()}
    return name if name in ARCHITECTURES else theirs.get(name)


def is_preset_of(network: str, tag: str) -> bool:
    """Returns whether a preset of KerasHub, or a handle of one, is of a network of ours."""
    name = KERASHUB.get(network)
    return name is not None and bool(re.match(rf"(.*/)?{name}_(ssld_|imagenet)", tag))


def kerashub_preprocessing(converter: Mapping[str, Any]) -> Preprocessing:
    """Writes KerasHub's ``x * scale + offset`` as ``(x - mean) / std``.

    Args:
        converter: The configuration of its ``ImageConverter``.
    """
    scale, offset = (
        np.broadcast_to(default if value is None else value, 3).astype(float)
        for value, default in ((converter["scale"], 1.0), (converter["offset"], 0.0))
    )
    size = tuple(converter["image_size"] or (224, 224))
    return imagenet(
        # KerasHub crops to the target's aspect ratio and then resizes, so that nothing
        # of the shorter side is lost.
        resize=max(size) if converter["crop_to_aspect_ratio"] else None,
        size=size,
        mean=tuple(np.round(-offset / scale, 4).tolist()),
        std=tuple(np.round(1 / scale, 4).tolist()),
        interpolation=converter["interpolation"],
        crop_rounding=CROP_ROUNDING["keras"],
    )


def keras_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the arrays of a Keras model, named ``layer/variable``."""
    return {
        "/".join(variable.path.split("/")[-2:]): keras.ops.convert_to_numpy(variable)
        for variable in model.weights
    }


def _keras_logits(model, state, images):
    if keras.config.image_data_format() == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    # Not `predict`, in which KerasHub's classifiers preprocess their images.
    logits = keras.ops.stop_gradient(model(images, training=False))
    return keras.ops.convert_to_numpy(logits)
