"""Models of one block, for comparison with NumPy."""

from dataclasses import replace

import pytest

from keras_resnet.config.spec import ResNetSpec, Stage
from keras_resnet.models.blocks import CONVOLUTIONS
from keras_resnet.models.orders import ORDERS
from keras_resnet.models.resnet import parts
from tests.helpers.reference import model_of

SPEC = ResNetSpec(
    stem="cifar",
    stem_filters=16,
    stages=(Stage(block="basic", repeats=2, filters=16, output_filters=16),),
    dataset="cifar10",
    paper="none",
    source="none",
)


def model_of_block(kind, filters, x, *, stride=1, dilations=(1, 1), first=False, **row):
    """A model of one block named ``b``, of a network with these columns."""
    spec = replace(SPEC, **row)
    wide = 4 if kind.startswith("bottleneck") else 1
    stage = Stage(block=kind, repeats=1, filters=filters, output_filters=wide * filters)
    convolutions = CONVOLUTIONS[kind](stage, stride, dilations, spec.groups)
    functions = parts(spec, stage, block=1 if first else 2)
    return model_of(
        lambda inputs: ORDERS[spec.order].block(inputs, convolutions, functions, "b"),
        x.shape[1:],
    )


def basic_residual(r, x, stride, dilations=(1, 1)):
    """Conv-BN-ReLU, conv-BN."""
    first, second = dilations
    x = r.unit(x, "b_1", stride=stride, dilation=first)
    return r.conv_norm(x, "b_2", dilation=second)


SIZES = pytest.mark.parametrize("size", [8, 9])
