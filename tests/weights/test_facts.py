"""What a recognised format tells: preprocessing, whether it is assumed, and classes.

The expected values are typed from the sources: torchvision's references, timm's
`resnetv2.py` and `cspnet.py`, keras.applications' `imagenet_utils.py`, trainer.py of
akamaster/pytorch_resnet_cifar10 and main.py of the wide ResNets' PyTorch port.
"""

import pytest

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.class_names import imagenet_classes
from keras_resnet.config.datasets import CIFAR10_CLASSES
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.facts import classes_by_format, told_by_format

IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CAFFE = (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)
HALF = (127.5,) * 3, (127.5,) * 3
CIFAR = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
FACTS = [
    ("akamaster", "resnet20", IMAGENET, "rgb", False, 10),
    ("keras_applications", "resnet50", CAFFE, "bgr", False, 1000),
    ("keras_applications", "resnet101_v2_keras", HALF, "rgb", False, 1000),
    ("drn", "drn_c_26", IMAGENET, "rgb", False, 1000),
    ("wide_resnet", "wide_resnet28_10", CIFAR, "rgb", False, 10),
    ("torchvision", "resnet50_v1_5", IMAGENET, "rgb", True, 1000),
    ("kerashub", "resnet50_v1_5", IMAGENET, "rgb", True, 1000),
    ("kerashub", "resnetv2_50", HALF, "rgb", True, 1000),
    ("timm_v2", "resnetv2_50", HALF, "rgb", True, 1000),
    ("timm_darknet", "darknet53_timm", IMAGENET, "rgb", True, 1000),
]


@pytest.mark.parametrize(
    ("form", "network", "statistics", "order", "assumed", "number"), FACTS
)
def test_facts(form, network, statistics, order, assumed, number):
    spec = ARCHITECTURES[network]
    told = told_by_format(form, spec)
    assert (told.preprocessing.mean, told.preprocessing.std) == statistics
    assert told.preprocessing.channel_order == order
    assert (told.assumed is not None) == assumed
    names = imagenet_classes() if number == 1000 else CIFAR10_CLASSES
    assert classes_by_format(form, spec, number) == names
    assert classes_by_format(form, spec, 7) is None


@pytest.mark.parametrize(
    ("form", "network"), [("own", "resnet50"), ("torchvision", "resnet20")]
)
def test_what_no_format_tells(form, network):
    spec = ARCHITECTURES[network]
    assert told_by_format(form, spec).preprocessing is None
    assert classes_by_format(form, spec, 10) is None


def test_every_format_has_its_facts():
    assert {row[0] for row in FACTS} | {"own"} == FORMATS.keys()


def test_the_order_of_imagenet_s_classes():
    names = imagenet_classes()
    assert len(set(names)) == 1000
    known = {0: "tench", 281: "tabby", 388: "giant panda", 999: "toilet tissue"}
    assert {index: names[index] for index in known} == known
    spec = ARCHITECTURES["darknet53"]
    assert classes_by_format("darknet", spec, 1000) is None
    assert classes_by_format("caffe", ARCHITECTURES["resnet50_caffe"], 1000) == names
