"""The fields of a training recipe, and what values they can have.

Every class here is a frozen dataclass of plain values. Change one with
`dataclasses.replace`, for example::

    recipe = keras_resnet.config.RECIPES["resnet20_cifar10"]
    mine = replace(
        recipe, name="my_resnet20", schedule=replace(recipe.schedule, learning_rate=0.05)
    )
"""

import math
from dataclasses import dataclass
from typing import Literal

from keras_resnet.config.augmentations import (
    Augmentation,
    CutMix,
    InceptionCrop,
    MixUp,
    PadCropFlip,
    RandAugment,
    ScaleCropFlip,
)
from keras_resnet.config.checks import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    check_name,
    check_numbers,
    is_integer,
    set_tuples,
)
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import PROTOCOLS
from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    Schedule,
    StepDecay,
)
from keras_resnet.config.spec import ResNetSpec

# What many recipes do otherwise than their sources, in words for their rows.
FAN_IN = (
    "Kernels begin with a variance of 2 / fan-in (He et al. 2015), where the source has "
    "2 / fan-out."
)
# Torch's nn.Linear, of which the sources zero the bias alone: fb.resnet.torch
# models/resnet.lua, ResNeXt models/resnext.lua, wide-residual-networks models/utils.lua.
CLASSIFIER = (
    "The classifier's weights begin with a variance of 2 / n, n its inputs, where the "
    "source draws them uniformly between plus and minus 1 / sqrt(n)."
)
# The same while the rate is constant (torch.optim.SGD; Torch's optim.sgd; darknet,
# update_convolutional_layer). At momentum 0.9, a third of a velocity is left after ten.
MOMENTUM = (
    "The momentum's velocity holds the learning rate, as in Caffe, where the source "
    "multiplies by it afterwards: after a change of the rate they differ for some ten "
    "updates."
)

# Half a month at a thousand a second, and hundreds of times what any recipe makes. (JAX
# counts them in 32 bits.)
MOST_STEPS = 10**9


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The loss also draws the logits to a teacher's; He et al. 2019, sec. 5.3.

    Attributes:
        teacher: Key of `ARCHITECTURES`; its weights come with the run.
        temperature: By which both networks' logits are divided.
    """

    teacher: str
    temperature: float = 20.0

    def __post_init__(self) -> None:
        check_numbers(self, temperature=POSITIVE)


@dataclass(frozen=True, kw_only=True)
class WeightAverage:
    """An exponential moving average of weights and batch-norm statistics.

    Attributes:
        decay: Kept of the average at each of its updates.
        every: Training updates between two updates of the average.
    """

    decay: float
    every: int

    def __post_init__(self) -> None:
        check_numbers(self, decay=BELOW_ONE, every=COUNT)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The error that a recipe's source reports.

    Attributes:
        error: Top-1 test error, in percent.
        protocol: Key of `PROTOCOLS`: how it was measured.
        where: Table or file that reports it, and over how many runs.
    """

    error: float
    protocol: str
    where: str

    def __post_init__(self) -> None:
        check_numbers(self, error=NOT_NEGATIVE)
        find(PROTOCOLS, self.protocol, kind="protocol")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a training run, except the seed.

    Attributes:
        name: What its runs are called; of a row of `RECIPES`, its key.
        network: Key of `ARCHITECTURES`, or a `ResNetSpec`.
        dataset: Key of `DATASETS`, or the path of a folder of images. Where a name
            could be both, ``"./cifar10"`` is the folder, ``"tfds:cifar10"`` the data set.
        dropout: Rate between the convolutions of a pre-activation block, over the
            network's own.
        batch_size: Images per update, over all devices.
        steps: Updates in total.
        validate_every: Updates between two validations.
        schedule: Of the learning rate.
        warmup_learning_rate: Used until the training error is under 80 %; `None`
            begins with the schedule. He et al. 2016a, sec. 4.2.
        momentum: Of SGD, in Caffe's form, with the learning rate in the velocity.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: The `d` in ``gradient + d * w``.
        decay_all: Whether biases, gammas and betas decay too.
        zero_gamma: Whether the last batch norm of each block begins with a scale of 0.
        label_smoothing: Share of the label that all classes get alike.
        augmentation: Of the training images; `None` for none.
        rand_augment: After the crop, on pixels; `None` for none.
        erasing: Probability that a random rectangle of an image is erased.
        mixing: Of each batch one of these, each equally often; empty for none.
        image_sizes: Sides of the training images: pairs of the share of the updates
            from which on, rising from 0, and pixels. Empty for the network's own.
        average: Of the weights, which is validated and kept; `None` for none.
        precise_batch_norm: Training images from which batch-norm statistics are taken
            anew after training; 0 keeps the moving averages.
        distillation: From a teacher; `None` for none.
        mean: Whether the mean of each channel or of each pixel is subtracted.
        preprocessing: Of the images, where it isn't the data set's.
        target: The test error that the source reports, or `None`.
        source: Where all this is said.
        deviations: What is known to differ from the source.

    Raises:
        ValueError: If no run can follow the recipe.
    """

    name: str = "custom"
    network: str | ResNetSpec
    dataset: str
    dropout: float = 0.0
    batch_size: int
    steps: int
    validate_every: int
    schedule: Schedule
    warmup_learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_all: bool = True
    zero_gamma: bool = False
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    rand_augment: RandAugment | None = None
    erasing: float = 0.0
    mixing: tuple[MixUp | CutMix, ...] = ()
    image_sizes: tuple[tuple[float, int], ...] = ()
    average: WeightAverage | None = None
    precise_batch_norm: int = 0
    distillation: Distillation | None = None
    mean: Literal["channel", "pixel"] = "channel"
    preprocessing: Preprocessing | None = None
    target: Target | None = None
    source: str = ""
    deviations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(
            self,
            batch_size=COUNT,
            steps=COUNT,
            validate_every=COUNT,
            momentum=BELOW_ONE,
            weight_decay=NOT_NEGATIVE,
            label_smoothing=BELOW_ONE,
            erasing=BELOW_ONE,
            dropout=BELOW_ONE,
            precise_batch_norm=NOT_NEGATIVE,
        )
        check_name(self.name)
        set_tuples(self, "mixing", "image_sizes", "deviations")
        if self.steps > MOST_STEPS:
            raise ValueError(
                f"`steps` must be at most {MOST_STEPS:,}. Received: {self.steps:,}."
            )
        for name, kinds in KINDS.items():
            if not isinstance(getattr(self, name), kinds):
                options = ", ".join(getattr(kind, "__name__", "None") for kind in kinds)
                raise ValueError(
                    f"`{name}` must be one of {options.replace('NoneType', 'None')}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )
        if self.mean not in ("channel", "pixel"):
            raise ValueError(
                f"`mean` must be 'channel' or 'pixel'. Received: mean={self.mean!r}."
            )
        self._check_schedule()
        self._check_image_sizes()

    def _check_image_sizes(self) -> None:
        for pair in self.image_sizes:
            numbers = isinstance(pair, tuple) and len(pair) == 2
            if not numbers or not is_integer(pair[1], 1):
                raise ValueError(
                    "`image_sizes` must be pairs of a share of the updates and a side "
                    f"in pixels. Received: image_sizes={self.image_sizes}."
                )
        begins = [share for share, _ in self.image_sizes]
        if begins and (begins[0] != 0 or sorted({*begins, 1.0}) != [*begins, 1.0]):
            raise ValueError(
                "`image_sizes` must begin at the share 0 and rise to below 1. "
                f"Received: image_sizes={self.image_sizes}."
            )

    def _check_schedule(self) -> None:
        if self.warmup_learning_rate is not None:
            check_numbers(self, warmup_learning_rate=POSITIVE)
        if isinstance(self.schedule, PlateauDecay) and self.warmup_learning_rate:
            raise ValueError(
                "A `PlateauDecay` and a `warmup_learning_rate` can't both own the "
                "learning rate: choose one. Received: "
                f"warmup_learning_rate={self.warmup_learning_rate}."
            )
        if isinstance(self.schedule, StepDecay):
            milestones = [0, *self.schedule.at, self.steps]
            if sorted(set(milestones)) != milestones:
                raise ValueError(
                    "`schedule.at` must rise from above 0 to below `steps`. "
                    f"Received: at={self.schedule.at}, steps={self.steps}."
                )

    @property
    def soft_labels(self) -> bool:
        """Whether training needs a vector of probabilities for each label."""
        return bool(self.label_smoothing or self.mixing)

    @property
    def network_name(self) -> str:
        """The name of the network, whether it is a row's or an object's."""
        return self.network if isinstance(self.network, str) else self.network.name


KINDS = {  # Of the values that are dataclasses themselves.
    "network": (str, ResNetSpec),
    "schedule": (StepDecay, CosineDecay, PolynomialDecay, PlateauDecay),
    "augmentation": (PadCropFlip, ScaleCropFlip, InceptionCrop, type(None)),
    "rand_augment": (RandAugment, type(None)),
    "average": (WeightAverage, type(None)),
    "distillation": (Distillation, type(None)),
    "preprocessing": (Preprocessing, type(None)),
    "target": (Target, type(None)),
}


def first_steps(image_sizes: tuple[tuple[float, int], ...], steps: int) -> list[int]:
    """The update from which on each of a recipe's ``image_sizes`` is used.

    Args:
        image_sizes: As of `Recipe`: pairs of a share of the updates and a side.
        steps: Updates in total.
    """
    return [math.ceil(share * steps) for share, _ in image_sizes]
