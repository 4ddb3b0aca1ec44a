"""How long a run trains, and how often it validates, as far as its request says."""

import math
from dataclasses import replace

from keras_resnet.config.adapted import AnyRecipe, with_batch_size, with_steps
from keras_resnet.config.detection_recipe import EitherRecipe
from keras_resnet.config.recipe import MOST_STEPS
from keras_resnet.config.schedules import PlateauDecay
from keras_resnet.runs.request import TrainRequest

VALIDATIONS = 10  # At least, as far as there is time for them.


def with_lengths(recipe: AnyRecipe, examples: int, request: TrainRequest) -> AnyRecipe:
    """The recipe with the length, batch size and learning rate that were asked for."""
    steps = request.steps
    if request.batch_size is not None:
        recipe = with_batch_size(recipe, request.batch_size)
    if request.learning_rate is not None:
        ratio = request.learning_rate / recipe.schedule.learning_rate
        warmup = recipe.warmup_learning_rate
        schedule = replace(recipe.schedule, learning_rate=request.learning_rate)
        recipe = replace(recipe, schedule=schedule)
        if warmup is not None:
            recipe = replace(recipe, warmup_learning_rate=ratio * warmup)
    if request.epochs is not None:
        wanted = request.epochs * examples / recipe.batch_size
        if not 0 < wanted <= MOST_STEPS:
            raise ValueError(
                f"`epochs` (--epochs) must make at most {MOST_STEPS:,} updates. "
                f"Received: epochs={request.epochs}, {wanted:,.0f} updates."
            )
        steps = math.ceil(wanted)
    return recipe if steps is None else with_steps(recipe, steps)


def decides_validations(request: TrainRequest, recipe: EitherRecipe) -> bool:
    """Whether the number of validations may be another than the recipe's.

    It may where another length was asked for. A learning rate that depends on how
    training goes also depends on when that is looked at, so such recipes keep theirs.
    """
    other_length = request.steps is not None or request.epochs is not None
    reactive = (
        isinstance(recipe.schedule, PlateauDecay)
        or recipe.warmup_learning_rate is not None
    )
    own = "validate_every" in (request.changes or {})
    return other_length and not reactive and not own


def with_validations(
    recipe: AnyRecipe, images: int, request: TrainRequest
) -> AnyRecipe:
    """The recipe with more validations where its updates are few.

    Curves need some points. The weights stay the same to the bit.

    Args:
        recipe: Of the length that was asked for.
        images: Number of validation images. No more are looked at in all than images
            are trained on, unless the recipe does so itself.
        request: What is asked for.
    """
    if not decides_validations(request, recipe):
        return recipe
    wanted = min(VALIDATIONS, recipe.steps * recipe.batch_size // images)
    every = math.ceil(recipe.steps / max(1, wanted))
    at_a_time = request.steps_per_execution
    every = at_a_time * math.ceil(every / at_a_time)
    return replace(recipe, validate_every=min(recipe.validate_every, every))
