"""The networks of others that `training.py` times beside ours, graph by graph."""


def our_resnet20(side, classes):
    """Our network, to be trained by Keras alone."""
    from keras_resnet.applications import create

    return create("resnet20", classes=classes, input_shape=(side, side, 3))


def keras_applications(side, classes):
    """keras.applications' ResNet50, with logits."""
    import keras

    return keras.applications.ResNet50(
        weights=None, classes=classes, classifier_activation=None
    )


def keras_hub(side, classes):
    """KerasHub's ResNet-50 of torchvision's form, with logits."""
    import keras
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(side, side, 3),
    )
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dense(classes, dtype="float32")(x)
    return keras.Model(backbone.input, x)


def akamaster(classes):
    """Its ResNet-20."""
    from tests.helpers.torch_references import Akamaster

    return Akamaster(3)


def torchvision(classes):
    """Its ResNet-50, which is v1.5."""
    from tests.helpers.torch_references import import_torchvision

    return import_torchvision().models.resnet50(num_classes=classes)


def torchvision_v1(classes):
    """The same with the strides where v1 has them: in the first convolution of a block."""
    model = torchvision(classes)
    for stage in (model.layer2, model.layer3, model.layer4):
        first, second = stage[0].conv1, stage[0].conv2
        first.stride, second.stride = second.stride, first.stride
    return model


PEERS = {  # Of each graph: Keras's and PyTorch's, by name.
    "resnet20": (
        ("our network, model.fit", our_resnet20),
        ("akamaster, PyTorch", akamaster),
    ),
    "resnet50": (
        ("keras.applications, model.fit", keras_applications),
        ("torchvision with v1's strides, PyTorch", torchvision_v1),
    ),
    "resnet50_v1_5": (
        ("KerasHub, model.fit", keras_hub),
        ("torchvision, PyTorch", torchvision),
    ),
}
