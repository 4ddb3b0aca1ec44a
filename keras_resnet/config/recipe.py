"""What a training recipe can say: the columns of the table in `recipes.py`."""

import math
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Literal

from keras_resnet.config.preprocessing import Preprocessing

# What many recipes do otherwise than their sources, in words for their rows.
FAN_IN = (
    "Kernels begin with a variance of 2 / fan-in (He et al. 2015), where the source has "
    "2 / fan-out."
)
# The same while the rate is constant (torch.optim.SGD; Torch's optim.sgd; darknet,
# update_convolutional_layer). At momentum 0.9, a third of a velocity is left after ten.
MOMENTUM = (
    "The momentum's velocity holds the learning rate, as in Caffe, where the source "
    "multiplies by it afterwards: after a change of the rate they differ for some ten "
    "updates."
)

MOST_STEPS = 2**31  # JAX counts the updates of an optimizer in 32 bits.


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """The learning rate is multiplied by ``factor`` after each of the updates ``at``."""

    learning_rate: float
    at: tuple[int, ...]
    factor: float = 0.1


@dataclass(frozen=True, kw_only=True)
class CosineDecay:
    """A linear rise over ``warmup`` (share of the updates), a cosine to 0.

    The rise begins at ``warmup_from``, a share of the learning rate.
    """

    learning_rate: float
    warmup: float = 0.0
    warmup_from: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PolynomialDecay:
    """``(1 - updates / all)**power``, after a rise with the same power.

    The rise, ``(updates / rise)**power``, takes ``warmup``, a share of the updates;
    darknet's ``burn_in`` (src/network.c, get_current_rate).
    """

    learning_rate: float
    power: float
    warmup: float = 0.0


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


Schedule = StepDecay | CosineDecay | PolynomialDecay | PlateauDecay


@dataclass(frozen=True, kw_only=True)
class PadCropFlip:
    """Padding of each side, a random crop of the original size, a random flip.

    ``mode`` says what the padding shows: zeros (of the normalized image) or the image,
    reflected.
    """

    padding: int
    flip: bool = True
    mode: Literal["zero", "reflect"] = "zero"


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
class InceptionCrop:
    """A crop of random area and aspect, resized to the input size; a random flip.

    Szegedy et al. 2015, sec. 6, as fb.resnet.torch has it.

    Attributes:
        area: Range of the crop's share of the image's area.
        aspect: Range of the crop's width over its height.
        jitter: Brightness, contrast and saturation change by up to this share, in
            random order.
        color: Standard deviation of the PCA colour noise.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    jitter: float = 0.4
    color: float = 0.1


Augmentation = PadCropFlip | ScaleCropFlip | InceptionCrop


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """Zhang et al. 2018: sums of two images and of their labels."""

    alpha: float


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Yun et al. 2019: a rectangle of one image in another, labels by area."""

    alpha: float


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Cubuk et al. 2020: so many operations on each image, of this strength (0 to 1)."""

    operations: int
    strength: float


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The loss also draws the logits to a teacher's; He et al. 2019, sec. 5.3.

    Attributes:
        teacher: Key of `ARCHITECTURES`; its weights come with the run.
        temperature: By which both networks' logits are divided.
    """

    teacher: str
    temperature: float = 20.0


@dataclass(frozen=True, kw_only=True)
class WeightAverage:
    """An exponential moving average of weights and batch-norm statistics.

    Attributes:
        decay: Kept of the average at each of its updates.
        every: Training updates between two updates of the average.
    """

    decay: float
    every: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a training run, except the seed.

    Attributes:
        network: Key of `ARCHITECTURES`.
        dataset: Key of `DATASETS`, or the path of a folder of images.
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
        target: Top-1 test error, in percent, that the source reports, or `None`.
        source: Where all this is said, and by which protocol the target was measured.
        deviations: What is known to differ from the source.

    Raises:
        ValueError: If no run can follow the recipe.
    """

    network: str
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
    augmentation: Augmentation | None
    rand_augment: RandAugment | None = None
    erasing: float = 0.0
    mixing: tuple[MixUp | CutMix, ...] = ()
    image_sizes: tuple[tuple[float, int], ...] = ()
    average: WeightAverage | None = None
    precise_batch_norm: int = 0
    distillation: Distillation | None = None
    mean: Literal["channel", "pixel"] = "channel"
    preprocessing: Preprocessing | None = None
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
        if self.steps >= MOST_STEPS:
            raise ValueError(
                f"`steps` must be less than {MOST_STEPS:,}. Received: {self.steps:,}."
            )
        if not self.schedule.learning_rate > 0:
            raise ValueError(
                f"The learning rate must be positive. Received: {self.schedule}."
            )
        if not isinstance(self.augmentation, Augmentation | None):
            raise ValueError(
                "`augmentation` must be a PadCropFlip, a ScaleCropFlip, an InceptionCrop "
                f"or None. Received: augmentation={self.augmentation!r}."
            )
        for name in ("label_smoothing", "erasing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 0 and less than 1. "
                    f"Received: {name}={getattr(self, name)}."
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
        begins = [share for share, _ in self.image_sizes]
        if begins and (begins[0] != 0 or sorted({*begins, 1.0}) != [*begins, 1.0]):
            raise ValueError(
                "`image_sizes` must begin at the share 0 and rise to below 1. "
                f"Received: image_sizes={self.image_sizes}."
            )

    @property
    def soft_labels(self) -> bool:
        """Whether training needs a vector of probabilities for each label."""
        return bool(self.label_smoothing or self.mixing)

    def as_json(self) -> dict:
        """The values as `json.dumps` takes them."""
        return {
            field.name: _as_json(getattr(self, field.name)) for field in fields(self)
        }


def defaults() -> dict:
    """What a recipe says where it says nothing, as `Recipe.as_json` gives it."""
    return {
        field.name: _as_json(field.default)
        for field in fields(Recipe)
        if field.default is not MISSING
    }


def _as_json(value):
    if isinstance(value, Preprocessing):
        return value.as_json()
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {"kind": type(value).__name__, **asdict(value)}
    return value


def first_steps(image_sizes, steps: int) -> list:
    """Of each of a recipe's ``image_sizes`` the first update.

    It is the first at the size's share of the updates or behind it.
    """
    return [math.ceil(share * steps) for share, _ in image_sizes]


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
    validate_every = min(recipe.validate_every, steps)
    if isinstance(schedule, PlateauDecay):
        # Its patience is counted in validations.
        validate_every = max(1, recipe.validate_every * steps // recipe.steps)
    return replace(
        recipe, steps=steps, validate_every=validate_every, schedule=schedule
    )


def smoke(recipe: Recipe) -> Recipe:
    """The recipe's twin that takes seconds: the same code, four updates."""
    batch_size = min(16, recipe.batch_size)
    return replace(
        with_steps(recipe, 4),
        batch_size=batch_size,
        validate_every=2,
        average=recipe.average and replace(recipe.average, every=1),
        precise_batch_norm=min(batch_size, recipe.precise_batch_norm),
    )
