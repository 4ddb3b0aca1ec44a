"""Training recipes, as data: what a paper says about how its networks were trained."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """The learning rate is multiplied by ``factor`` after each of the updates ``at``."""

    learning_rate: float
    at: tuple[int, ...]
    factor: float = 0.1


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """A linear rise from 0 over ``warmup`` (share of the updates), a cosine to 0."""

    learning_rate: float
    warmup: float


@dataclass(frozen=True, kw_only=True)
class PlateauDecay:
    """Multiplied by ``factor`` whenever the validation error stops falling.

    That is when ``patience`` validations in a row have not brought it
    ``min_delta`` (percentage points) under the lowest before.
    """

    learning_rate: float
    patience: int
    min_delta: float
    factor: float = 0.1


@dataclass(frozen=True, kw_only=True)
class PadCropFlip:
    """Zero padding of each side, a random crop of the original size, a random flip."""

    padding: int
    flip: bool = True


@dataclass(frozen=True, kw_only=True)
class ScaleCropFlip:
    """Random shorter side, random crop of the network's input size, random flip.

    Attributes:
        shorter_side: Range in pixels, both ends included.
        color: Standard deviation of the PCA colour noise (Krizhevsky et al. 2012).
    """

    shorter_side: tuple[int, int] = (256, 480)
    color: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a training run, except the seed.

    Attributes:
        network: Key of `ARCHITECTURES`.
        dataset: Key of `DATASETS`, or the path of a folder of images.
        batch_size: Images per update, over all devices.
        steps: Updates in total.
        validate_every: Updates between two validations, which end with a checkpoint.
        schedule: Of the learning rate.
        warmup_learning_rate: Used until the training error is under 80 %; `None`
            begins with the schedule. He et al. 2016a, sec. 4.2.
        momentum: Of SGD, in Caffe's form, with the learning rate in the velocity.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: The `d` in ``gradient + d * w``, for all weights.
        augmentation: Of the training images; `None` for none.
        mean: Whether the mean of each channel or of each pixel is subtracted.
        target: Top-1 test error, in percent, that the source reports, or `None`.
        source: Where all this is said, and by which protocol the target was measured.
        deviations: What is known to differ from the source.

    Raises:
        ValueError: If no run can follow the recipe.
    """

    network: str
    dataset: str
    batch_size: int
    steps: int
    validate_every: int
    schedule: StepDecay | OneCycle | PlateauDecay
    warmup_learning_rate: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    augmentation: PadCropFlip | ScaleCropFlip | None
    mean: Literal["channel", "pixel"] = "channel"
    target: float | None
    source: str
    deviations: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("batch_size", "steps", "validate_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}."
                )
        if not self.schedule.learning_rate > 0:
            raise ValueError(
                f"The learning rate must be positive. Received: {self.schedule}."
            )
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
                    "`at` must rise from above 0 to below `steps`. "
                    f"Received: at={self.schedule.at}, steps={self.steps}."
                )

    def as_json(self) -> dict:
        """The values as `json.dumps` takes them."""
        kinds = {
            name: type(getattr(self, name)).__name__
            for name in ("schedule", "augmentation")
            if getattr(self, name) is not None
        }
        values = asdict(self)
        for name, kind in kinds.items():
            values[name] = {"kind": kind, **values[name]}
        return values


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe in another number of updates, its milestones in proportion."""
    if steps == recipe.steps:
        return recipe
    schedule = recipe.schedule
    if isinstance(schedule, StepDecay):
        scaled = (step * steps // recipe.steps for step in schedule.at)
        # Very short runs have no room for every milestone.
        schedule = replace(
            schedule, at=tuple(sorted({at for at in scaled if 0 < at < steps}))
        )
    return replace(
        recipe,
        steps=steps,
        validate_every=min(recipe.validate_every, steps),
        schedule=schedule,
    )


def smoke(recipe: Recipe) -> Recipe:
    """The recipe's twin that takes seconds: the same code, four updates."""
    short = with_steps(recipe, 4)
    return replace(short, batch_size=min(16, recipe.batch_size), validate_every=2)


def _quickstart():
    return Recipe(
        network="resnet20",
        dataset="fashion_mini",
        batch_size=64,
        steps=780,
        validate_every=130,
        schedule=OneCycle(learning_rate=0.1, warmup=0.2),
        nesterov=True,
        weight_decay=1e-3,
        augmentation=PadCropFlip(padding=0),
        target=None,
        source="Ours: the most accurate in under three minutes on two cores, chosen "
        "on the validation split (docs/LOG.md)",
    )


def _cifar10(network, target, warmup_learning_rate=None):
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
        target=target,
        source="He et al. 2016a, sec. 4.2 and table 6: a single view of the test images",
        deviations=(
            "The pixels are divided by the standard deviation of their channel, of "
            "which the paper does not speak.",
            "Trained on 45,000 images: of the final runs' training set the paper does "
            "not say whether it held the 5,000 of the validation split.",
        ),
    )


def _imagenet(network, target, protocol):
    return Recipe(
        network=network,
        dataset="imagenet2012",
        batch_size=256,
        steps=600_000,
        validate_every=5_000,
        schedule=PlateauDecay(learning_rate=0.1, patience=5, min_delta=0.1),
        augmentation=ScaleCropFlip(),
        target=target,
        source=f"He et al. 2016a, sec. 3.4; target: {protocol}",
        deviations=(
            "The mean and standard deviation of each channel instead of a mean image.",
            'The paper divides the rate "when the error plateaus": here, when five '
            "validations, 25,000 updates, gain less than 0.1 points.",
        ),
    )


_TEN_CROP = "table 3, ten crops (our record has one)"
_ONE_CROP = "KaimingHe/deep-residual-networks README, one crop"

RECIPES = {
    "quickstart":          _quickstart(),
    "resnet20_cifar10":    _cifar10("resnet20", 8.75),
    "resnet32_cifar10":    _cifar10("resnet32", 7.51),
    "resnet44_cifar10":    _cifar10("resnet44", 7.17),
    "resnet56_cifar10":    _cifar10("resnet56", 6.97),
    "resnet110_cifar10":   _cifar10("resnet110", 6.43, warmup_learning_rate=0.01),
    "resnet1202_cifar10":  _cifar10("resnet1202", 7.93, warmup_learning_rate=0.01),
    "plain20_cifar10":     _cifar10("plain20", None),
    "plain56_cifar10":     _cifar10("plain56", None),
    "resnet18_imagenet":   _imagenet("resnet18", 27.88, "table 2, ten crops, option A"),
    "resnet34_imagenet":   _imagenet("resnet34", 24.52, _TEN_CROP),
    "resnet50_imagenet":   _imagenet("resnet50", 24.7, _ONE_CROP),
    "resnet101_imagenet":  _imagenet("resnet101", 23.6, _ONE_CROP),
    "resnet152_imagenet":  _imagenet("resnet152", 23.0, _ONE_CROP),
    "plain18_imagenet":    _imagenet("plain18", 27.94, "table 2, ten crops"),
    "plain34_imagenet":    _imagenet("plain34", 28.54, "table 2, ten crops"),
}  # fmt: skip


def for_own_images(
    *, network, small, channels, dataset, examples, pretrained, batch_size=None
) -> Recipe:
    """A recipe for a data set that no paper speaks of.

    Thirty epochs of the one-cycle schedule; the learning rate follows the linear
    scaling rule, 0.1 for 256 images, and is a tenth of it from pretrained weights.

    Args:
        network: Key of `ARCHITECTURES`.
        small: Whether it is a network for small images, of CIFAR's kind.
        channels: Of the images; greyscale ones get no colour noise.
        dataset: Key of `DATASETS` or path of a folder.
        examples: Number of training images.
        pretrained: Whether training begins with given weights.
        batch_size: Images per update; chosen by the network's size if `None`.
    """
    color = 0.1 if channels == 3 else 0.0
    # At least four updates an epoch, so that a handful of images trains as well.
    batch_size = batch_size or max(1, min(128 if small else 32, examples // 4))
    steps_per_epoch = math.ceil(examples / batch_size)
    return Recipe(
        network=network,
        dataset=dataset,
        batch_size=batch_size,
        steps=30 * steps_per_epoch,
        validate_every=steps_per_epoch,
        schedule=OneCycle(
            learning_rate=0.1 * batch_size / 256 * (0.1 if pretrained else 1),
            warmup=0.2,
        ),
        nesterov=True,
        weight_decay=5e-4,
        augmentation=PadCropFlip(padding=4) if small else ScaleCropFlip(color=color),
        target=None,
        source="Ours: no paper; change it with --epochs and --batch-size",
    )
