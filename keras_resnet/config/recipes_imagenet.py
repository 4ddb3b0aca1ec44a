"""The recipes for ImageNet as rows of a table: how the papers and their code trained.

The module is longer than others so that all of them are found in one place.
"""

from dataclasses import replace

from keras_resnet.config.augmentations import (
    CutMix,
    InceptionCrop,
    MixUp,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import (
    CROP_ROUNDING,
    Preprocessing,
)
from keras_resnet.config.recipe import (
    CLASSIFIER,
    FAN_IN,
    MOMENTUM,
    Distillation,
    Recipe,
    Target,
    WeightAverage,
)
from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    StepDecay,
)

IMAGES = 1_281_167  # Of the official training set, over which the sources' epochs go.
HELD_OUT = (
    "Trained on all images but the 10,000 of the validation split, shuffled in a window "
    "of 8,192."
)
SPLIT = f"{HELD_OUT[:-1]}; as many updates as in the source's epochs over all of them."
CROP = (
    "The crop's aspect ratio as in fb.resnet.torch, where the source draws its "
    "logarithm uniformly."
)
PER_EPOCH = (
    "The learning rate changes with every update, where that of the source does once an "
    "epoch."
)
PLAIN_CROP = InceptionCrop(jitter=0.0, color=0.0)


def _updates(batch_size, *, ragged):
    """Updates in an epoch; ``ragged`` if an incomplete last batch is one, too."""
    return -(-IMAGES // batch_size) if ragged else IMAGES // batch_size


def _steps(batch_size, epochs, *, ragged=True):
    """Updates in all and between two validations, each after an epoch."""
    updates = _updates(batch_size, ragged=ragged)
    return {
        "batch_size": batch_size,
        "steps": epochs * updates,
        "validate_every": updates,
        "dataset": "imagenet2012",
    }


def _tested_by(source):
    """The data set's preprocessing with the central crop as a source rounds it."""
    return replace(
        DATASETS["imagenet2012"].preprocessing, crop_rounding=CROP_ROUNDING[source]
    )


def _one_crop(error, where):
    return Target(error=error, protocol="single_crop", where=where)


def _he2015(network, target):
    return Recipe(
        network=network,
        dataset="imagenet2012",
        batch_size=256,
        steps=600_000,
        validate_every=5_000,
        schedule=PlateauDecay(learning_rate=0.1, patience=5, min_delta=0.1),
        augmentation=ScaleCropFlip(),
        precise_batch_norm=50_000,
        preprocessing=_tested_by("caffe"),
        target=target,
        source="He et al. 2016a, sec. 3.4",
        deviations=(
            HELD_OUT,
            "Batch norm's statistics are taken from 50,000 training images; the authors "
            "tell no number (KaimingHe/deep-residual-networks, README).",
            "The mean and standard deviation of each channel instead of a mean image.",
            'The paper divides the rate "when the error plateaus": here, when five '
            "validations, 25,000 updates, gain less than 0.1 points.",
        ),
    )


def _every_30_epochs(
    network, target, epochs, *, source, tested_by, deviations=(), **changes
):
    """SGD at 0.1, a tenth of it every 30 epochs."""
    updates = _updates(256, ragged=True)
    row = {
        "schedule": StepDecay(
            learning_rate=0.1,
            at=tuple(epoch * updates for epoch in range(30, epochs, 30)),
        ),
        "nesterov": True,
        "augmentation": InceptionCrop(),
        "preprocessing": _tested_by(tested_by),
        **_steps(256, epochs),
    }
    return Recipe(
        network=network,
        target=target,
        source=source,
        deviations=(SPLIT, *deviations),
        **(row | changes),
    )


def _he2016(network, error):
    return _every_30_epochs(
        network,
        Target(
            error=error,
            protocol="he2016_320",
            where="He et al. 2016b, table 5, scale augmentation",
        ),
        90,
        nesterov=False,
        augmentation=ScaleCropFlip(),
        source="He et al. 2016b, appendix",
        tested_by="fb.resnet.torch",  # On which the authors' code is built.
        deviations=(
            "The paper tells where the rate falls, at 30 and 60 epochs, and not where "
            "training ends: here after 90.",
        ),
    )


_LUA = (
    FAN_IN,
    CLASSIFIER,
    MOMENTUM,
    "Crops are resized bilinearly or, where they shrink, by area, not bicubically.",
)


def _facebook(network, error, *deviations):
    return _every_30_epochs(
        network,
        _one_crop(error, "fb.resnet.torch pretrained/README.md"),
        90,
        source="fb.resnet.torch train.lua and datasets/imagenet.lua",
        tested_by="fb.resnet.torch",
        deviations=(*_LUA, *deviations),
    )


def _resnext(network, error):
    return _every_30_epochs(
        network,
        _one_crop(error, "facebookresearch/ResNeXt README.md"),
        100,
        source="facebookresearch/ResNeXt opts.lua and train.lua",
        tested_by="fb.resnet.torch",
        deviations=_LUA,
    )


def _drn(network, error):
    return _every_30_epochs(
        network,
        _one_crop(error, "fyu/drn README.md"),
        120,
        nesterov=False,
        augmentation=PLAIN_CROP,
        source="fyu/drn classify.py, with the epochs of README.md's command",
        tested_by="drn",
        deviations=(FAN_IN, MOMENTUM),
    )


def _tricks(epochs, error, row, **changes):
    deviations = (
        SPLIT,
        "Colours change as in fb.resnet.torch: the paper scales hue, saturation and "
        "brightness by 0.6 to 1.4.",
        "The network's own initialization, of He et al. 2015, instead of Xavier's.",
    )
    if changes:
        deviations += (_PER_IMAGE,)
    return Recipe(
        network="resnet50d",
        schedule=CosineDecay(learning_rate=0.4, warmup=5 / epochs),
        nesterov=True,
        decay_all=False,
        zero_gamma=True,
        label_smoothing=0.1,
        augmentation=InceptionCrop(),
        target=_one_crop(error, f"He et al. 2019, {row}"),
        source="He et al. 2019, sec. 2 to 5",
        preprocessing=_tested_by("mxnet"),
        deviations=deviations,
        **_steps(1024, epochs, ragged=False),
        **changes,
    )


_MIXUP = {"mixing": (MixUp(alpha=0.2),)}
_PER_IMAGE = (
    "Each image is mixed by a share of its own, as Keras does it; the source's code (of "
    "He et al. 2019, gluon-cv) draws one share per batch."
)


def _torchvision(network, error):
    epochs = 600
    return Recipe(
        network=network,
        schedule=CosineDecay(learning_rate=0.5, warmup=5 / epochs, warmup_from=0.01),
        weight_decay=2e-5,
        decay_all=False,
        label_smoothing=0.1,
        augmentation=PLAIN_CROP,
        rand_augment=RandAugment(operations=1, strength=0.3),
        erasing=0.1,
        mixing=(MixUp(alpha=0.2), CutMix(alpha=1.0)),
        image_sizes=((0.0, 176),),
        # 1 - (1 - 0.99998) * 1024 * 32 / 600: references/classification/train.py.
        average=WeightAverage(decay=0.99890773, every=32),
        preprocessing=replace(_tested_by("torchvision"), resize=232),
        target=Target(
            error=error,
            protocol="torchvision_v2",
            where="torchvision, weights IMAGENET1K_V2",
        ),
        source="pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-"
        "latest-primitives",
        deviations=(
            SPLIT,
            FAN_IN,
            f"{CLASSIFIER[:-1]}; its bias, too, which begins at 0 here.",
            MOMENTUM,
            PER_EPOCH,
            CROP,
            _PER_IMAGE,
            "The average's decay rises at first, to its own: (1 + u) / (10 + u).",
            "One operation of Keras's RandAugment of strength 0.3 (ours) instead of "
            "TrivialAugment.",
            "No repeated augmentation: each epoch shows each image once, not a quarter "
            "of them four times.",
            "The classifier's bias does not decay, either.",
            "Keras's rectangles to erase: height and width are drawn apart.",
        ),
        # references/classification/sampler.py, RASampler: of each epoch, as many images as
        # are whole multiples of 256, over 8 GPUs in batches of 128: 1,251 updates.
        **_steps(1024, epochs, ragged=False),
    )


def _nvidia(epochs, error, **changes):
    deviations = (
        SPLIT,
        MOMENTUM,
        PER_EPOCH,
        "The warm-up begins at 0, where the source's first epoch has an eighth of the "
        "highest rate.",
        CROP,
        "The classifier's bias does not decay, either.",
    )
    if changes:
        deviations += (_PER_IMAGE,)
    return Recipe(
        network="resnet50_v1_5",
        schedule=CosineDecay(learning_rate=2.048, warmup=8 / epochs),
        momentum=0.875,
        weight_decay=1 / 32768,
        decay_all=False,
        label_smoothing=0.1,
        augmentation=PLAIN_CROP,
        target=_one_crop(
            error,
            "resnet50v1.5/README.md, mixed precision, DGX A100 (50 epochs: DGX-2, there "
            "in batches of 4096)",
        ),
        preprocessing=_tested_by("nvidia"),
        source="NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/"
        "configs.yml, resnet_params_2k",
        deviations=deviations,
        **_steps(2048, epochs, ragged=False),
        **changes,
    )


def _darknet():
    steps = 800_000
    return Recipe(
        network="darknet53",
        dataset="imagenet2012",
        batch_size=128,
        steps=steps,
        validate_every=10_000,
        schedule=PolynomialDecay(learning_rate=0.1, power=4.0, warmup=1_000 / steps),
        weight_decay=5e-4,
        decay_all=False,
        augmentation=ScaleCropFlip(shorter_side=(256, 448), color=0.0),
        preprocessing=Preprocessing(
            channels=3,
            resize=256,
            size=(256, 256),
            mean=(0.0, 0.0, 0.0),
            std=(255.0, 255.0, 255.0),
            crop_rounding=CROP_ROUNDING["darknet"],
            exif_orientation=False,
        ),
        target=Target(
            error=22.8,
            protocol="darknet_256",
            where="Redmon & Farhadi 2018, table 2",
        ),
        source="pjreddie/darknet cfg/darknet53.cfg",
        deviations=(
            HELD_OUT,
            MOMENTUM,
            "Scales from 256 instead of 128, where darknet fills up the crop; neither "
            "rotation nor changes of aspect, hue, saturation and exposure.",
        ),
    )


def _ten_crop(error, where):
    return Target(error=error, protocol="he2015_10crop", where=where)


_OPTION_A = "He et al. 2016a, table 2, shortcuts of option A (here B)"
_TABLE_2, _TABLE_3 = "He et al. 2016a, table 2", "He et al. 2016a, table 3"
_KAIMING = "KaimingHe/deep-residual-networks README"
_NORM_AFTER_ADDITION = (
    "The published error is of a network with batch norm after the addition "
    "(pretrained/README.md); here it comes before, as in the source's models/resnet.lua."
)

IMAGENET_RECIPES: dict[str, Recipe] = {
    "resnet18_imagenet":         _he2015("resnet18", _ten_crop(27.88, _OPTION_A)),
    "resnet34_imagenet":         _he2015("resnet34", _ten_crop(24.52, _TABLE_3)),
    "resnet50_imagenet":         _he2015("resnet50", _one_crop(24.7, _KAIMING)),
    "resnet101_imagenet":        _he2015("resnet101", _one_crop(23.6, _KAIMING)),
    "resnet152_imagenet":        _he2015("resnet152", _one_crop(23.0, _KAIMING)),
    "plain18_imagenet":          _he2015("plain18", _ten_crop(27.94, _TABLE_2)),
    "plain34_imagenet":          _he2015("plain34", _ten_crop(28.54, _TABLE_2)),
    "resnet152_v2_imagenet":     _he2016("resnet152_v2", 21.1),
    "resnet200_v2_imagenet":     _he2016("resnet200_v2", 20.7),
    "resnet18_fb_imagenet":      _facebook("resnet18", 30.43),
    "resnet34_fb_imagenet":      _facebook("resnet34", 26.73),
    "resnet50_fb_imagenet":      _facebook("resnet50_v1_5", 24.01, _NORM_AFTER_ADDITION),
    "resnet101_fb_imagenet":     _facebook("resnet101_v1_5", 22.44),
    "resnet152_fb_imagenet":     _facebook("resnet152_v1_5", 22.16),
    "resnet200_fb_imagenet":     _facebook("resnet200_v2", 21.66),
    "resnext50_32x4d_imagenet":  _resnext("resnext50_32x4d", 22.2),
    "resnext101_32x4d_imagenet": _resnext("resnext101_32x4d", 21.2),
    "resnext101_64x4d_imagenet": _resnext("resnext101_64x4d", 20.4),
    "resnet50d_tricks_imagenet": _tricks(120, 21.69, "the row '+ label smoothing'"),
    "resnet50d_mixup_imagenet":  _tricks(200, 20.85, "the row '+ mixup'", **_MIXUP),
    "resnet50d_distill_imagenet": _tricks(
        200, 20.71, "table 1", **_MIXUP,
        distillation=Distillation(teacher="resnet152d"),
    ),
    "resnet50_tv2_imagenet":     _torchvision("resnet50_v1_5", 19.142),
    "resnet101_tv2_imagenet":    _torchvision("resnet101_v1_5", 18.114),
    "resnet152_tv2_imagenet":    _torchvision("resnet152_v1_5", 17.716),
    "resnext50_tv2_imagenet":    _torchvision("resnext50_32x4d", 18.802),
    "resnet50_nv50_imagenet":    _nvidia(50, 24.19),
    "resnet50_nv90_imagenet":    _nvidia(90, 22.88),
    "resnet50_nv250_imagenet":   _nvidia(250, 21.57, **_MIXUP),
    "darknet53_imagenet":        _darknet(),
    "drn_a_18_imagenet":         _drn("drn_a_18", 28.0),
    "drn_a_34_imagenet":         _drn("drn_a_34", 24.8),
    "drn_a_50_imagenet":         _drn("drn_a_50", 22.9),
    "drn_c_26_imagenet":         _drn("drn_c_26", 24.9),
    "drn_c_42_imagenet":         _drn("drn_c_42", 22.9),
    "drn_c_58_imagenet":         _drn("drn_c_58", 21.7),
    "drn_d_22_imagenet":         _drn("drn_d_22", 25.8),
    "drn_d_38_imagenet":         _drn("drn_d_38", 23.8),
    "drn_d_54_imagenet":         _drn("drn_d_54", 21.2),
    "drn_d_105_imagenet":        _drn("drn_d_105", 20.6),
}  # fmt: skip
