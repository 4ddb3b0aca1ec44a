"""The networks by name: constructors as in keras.applications, `create`, the list."""

from dataclasses import replace

import keras
import numpy as np

from keras_resnet.config.architectures import ARCHITECTURES, complexity
from keras_resnet.config.dilation import with_output_stride
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import default_preprocessing, for_input
from keras_resnet.models import resnet
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


VARIATIONS = (
    "shortcut",
    "merge",
    "squeeze_excitation",
    "dropout",
    "stochastic_depth",
    "zero_gamma",
)


def create(network, *, weights=None, output_stride=None, **options):
    """Builds a published network by its name.

    Args:
        network: E.g. ``"resnet110"``; `list_models` lists them.
        weights: `None` for random weights, a source and tag such as
            ``"torchvision:IMAGENET1K_V2"``, a file or a state dict; see
            `weights.load.load_weights`. The model's ``preprocessing`` is that of
            the weights where they say, else that of the network's data set.
        output_stride: Side of the image divided by that of the last feature map, 8 or
            16: with dilation in place of the strides beyond, and the same weights.
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
    """
    spec, options = _varied(network, output_stride, options)
    options.setdefault("name", network)
    model = resnet.build(spec, **options)
    return _filled(model, weights, spec, network)


def backbone(
    network,
    *,
    weights=None,
    features=None,
    frozen_batch_norm=False,
    output_stride=None,
    **options,
):
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
            detectors train whose batches are too small to estimate them.
        **options: As of `create`, those of the classifier aside.

    Returns:
        A functional `keras.Model` from images, ``(batch, height, width, channels)`` of
        any size and number of channels, to a dict of feature maps by name. Its
        ``strides`` is a dict of what each map's side is divided by.

    Raises:
        ValueError: If there is no such network or feature map, or it can't be built so.
    """
    spec, options = _varied(network, output_stride, options)
    options.setdefault("name", network)
    model = resnet.backbone(spec, **options)
    _filled(model, weights, spec, network)
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
    if frozen_batch_norm:
        for layer in chosen.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    chosen.preprocessing = model.preprocessing
    chosen.strides = {name: spec.strides[name] for name in names}
    return chosen


def _varied(network, output_stride, options):
    """The row of a network with the variations among the options, and the others."""
    spec = find(ARCHITECTURES, network, kind="network")
    changes = {name: options[name] for name in VARIATIONS if name in options}
    others = {name: options[name] for name in options if name not in changes}
    spec = replace(spec, **changes) if changes else spec
    if output_stride is not None:
        spec = with_output_stride(spec, output_stride)
    return spec, others


def _filled(model, weights, spec, network):
    known = None
    if weights is not None:
        known = load_weights(model, weights, spec, network=network)
    height, width, channels = resnet.image_shape(model)
    model.preprocessing = for_input(
        known or default_preprocessing(spec), (height, width), channels
    )
    return model


def list_models(*, details=False):
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


def preprocess_input(x, network):
    """Normalizes images as a network's weights expect them.

    There is no global default: preprocessing belongs to the weights.

    Args:
        x: Images with values from 0 to 255, shape ``(…, height, width, channels)``,
            RGB, already of the size that the network takes.
        network: A name, for the mean and standard deviation of the data set that the
            network was published for, or a model from `create` or `load`, for those of
            its weights.

    Returns:
        ``(x - mean) / std`` as float32, NumPy if ``x`` is; in the order B, G, R where
        the weights want it.

    Raises:
        ValueError: If the channels don't fit, or nothing is known of the model.
    """
    if isinstance(network, str):
        spec = find(ARCHITECTURES, network, kind="network")
        preprocessing = default_preprocessing(spec)
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
            f"Images must have {preprocessing.channels} channels, last. "
            f"Received: shape {tuple(x.shape)}."
        )
    if preprocessing.channel_order == "bgr":
        # PyTorch's tensors have no negative steps.
        x = x[..., ::-1] if isinstance(x, np.ndarray) else keras.ops.flip(x, axis=-1)
    mean = np.asarray(preprocessing.mean, "float32")
    std = np.asarray(preprocessing.std, "float32")
    if isinstance(x, np.ndarray):
        return (x.astype("float32") - mean) / std
    return (keras.ops.cast(x, "float32") - mean) / std


def _constructor(network, public_name):
    spec = ARCHITECTURES[network]

    def constructor(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=network,
    ):
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
    return constructor


ResNet18 = _constructor("resnet18", "ResNet18")
ResNet34 = _constructor("resnet34", "ResNet34")
ResNet50 = _constructor("resnet50", "ResNet50")
ResNet101 = _constructor("resnet101", "ResNet101")
ResNet152 = _constructor("resnet152", "ResNet152")
ResNet18V2 = _constructor("resnet18_v2", "ResNet18V2")
ResNet34V2 = _constructor("resnet34_v2", "ResNet34V2")
ResNet50V2 = _constructor("resnet50_v2", "ResNet50V2")
ResNet101V2 = _constructor("resnet101_v2", "ResNet101V2")
ResNet152V2 = _constructor("resnet152_v2", "ResNet152V2")
ResNet200V2 = _constructor("resnet200_v2", "ResNet200V2")
