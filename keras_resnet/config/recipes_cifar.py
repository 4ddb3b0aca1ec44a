"""Recipes for CIFAR-10, CIFAR-100 and SVHN, one row each."""

from dataclasses import replace

from keras_resnet.config.augmentations import PadCropFlip
from keras_resnet.config.preprocessing import CIFAR10_MEAN, CIFAR10_STD, Preprocessing
from keras_resnet.config.recipe import CLASSIFIER, FAN_IN, MOMENTUM, Recipe, Target
from keras_resnet.config.schedules import StepDecay

# Updates in an epoch of 50,000 images in batches of 128: the last one, of 80 images, is
# an update in fb.resnet.torch and ResNeXt (dataloader.lua), and is left out in
# wide-residual-networks (train.lua). SVHN: 604,388 images.
RAGGED, WHOLE, WHOLE_SVHN = 391, 390, 4_721
SPLIT = (
    "Trained on 45,000 images, the rest is the validation split; as many updates as in "
    "the source's epochs over all 50,000."
)
# train.lua, updateLR: with a new optimState the momentum's buffer is gone.
RESTART = (
    "The momentum goes on when the learning rate falls, where the source's begins anew."
)
GAMMA = (
    "Batch norm's scales begin at 1, where the source's PyTorch port draws them from "
    "U(0, 1) (pytorch/utils.py, bnparams)."
)
CLASSES = {"cifar10": 0, "cifar100": 1}  # Column of the errors below.


def _target(error, where):
    """A target that was measured on one view of each test image; `None` for none."""
    if error is None:
        return None
    return Target(error=error, protocol="single_crop", where=where)


def _he2015(network, target, warmup_learning_rate=None):
    return Recipe(
        network=network,
        dataset="cifar10",
        batch_size=128,
        steps=64_000,
        validate_every=400,
        schedule=StepDecay(learning_rate=0.1, at=(32_000, 48_000)),
        warmup_learning_rate=warmup_learning_rate,
        augmentation=PadCropFlip(padding=4),
        mean="pixel",
        target=_target(target, "He et al. 2016a, table 6"),
        source="He et al. 2016a, sec. 4.2",
        deviations=(
            "The pixels are divided by the standard deviation of their channel, of "
            "which the paper does not speak.",
            "Trained on 45,000 images: of the final runs' training set the paper does "
            "not say whether it held the 5,000 of the validation split.",
        ),
    )


def _he2016(network, dataset, target):
    return Recipe(
        network=network,
        dataset=dataset,
        batch_size=128,
        steps=64_000,
        validate_every=400,
        schedule=StepDecay(learning_rate=0.1, at=(32_000, 48_000)),
        augmentation=PadCropFlip(padding=4),
        target=_target(target, "He et al. 2016b, table 4: median of 5 runs"),
        source="He et al. 2016b, sec. 3.1 and appendix",
        deviations=(
            SPLIT,
            'Without the 400 updates at 0.01 of the appendix, which calls them "not '
            'necessary" for these networks.',
            "The mean of each channel is subtracted and the pixels are divided by its "
            "standard deviation, as in fb.resnet.torch, on which the authors' "
            "resnet-1k-layers is based; the paper subtracts the mean of each pixel.",
        ),
    )


def _facebook(network):
    return Recipe(
        network=network,
        dataset="cifar10",
        batch_size=128,
        steps=164 * RAGGED,
        validate_every=RAGGED,
        # Epochs are counted from 1: it is the 81st and the 122nd that begin lower.
        schedule=StepDecay(learning_rate=0.1, at=(80 * RAGGED, 121 * RAGGED)),
        nesterov=True,
        augmentation=PadCropFlip(padding=4),
        target=None,
        source="fb.resnet.torch train.lua, opts.lua and datasets/cifar10.lua",
        deviations=(SPLIT, FAN_IN, CLASSIFIER, MOMENTUM),
    )


# train.lua has CIFAR-10's statistics for both sets (meanstd).
_WIDE_PIXELS = Preprocessing(
    channels=3, resize=None, size=(32, 32), mean=CIFAR10_MEAN, std=CIFAR10_STD
)


def _wide(network, dataset, target, dropout=0.0):
    return Recipe(
        network=network,
        dataset=dataset,
        dropout=dropout,
        batch_size=128,
        steps=200 * WHOLE,
        validate_every=WHOLE,
        # Epochs are counted from 1: it is the 60th, ... that begins lower (train.lua).
        schedule=StepDecay(
            learning_rate=0.1, at=(59 * WHOLE, 119 * WHOLE, 159 * WHOLE), factor=0.2
        ),
        nesterov=True,
        weight_decay=5e-4,
        augmentation=PadCropFlip(padding=4, mode="reflect"),
        preprocessing=_WIDE_PIXELS if dataset == "cifar100" else None,
        target=_target(
            target,
            "szagoruyko/wide-residual-networks README.md: images normalized by the mean "
            "and deviation of channels",
        ),
        source="Zagoruyko & Komodakis 2016, sec. 3, and szagoruyko/wide-residual-networks "
        "scripts/train_cifar.sh",
        deviations=(SPLIT, CLASSIFIER, GAMMA, RESTART),
    )


def _wide_svhn():
    return Recipe(
        network="wide_resnet16_8",
        dataset="svhn",
        dropout=0.4,
        batch_size=128,
        steps=160 * WHOLE_SVHN,
        validate_every=WHOLE_SVHN,
        schedule=StepDecay(learning_rate=0.01, at=(79 * WHOLE_SVHN, 119 * WHOLE_SVHN)),
        nesterov=True,
        weight_decay=5e-4,
        augmentation=None,
        target=_target(1.54, "szagoruyko/wide-residual-networks README.md"),
        source="szagoruyko/wide-residual-networks scripts/train_svhn.sh",
        deviations=(
            "Trained on all images but the 6,000 of the validation split; as many "
            "updates as in the source's epochs over all of them.",
            CLASSIFIER,
            GAMMA,
            RESTART,
        ),
    )


def _resnext(network, dataset, target):
    return Recipe(
        network=network,
        dataset=dataset,
        batch_size=128,
        steps=300 * RAGGED,
        validate_every=RAGGED,
        schedule=StepDecay(learning_rate=0.1, at=(150 * RAGGED, 225 * RAGGED)),
        nesterov=True,
        weight_decay=5e-4,
        augmentation=PadCropFlip(padding=4),
        target=_target(
            target, "Xie et al. 2017, table 7, and facebookresearch/ResNeXt README.md"
        ),
        source="Xie et al. 2017, sec. 5.3, and facebookresearch/ResNeXt README.md",
        deviations=(
            SPLIT,
            FAN_IN,
            CLASSIFIER,
            MOMENTUM,
            "The rate falls after 150 and 225 epochs, as the paper says; the code does "
            "it after 147 and 222.",
        ),
    )


def _on_both(function, errors):
    """Rows for CIFAR-10 and CIFAR-100 from their errors; `None` where there is none."""
    return {
        f"{network}_{dataset}": function(network, dataset, row[column])
        for network, row in errors.items()
        for dataset, column in CLASSES.items()
        if row[column] is not None
    }


def _with_dropout(network, rate, errors):
    return {
        f"{network}_dropout_{dataset}": _wide(network, dataset, errors[column], rate)
        for dataset, column in CLASSES.items()
    }


CIFAR_RECIPES: dict[str, Recipe] = {
    "resnet20_cifar10":    _he2015("resnet20", 8.75),
    "resnet32_cifar10":    _he2015("resnet32", 7.51),
    "resnet44_cifar10":    _he2015("resnet44", 7.17),
    "resnet56_cifar10":    _he2015("resnet56", 6.97),
    "resnet110_cifar10":   _he2015("resnet110", 6.43, warmup_learning_rate=0.01),
    "resnet1202_cifar10":  _he2015("resnet1202", 7.93, warmup_learning_rate=0.01),
    "plain20_cifar10":     _he2015("plain20", None),
    "plain56_cifar10":     _he2015("plain56", None),
    **_on_both(_he2016, {
        "resnet110_v2":  (6.37, None),
        "resnet164_v2":  (5.46, 24.33),
        "resnet1001_v2": (4.92, 22.71),
    }),
    "resnet20_fb_cifar10":  _facebook("resnet20"),
    "resnet32_fb_cifar10":  _facebook("resnet32"),
    "resnet44_fb_cifar10":  _facebook("resnet44"),
    "resnet56_fb_cifar10":  _facebook("resnet56"),
    "resnet110_fb_cifar10": _facebook("resnet110"),
    "plain20_fb_cifar10":   _facebook("plain20"),
    "plain56_fb_cifar10":   _facebook("plain56"),
    **_on_both(_wide, {
        "wide_resnet40_4":  (4.53, 21.18),
        "wide_resnet16_8":  (4.27, 20.43),
        "wide_resnet28_10": (4.00, 19.25),
    }),
    "wide_resnet16_4_cifar10": replace(
        _wide("wide_resnet16_4", "cifar10", 5.02),
        target=_target(5.02, "Zagoruyko & Komodakis 2016, table 6, without dropout"),
    ),
    **_with_dropout("wide_resnet28_10", 0.3, (3.89, 18.85)),
    **_with_dropout("wide_resnet40_10", 0.3, (3.8, 18.3)),
    "wide_resnet16_8_svhn": _wide_svhn(),
    **_on_both(_resnext, {
        "resnext29_8x64d":  (3.65, 17.77),
        "resnext29_16x64d": (3.58, 17.31),
    }),
}  # fmt: skip
