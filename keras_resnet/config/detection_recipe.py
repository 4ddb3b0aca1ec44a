"""The fields of a recipe of detection, and what values they can have.

It is no `Recipe`: images with boxes are cut, mixed and measured in other ways. What both
have, such as the schedule, has the same name in both.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.checks import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    check_choice,
    check_name,
    check_numbers,
    set_tuples,
)
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.recipe import MOST_STEPS, Recipe
from keras_resnet.config.schedules import CosineDecay, PolynomialDecay, StepDecay

RULES = ("11 points", "area", "coco")


@dataclass(frozen=True, kw_only=True)
class DetectionTarget:
    """The average precision that a recipe's source reports.

    Attributes:
        average_precision: Mean over the classes, in percent.
        rule: ``"11 points"`` (VOC 2007) or ``"area"`` (VOC from 2010 on), both at an IoU of
            0.5, or ``"coco"``, the mean over IoUs from 0.5 to 0.95.
        where: Table or file that reports it, and on which images.
    """

    average_precision: float
    rule: Literal["11 points", "area", "coco"]
    where: str

    def __post_init__(self) -> None:
        check_numbers(self, average_precision=NOT_NEGATIVE)
        check_choice("rule", self.rule, RULES)


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe:
    """Everything that decides the outcome of training a detector, except the seed.

    Attributes:
        name: What its runs are called; of a row of `DETECTION_RECIPES`, its key.
        detector: Key of `DETECTORS`, or a `DetectorSpec`.
        dataset: Key of `BOX_DATASETS`, or the path of a folder as of
            `detection.load_boxes`.
        batches: How many images make an update, and how they are resized and flipped.
        steps: Updates in total.
        validate_every: Updates between two validations.
        schedule: Of the learning rate.
        momentum: Of SGD, in Caffe's form, with the learning rate in the velocity.
        weight_decay: The `d` in ``gradient + d * w``.
        decay_all: Whether biases, gammas and betas decay too.
        clip_norm: Largest norm of all gradients together, without the decay; `None` for
            gradients as they are. From random weights the first ones are large.
        weights: Of the backbone, as of `keras_resnet.backbone`; `None` for random ones.
            With weights the detector's row says which stages and batch norms don't train.
        target: The average precision that the source reports, or `None`.
        source: Where all this is said.
        deviations: What is known to differ from the source.

    Raises:
        ValueError: If no run can follow the recipe.
    """

    name: str = "custom"
    detector: str | DetectorSpec
    dataset: str
    batches: BoxBatches
    steps: int
    validate_every: int
    schedule: StepDecay | CosineDecay | PolynomialDecay
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_all: bool = True
    clip_norm: float | None = None
    weights: str | None = None
    target: DetectionTarget | None = None
    source: str = ""
    deviations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        set_tuples(self, "deviations")
        check_numbers(
            self,
            steps=COUNT,
            validate_every=COUNT,
            momentum=BELOW_ONE,
            weight_decay=NOT_NEGATIVE,
        )
        if self.clip_norm is not None:
            check_numbers(self, clip_norm=POSITIVE)
        if self.steps > MOST_STEPS:
            raise ValueError(
                f"`steps` must be at most {MOST_STEPS:,}. Received: {self.steps:,}."
            )
        for name, kinds in KINDS.items():
            if not isinstance(getattr(self, name), kinds):
                options = ", ".join(kind.__name__ for kind in kinds)
                raise ValueError(
                    f"`{name}` must be one of {options.replace('NoneType', 'None')}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )
        if isinstance(self.schedule, StepDecay):
            milestones = [0, *self.schedule.at, self.steps]
            if sorted(set(milestones)) != milestones:
                raise ValueError(
                    "`schedule.at` must rise from above 0 to below `steps`. "
                    f"Received: at={self.schedule.at}, steps={self.steps}."
                )

    @property
    def batch_size(self) -> int:
        """Images per update."""
        return self.batches.batch_size

    @property
    def network_name(self) -> str:
        """The name of the detector, whether it is a row's or an object's."""
        return self.detector if isinstance(self.detector, str) else self.detector.name

    # What else `fit` asks a recipe for, and recipes of detection don't have.

    @property
    def image_sizes(self) -> tuple[tuple[float, int], ...]:
        """Empty: each image has a size of its own."""
        return ()

    @property
    def average(self) -> None:
        """`None`: weights aren't averaged."""
        return None

    @property
    def warmup_learning_rate(self) -> None:
        """`None`: no rate waits for an error to fall."""
        return None


KINDS = {  # Of the values that are dataclasses themselves.
    "detector": (str, DetectorSpec),
    "batches": (BoxBatches,),
    "schedule": (StepDecay, CosineDecay, PolynomialDecay),
    "target": (DetectionTarget, type(None)),
}

EitherRecipe: TypeAlias = Recipe | DetectionRecipe
