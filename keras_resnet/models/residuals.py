"""What is done to a residual before the addition, and the batch norm that ends it."""

from functools import partial

import keras
from keras import layers

from keras_resnet.config.spec import ResNetSpec
from keras_resnet.models.layers import TensorFunction, batch_norm, channels, conv


def squeeze_and_excite(
    x: keras.KerasTensor, *, ratio: int, name: str
) -> keras.KerasTensor:
    """Scales each channel by what a small net makes of all channels' averages.

    Hu et al. 2018, sec. 3; the reduced channels are rounded to multiples of 8, as in
    timm.
    """
    filters = channels(x)
    reduced = max(8, (filters // ratio + 4) // 8 * 8)
    s = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(x)
    s = conv(s, reduced, 1, bias=True, name=f"{name}_se_1")
    s = layers.ReLU(name=f"{name}_se_1_relu")(s)
    s = conv(s, filters, 1, bias=True, name=f"{name}_se_2")
    s = layers.Activation("sigmoid", name=f"{name}_se_2_sigmoid")(s)
    return layers.Multiply(name=f"{name}_se")([x, s])


def drop_residual(x: keras.KerasTensor, *, rate: float, name: str) -> keras.KerasTensor:
    """Leaves the residual out for a random share of the images, in training.

    Huang et al. 2016, sec. 3, who leave it out for all images of a batch: what is kept is
    scaled up in training here, instead of down in testing.
    """
    return layers.Dropout(
        rate, noise_shape=(None, 1, 1, 1), name=f"{name}_stochastic_depth"
    )(x)


def transform_of(spec: ResNetSpec, block: int, blocks: int) -> TensorFunction:
    """What is done to the residual of block number ``block`` of ``blocks``, from 1."""
    rate = spec.stochastic_depth * block / blocks

    def transform(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        if spec.squeeze_excitation:
            x = squeeze_and_excite(x, ratio=spec.squeeze_excitation, name=name)
        if rate:
            x = drop_residual(x, rate=rate, name=name)
        return x

    return transform


def last_norm_of(spec: ResNetSpec) -> TensorFunction:
    """The batch norm that ends a residual; with a scale of 0 at first if asked for."""
    return partial(batch_norm, gamma="zeros") if spec.zero_gamma else batch_norm
