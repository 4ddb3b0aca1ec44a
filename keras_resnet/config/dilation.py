"""Networks with larger feature maps: dilation in place of the last strides."""

from dataclasses import replace

from keras_resnet.config.orders import ORDERS
from keras_resnet.config.spec import STEM_STRIDES, ResNetSpec


def with_output_stride(spec: ResNetSpec, output_stride: int) -> ResNetSpec:
    """The network with dilation in place of the strides beyond ``output_stride``.

    The weights are the same. A stage's first block keeps the dilation of the stage
    before in the convolution that had the stride, as in torchvision and timm.

    Args:
        spec: Of any network.
        output_stride: Side of the image divided by the side of the last feature map.

    Raises:
        ValueError: If the network has no such stride on its way.
    """
    strides = sorted(set(spec.strides.values()))
    if not ORDERS[spec.order].dilates:
        raise ValueError(
            "`output_stride` needs a network whose blocks begin with the stride, all but "
            "keras.applications' v2, DarkNet and Highway nets. "
            f"Received: output_stride={output_stride} with order={spec.order!r}."
        )
    if output_stride not in strides:
        raise ValueError(
            f"`output_stride` must be one of {strides}, the strides of the network's "
            f"feature maps. Received: output_stride={output_stride!r}."
        )
    first, pooling = STEM_STRIDES[spec.stem]
    if output_stride < first * pooling:
        raise ValueError(
            f"`output_stride` must be at least {first * pooling}: the stem can't be "
            f"dilated. Received: output_stride={output_stride}."
        )
    stages, stride, dilation = [], first * pooling, 1
    for stage in spec.stages:
        before = dilation
        if stride * stage.stride > output_stride:
            dilation *= stage.stride
            stage = replace(stage, stride=1)
        stride *= stage.stride
        if dilation > 1:
            # With the stride on the first 1x1 the 3x3 has it behind itself already.
            behind = dilation if stage.block == "bottleneck" else before
            stage = replace(
                stage,
                dilation=stage.dilation * dilation,
                first_dilations=tuple(
                    own * new
                    for own, new in zip(
                        stage.dilations(1), (behind, dilation), strict=True
                    )
                ),
            )
        stages.append(stage)
    return replace(spec, stages=tuple(stages))
