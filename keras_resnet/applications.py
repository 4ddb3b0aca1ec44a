"""Networks by their names: constructors as in keras.applications, `create`, `backbone`.

Longer than other modules by the docstrings and signatures of these public functions.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES, complexity
from keras_resnet.config.dilation import with_output_stride
from keras_resnet.config.lookup import arguments_checked, check_arguments, find
from keras_resnet.config.preprocessing import (
    default_preprocessing,
    for_input,
    without_normalization,
)
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.models import resnet
from keras_resnet.models.preprocessing import normalized
from keras_resnet.pixels import check_pixels
from keras_resnet.weights.load import load_weights

__all__ = [
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet18V2",
    "ResNet34V2",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "ResNet200V2",
    "backbone",
    "create",
    "list_models",
    "preprocess_input",
]

# A source and tag, a file, or a dict from names to arrays or tensors.
Weights: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | None

VARIATIONS = (
    "shortcut",
    "merge",
    "squeeze_excitation",
    "dropout",
    "stochastic_depth",
    "zero_gamma",
)


def create(
    network: str | ResNetSpec,
    *,
    weights: Weights = None,
    new_classifier: bool = False,
    output_stride: int | None = None,
    include_preprocessing: bool = False,
    **options: Any,
) -> keras.Model:
    """Builds a published network by its name, or one that a `ResNetSpec` describes.

    Args:
        network: E.g. ``"resnet110"``; `list_models` lists them. Or a `ResNetSpec`.
        weights: `None` for random weights, a source and tag such as
            ``"torchvision:IMAGENET1K_V2"``, a file, the folder of a run or a state dict;
            see `weights.read.read`. The model's ``preprocessing`` is that of the weights
            where they tell it, else that of the network's data set, with a warning.
        new_classifier: Whether the classifier is a new one, with random weights, where
            that of ``weights`` is for another number of classes, or of another kind.
        output_stride: Side of the image divided by that of the last feature map, 8 or
            16: with dilation in place of the strides beyond, and the same weights.
        include_preprocessing: Whether the network itself puts the channels in order and
            normalizes: it takes RGB images with values from 0 to 255, of any dtype, and
            its ``preprocessing`` says that nothing is left to normalize.
        **options: Of the network, in place of its row's: ``shortcut`` (``"A"``, ``"B"``,
            ``"C"`` or ``"D"``), ``merge``, ``squeeze_excitation``, ``dropout``,
            ``stochastic_depth``, ``zero_gamma``; see `config.spec.ResNetSpec`. And of
            `models.resnet.build`: ``input_shape``, ``input_tensor``, ``include_top``,
            ``pooling``, ``classes``, ``classifier_activation`` (by default `None`:
            logits), ``name`` (of the model; by default ``network``).

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If there is no such network, or it can't be built so.
        TypeError: If there is no such option; the message suggests one.
    """
    check_arguments("create", options, CREATE_ARGUMENTS)
    spec, network, options = _varied(network, output_stride, options)
    return _created(
        resnet.build,
        spec,
        network,
        weights,
        include_preprocessing,
        options,
        new_classifier,
    )


def backbone(
    network: str | ResNetSpec,
    *,
    weights: Weights = None,
    features: Iterable[str] | None = None,
    frozen_batch_norm: bool = False,
    output_stride: int | None = None,
    include_preprocessing: bool = False,
    **options: Any,
) -> keras.Model:
    """Builds a network without its classifier that gives its feature maps.

    For detection and segmentation: a backbone of strides 4 to 32 is ``features=("stage1",
    "stage2", "stage3", "stage4")`` of a network for ImageNet.

    Args:
        network: As of `create`.
        weights: As of `create`, of the whole network, with or without its classifier.
            Weights that a choice of ``features`` has saved are loaded by Keras's own
            ``load_weights``, not here.
        output_stride: As of `create`.
        features: Names of the feature maps, of ``"stem"`` (before its pooling),
            ``"stage1"``, …; all of them by default.
        frozen_batch_norm: Whether batch norm keeps its statistics and its scales, as
            detectors train whose batches are too small to estimate them. It keeps them
            when ``trainable`` is set on the model, and when the model is cloned or saved
            and loaded: its layers are `layers.FrozenBatchNormalization`.
        include_preprocessing: As of `create`.
        **options: As of `create`, those of the classifier aside.

    Returns:
        A functional `keras.Model` from images, ``(batch, height, width, channels)`` of
        any size and number of channels, to a dict of feature maps by name. Its
        ``strides`` is a dict of what each map's side is divided by.

    Raises:
        ValueError: If there is no such network or feature map, or it can't be built so.
        TypeError: If there is no such option; the message suggests one.
    """
    check_arguments("backbone", options, BACKBONE_ARGUMENTS)
    spec, network, options = _varied(network, output_stride, options)
    build = functools.partial(resnet.backbone, frozen_batch_norm=frozen_batch_norm)
    model = _created(build, spec, network, weights, include_preprocessing, options)
    maps = dict(model.output)
    names = list(maps) if features is None else list(features)
    unknown = [name for name in names if name not in maps]
    if unknown or not names:
        raise ValueError(
            f"`features` must be one or more of {', '.join(maps)}. "
            f"Received: features={features!r}."
        )
    chosen = keras.Model(
        model.input, {name: maps[name] for name in names}, name=model.name
    )
    chosen.preprocessing = model.preprocessing
    chosen.strides = {name: spec.strides[name] for name in names}
    return chosen


def _arguments(function, build):
    """The arguments of `create` or `backbone`, with those that they hand to ``build``."""
    own = [name for name in inspect.signature(function).parameters if name != "options"]
    _, *handed = inspect.signature(build).parameters  # The first one is the spec.
    return (*own, *(name for name in handed if name not in own), *VARIATIONS)


CREATE_ARGUMENTS: tuple[str, ...] = _arguments(create, resnet.build)
BACKBONE_ARGUMENTS: tuple[str, ...] = _arguments(backbone, resnet.backbone)


def _varied(network, output_stride, options):
    """A network's spec with the variations among the options, its name, and the others."""
    if isinstance(network, ResNetSpec):
        spec, name = network, network.name
    else:
        spec, name = find(ARCHITECTURES, network, kind="network"), network
    changes = {key: options[key] for key in VARIATIONS if key in options}
    others = {key: options[key] for key in options if key not in changes}
    spec = replace(spec, **changes) if changes else spec
    if output_stride is not None:
        spec = with_output_stride(spec, output_stride)
    return spec, name, {"name": name, **others}


def _created(
    build, spec, network, weights, include_preprocessing, options, new_classifier=False
):
    """A model by `resnet.build` or `resnet.backbone`, with weights and preprocessing."""
    given = options.pop("input_tensor", None)
    if given is not None:
        options["input_shape"] = resnet.shape_of(given)
    # Weights are read into the network alone: they may say how it wants its images, and
    # what the caller has put before it is not theirs.
    alone = build(spec, **options)
    preprocessing = _filled(alone, weights, spec, network, new_classifier)
    if given is None and not include_preprocessing:
        return alone
    images = (
        keras.Input(alone.input_shape[1:], name="image") if given is None else given
    )
    if include_preprocessing:
        images = normalized(images, preprocessing)
        preprocessing = without_normalization(preprocessing)
    model = build(spec, **options, input_tensor=images)
    for layer in alone.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    model.preprocessing = preprocessing
    return model


def _filled(model, weights, spec, network, new_classifier):
    """Reads weights into a network; returns its preprocessing, which it then has too."""
    known = None
    if weights is not None:
        known = load_weights(
            model, weights, spec, network=network, new_classifier=new_classifier
        )
    height, width, channels = resnet.image_shape(model)
    model.preprocessing = for_input(
        known or default_preprocessing(spec), (height, width), channels
    )
    return model.preprocessing


def list_models(*, details: bool = False) -> list[str] | dict[str, dict[str, Any]]:
    """Lists the published networks.

    Args:
        details: Whether to say more than the names.

    Returns:
        The names (list of str), or a dict from name to a dict of ``parameters``
        (trainable), ``multiply_adds`` (of convolutions and classifier, for one image
        of ``image_size``), ``image_size`` (pixels), ``classes``, ``paper``, ``source``.
    """
    if not details:
        return list(ARCHITECTURES)
    counts = complexity()
    return {
        name: {**counts[name], "paper": spec.paper, "source": spec.source}
        for name, spec in ARCHITECTURES.items()
    }


def preprocess_input(x: Any, network: str | ResNetSpec | keras.Model) -> Any:
    """Normalizes images as a network's weights expect them.

    There is no global default: preprocessing belongs to the weights.

    Args:
        x: Images with values from 0 to 255, shape ``(…, height, width, channels)``,
            RGB, already of the size that the network takes. NumPy arrays are checked
            by `pixels.check_pixels`; the values of tensors are not.
        network: A name or a `ResNetSpec`, for the mean and standard deviation of the data
            set that the network was published for, or a model from `create` or `load`,
            for those of its weights.

    Returns:
        ``(x - mean) / std`` as float32, NumPy if ``x`` is; in the order B, G, R where
        the weights want it.

    Raises:
        ValueError: If the channels don't fit, an array holds no pixels (it was divided
            by 255 or normalized already, for example), or nothing is known of the model.
    """
    if isinstance(network, str):
        network = find(ARCHITECTURES, network, kind="network")
    if isinstance(network, ResNetSpec):
        preprocessing = default_preprocessing(network)
    else:
        preprocessing = getattr(network, "preprocessing", None)
        if preprocessing is None:
            raise ValueError(
                "The model must have been made by `keras_resnet.create` or "
                "`keras_resnet.load`; of others the preprocessing isn't known: give a "
                f"network's name. Received: {network!r}."
            )
    if x.shape[-1] != preprocessing.channels:
        raise ValueError(
            f"Images must have {preprocessing.channels} channels, last: mean and scale "
            "of others aren't known, so normalize those by your own. "
            f"Received: shape {tuple(x.shape)}."
        )
    if isinstance(x, np.ndarray):
        check_pixels(x, "`x`")
    if preprocessing.channel_order == "bgr":
        # PyTorch's tensors have no negative steps.
        x = x[..., ::-1] if isinstance(x, np.ndarray) else keras.ops.flip(x, axis=-1)
    mean = np.asarray(preprocessing.mean, "float32")
    std = np.asarray(preprocessing.std, "float32")
    if isinstance(x, np.ndarray):
        return (x.astype("float32") - mean) / std
    return (keras.ops.cast(x, "float32") - mean) / std


class Constructor(Protocol):
    """Instantiates one network, by the arguments of `keras.applications.ResNet50`."""

    __name__: str

    def __call__(
        self,
        include_top: bool = True,
        weights: Weights = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = ...,
    ) -> keras.Model:
        """Instantiates the network; see the constructor's own docstring."""
        ...


def _constructor(network: str, public_name: str) -> Constructor:
    spec = ARCHITECTURES[network]

    def constructor(
        include_top: bool = True,
        weights: Weights = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = network,
    ) -> keras.Model:
        return create(
            network,
            weights=weights,
            include_top=include_top,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
        )

    constructor.__name__ = constructor.__qualname__ = public_name
    constructor.__doc__ = f"""Instantiates {public_name} ({spec.paper}).

    The arguments are those of `keras.applications.ResNet50`, with two differences:
    ``weights`` defaults to `None` (random), and takes other sources and files than
    ``"imagenet"``, which is for those that keras.applications has; ``classes`` may be
    chosen with random weights and with a file's. The graph follows {spec.source}.

    Args:
        include_top: Whether the classifier is part of the network.
        weights: As of `create`; ``"imagenet"`` is ``"keras:imagenet"``.
        input_tensor: Keras tensor of images to build upon.
        input_shape: Shape of one image; ``(224, 224, 3)`` by default, and of any
            size without the classifier. Each side at least 32 pixels.
        pooling: Without the classifier: `None` for the last feature map, ``"avg"`` or
            ``"max"``.
        classes: Number of classes.
        classifier_activation: ``"softmax"``, or `None` for logits.
        name: Name of the model.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: If the arguments or the weights don't fit the network.
    """
    return arguments_checked(constructor)


ResNet18: Constructor = _constructor("resnet18", "ResNet18")
"""ResNet-18, v1; a `Constructor`."""
ResNet34: Constructor = _constructor("resnet34", "ResNet34")
"""ResNet-34, v1; a `Constructor`."""
ResNet50: Constructor = _constructor("resnet50", "ResNet50")
"""ResNet-50, v1; a `Constructor`."""
ResNet101: Constructor = _constructor("resnet101", "ResNet101")
"""ResNet-101, v1; a `Constructor`."""
ResNet152: Constructor = _constructor("resnet152", "ResNet152")
"""ResNet-152, v1; a `Constructor`."""
ResNet18V2: Constructor = _constructor("resnet18_v2", "ResNet18V2")
"""ResNet-18, v2; a `Constructor`."""
ResNet34V2: Constructor = _constructor("resnet34_v2", "ResNet34V2")
"""ResNet-34, v2; a `Constructor`."""
ResNet50V2: Constructor = _constructor("resnet50_v2", "ResNet50V2")
"""ResNet-50, v2; a `Constructor`."""
ResNet101V2: Constructor = _constructor("resnet101_v2", "ResNet101V2")
"""ResNet-101, v2; a `Constructor`."""
ResNet152V2: Constructor = _constructor("resnet152_v2", "ResNet152V2")
"""ResNet-152, v2; a `Constructor`."""
ResNet200V2: Constructor = _constructor("resnet200_v2", "ResNet200V2")
"""ResNet-200, v2; a `Constructor`."""
