"""Writes the weights of our networks as state dicts of torchvision and timm."""

import keras
import numpy as np

from keras_resnet.config.spec import ResNetSpec
from keras_resnet.weights.conventions import FORMATS, Format

# The stems and the shortcuts of the networks that a library has.
STATE_DICTS = {
    "torchvision": (("imagenet",), ("B",)),
    "timm": (("imagenet", "deep", "bare", "darknet_timm"), ("B", "D")),
}


def to_state_dict(
    model: keras.Model, spec: ResNetSpec, form: str
) -> dict[str, np.ndarray]:
    """Returns the weights of a model in a library's names and layout.

    Args:
        model: A network of ours.
        spec: The `ResNetSpec` that it was built from.
        form: The library, ``"torchvision"`` or ``"timm"``.

    Returns:
        From name to array, float32 except for the counters of batches. The library's
        network loads it with ``strict=True``.

    Raises:
        ValueError: If the library has no such network.
    """
    torch_forms = ["torchvision"]
    if form == "timm":
        torch_forms += ["timm_v2", "timm_darknet"]
    elif form != "torchvision":
        raise ValueError(
            "A state dict can be written for 'torchvision' or 'timm'. "
            f"Received: {form!r}."
        )
    if spec.stages[0].block == "bottleneck":
        raise ValueError(
            f"{form} has no network like {model.name!r}: its bottlenecks have the stride "
            "on the 3x3 convolution, and would give wrong logits with weights that were "
            "trained with it on the first 1x1. Received: a network with it there."
        )
    stems, shortcuts = STATE_DICTS[form]
    if (
        spec.stem not in stems
        or spec.shortcut not in shortcuts
        or spec.merge is not None
        or (spec.squeeze_excitation and form == "torchvision")
    ):
        torch_forms = []
    for name in torch_forms:
        arrays = named_arrays(model, spec, FORMATS[name])
        if arrays:
            return arrays
    raise ValueError(
        f"{form} has no network like {model.name!r}: it has v1 networks for ImageNet"
        + (
            ", C, D and SE too, the resnetv2_ ones and darknet53_timm."
            if form == "timm"
            else "."
        )
    )


def named_arrays(
    model: keras.Model, spec: ResNetSpec, form: Format
) -> dict[str, np.ndarray] | None:
    """Returns the weights of a model in a format of PyTorch's.

    Args:
        model: A network of ours.
        spec: The `ResNetSpec` that it was built from.
        form: One of `conventions.FORMATS` whose layout is PyTorch's.

    Returns:
        From name to array, or `None` if the format has no name for one of the layers.
    """
    arrays = {}
    for variable, array in zip(model.weights, model.get_weights(), strict=True):
        layer, name = variable.path.split("/")[-2:]
        key = form.key(spec, layer, name)
        if key is None:
            return None
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
            if form is FORMATS["timm_v2"]:
                array = array[:, :, None, None]
        arrays[key] = np.ascontiguousarray(array)
        if name == "moving_mean":
            counter = key.replace("running_mean", "num_batches_tracked")
            arrays[counter] = np.zeros((), "int64")
    return arrays
