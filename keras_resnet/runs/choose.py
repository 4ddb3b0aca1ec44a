"""Chooses the recipe, the network and the data that a `TrainRequest` asks for."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keras_resnet.config.adapted import (
    for_own_images,
    on_other_data,
    with_augmentation,
    with_size,
    without_flip,
)
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.checks import is_integer
from keras_resnet.config.datasets import DATA_SET, DATASETS
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import Preprocessing, default_preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipe_files import changed, read_recipe
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.data import folders, shards, sources
from keras_resnet.data.box_folders import check_no_boxes
from keras_resnet.data.download import not_here
from keras_resnet.data.examples import Splits
from keras_resnet.data.images import per_pixel_mean
from keras_resnet.files import local_path
from keras_resnet.runs.folder import meant_by
from keras_resnet.runs.kept import as_once_called, split_of
from keras_resnet.runs.places import where
from keras_resnet.runs.request import TrainRequest

# Fields of a recipe that have options of their own beside `changes`.
OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "steps": ("steps", "epochs"),
    "batch_size": ("batch_size",),
    "network": ("network",),
    "schedule.learning_rate": ("learning_rate",),
    "augmentation": ("augment",),
    "augmentation.flip": ("no_flip",),
    "preprocessing.size": ("size",),
    "preprocessing.bit_depth": ("bit_depth",),
}
# Fields that are options alone: they decide more than the recipe.
OPTIONS_ALONE = {"dataset": "data", "name": "name"}


def asked_recipe(request: TrainRequest) -> Recipe | None:
    """The recipe that is asked for by name, file or object, before any changes.

    Returns:
        The `Recipe`, or `None` where own images are trained on without one.
    """
    asked = request.recipe
    if asked is None:
        if request.changes:
            raise ValueError(
                "`changes` (--set) change a recipe: name one. "
                f"Received: {dict(request.changes)} and no recipe."
            )
        return None
    if isinstance(asked, Recipe):
        recipe = asked
    elif asked not in RECIPES and local_path(asked, "`recipe`").is_dir():
        raise ValueError(
            "A recipe must be a name or a .toml file. Received: "
            f"{str(asked)!r}, {meant_by(local_path(asked))}"
        )
    elif isinstance(asked, os.PathLike) or str(asked).endswith(".toml"):
        recipe = read_recipe(local_path(asked, "`recipe`"))
    else:
        recipe = find({**RECIPES, **DETECTION_RECIPES}, asked, kind="recipe")
    check_own_name(recipe, RECIPES, "recipe", "A recipe")
    if recipe.name not in RECIPES:
        recipe = _with_one_data_set(recipe, request)
    check_changes(request)
    if request.network is not None:
        recipe = replace(recipe, network=request.network)
    spec_of(recipe)  # Raises an error if there is no such network.
    return recipe


def _with_one_data_set(recipe: Recipe, request: TrainRequest) -> Recipe:
    """A user's recipe, whose data set is named without the prefix that tells it."""
    is_named = recipe.dataset.startswith(DATA_SET) or recipe.dataset in DATASETS
    # A folder of its name doesn't matter where other data are asked for.
    if not is_named or (request.data is not None and recipe.dataset in DATASETS):
        return recipe
    dataset = where(recipe.dataset, f"`dataset` of the recipe {recipe.name!r}")
    return replace(recipe, dataset=dataset)


def check_own_name(row: Any, table: Mapping[str, Any], kind: str, article: str) -> None:
    """Raises `ValueError` if an object has the name of a row that it isn't."""
    if table.get(row.name, row) != row:
        raise ValueError(
            f"{article} of your own needs a name of its own, so that its results aren't "
            f"taken for those of the published {kind}: give its file another name, or "
            f"use dataclasses.replace({kind}, name=…). Received: name={row.name!r}."
        )


def check_changes(
    request: TrainRequest, options_of: Mapping[str, tuple[str, ...]] = OPTIONS_OF
) -> None:
    """Raises `ValueError` if `changes` name a field that is given in another way too.

    Args:
        request: What is asked for.
        options_of: The options that fields of the recipe have beside `changes`.
    """
    changes = request.changes or {}
    for field, option in OPTIONS_ALONE.items():
        if field in changes:
            raise ValueError(
                f"`{field}` can't be one of `changes` (--set): give `{option}` "
                f"(--{option}). Received: {field}={changes[field]!r}."
            )
    # The fields that are given, and how the message names each.
    given = [(name, f"`{name}`") for name in changes]
    given += [
        (field, f"`{option}` (--{option.replace('_', '-')})")
        for field, options in options_of.items()
        for option in options
        if (value := getattr(request, option)) is not None and value is not False
    ]
    for change in changes:
        for field, said in given:
            itself = said == f"`{change}`"
            if not itself and (field == change or field.startswith(f"{change}.")):
                raise ValueError(
                    f"`{change}` must be given once. Received: {change}="
                    f"{changes[change]!r} in `changes` (--set), and {said}."
                )


def spec_of(recipe: Recipe) -> ResNetSpec:
    """The network that a recipe trains, with what the recipe changes of it.

    Raises:
        ValueError: If there is no such network, or none like the recipe's teacher.
    """
    spec = recipe.network
    if recipe.distillation is not None:
        find(ARCHITECTURES, recipe.distillation.teacher, kind="network as a teacher")
    if isinstance(spec, ResNetSpec):
        check_own_name(spec, ARCHITECTURES, "network", "A network")
    else:
        # Detectors, too, are what a name may be meant for.
        spec = find({**DETECTORS, **ARCHITECTURES}, spec, kind="network")
    return replace(
        spec,
        zero_gamma=recipe.zero_gamma or spec.zero_gamma,
        dropout=recipe.dropout or spec.dropout,
    )


def load_data(request: TrainRequest, recipe: Recipe | None) -> Splits:
    """The data that is asked for, else the recipe's own."""
    data = request.data
    name = recipe.dataset if data is None else where(data)
    if name in DATASETS:
        return sources.load(name, data_dir=request.data_dir)
    if not isinstance(data, os.PathLike) and not local_path(data).exists():
        find(DATASETS, str(data), kind="data set, and no folder of that name:")
    if shards.is_shards(data):
        shards.check_options(
            data, request.val_fraction, request.group, request.bit_depth
        )
        return shards.load(data, val_fraction=val_fraction(request))
    check_no_boxes(data)
    folders.check_val_fraction(data, request.val_fraction, request.group)
    name = request.name or run_name(request, recipe, folders.name_of(data))
    return folders.load(
        data,
        val_fraction=val_fraction(request) or folders.VAL_FRACTION,
        group=request.group,
        split_by=split_of(as_once_called(request, name)),
    )


def check_data_is_here(request: TrainRequest) -> None:
    """Raises `FileNotFoundError` if the data would have to be downloaded."""
    row = asked_recipe(request)
    own = row is not None and request.data is None
    name = row.dataset if own else where(request.data)
    if name in DATASETS and not sources.is_here(name, request.data_dir):
        raise FileNotFoundError(not_here(name, request.data_dir))


def val_fraction(request: TrainRequest) -> float | None:
    """The share of a folder's images that is kept for validation."""
    own = request.has_own_images
    return (request.val_fraction or folders.VAL_FRACTION) if own else None


def run_name(request: TrainRequest, recipe: Recipe | None, data: str) -> str:
    """The name of a run on data of this name, where none was asked for."""
    if recipe is None:
        # Not a recipe's name: "resnet20_cifar10" is the paper's.
        return f"{getattr(request.network, 'name', request.network)}_on_{data}"
    return recipe.name if request.data is None else f"{recipe.name}_on_{data}"


def on_the_data(
    request: TrainRequest, recipe: Recipe | None, splits: Splits
) -> tuple[str, Recipe]:
    """The name of the run, and its recipe with the changes, on the data at hand."""
    name = run_name(request, recipe, splits.name)
    if recipe is None:
        return name, _augmented(_recipe_for_own_images(request, splits), request)
    changes = request.changes or {}
    if request.data is None:
        return name, changed(_augmented(recipe, request), changes)
    batch_size = request.batch_size or changes.get("batch_size")
    if recipe.batch_size > splits.train.size and batch_size is None:
        size = 2 ** max(0, int(math.log2(max(1, splits.train.size // 4))))
        rate = recipe.schedule.learning_rate * size / recipe.batch_size
        raise ValueError(
            f"A batch must not exceed the {splits.train.size} training images of "
            f"{splits.name}. Received: batch_size={recipe.batch_size} of "
            f"{recipe.name!r}. Give, for example, --batch-size {size} with the rate that "
            f"goes with it, --learning-rate {rate:.3g}."
        )
    if not is_integer(batch_size, 1):
        batch_size = None  # `changed` says what is wrong with it.
    moved = on_other_data(recipe, where(request.data), splits.train.size, batch_size)
    # Last: what is counted in updates is meant on the data at hand.
    return name, changed(_augmented(moved, request), changes)


def _augmented(recipe: Recipe, request: TrainRequest) -> Recipe:
    if request.augment is None:
        return recipe
    small = spec_of(recipe).dataset == "cifar10"
    return with_augmentation(recipe, request.augment, small=small)


def with_images(recipe: Recipe, request: TrainRequest, splits: Splits) -> Recipe:
    """The recipe with the size of the images that was asked for, and without flips."""
    if request.no_flip:
        recipe = without_flip(recipe)
    if request.size is None:
        return recipe
    known = preprocessing_of(replace(recipe, mean="channel"), spec_of(recipe), splits)
    return with_size(recipe, known, request.size)


def _recipe_for_own_images(request: TrainRequest, splits: Splits) -> Recipe:
    network, data = request.network, where(request.data)
    spec = spec_of(replace(RECIPES["quickstart"], network=network))
    return for_own_images(
        network=network,
        small=spec.dataset == "cifar10",
        channels=DATASETS[data].preprocessing.channels if data in DATASETS else 3,
        dataset=data,
        batch_size=request.batch_size,
        examples=splits.train.size,
        pretrained=request.weights is not None,
    )


def preprocessing_of(recipe: Recipe, spec: ResNetSpec, splits: Splits) -> Preprocessing:
    """How the images are prepared for this network on this data."""
    if recipe.preprocessing is not None:
        known = recipe.preprocessing
    elif recipe.dataset in DATASETS:
        known = DATASETS[recipe.dataset].preprocessing
        if spec.dataset == "imagenet" and known.resize is None:
            # A stem of stride 4 leaves nothing of a small image.
            own = default_preprocessing(spec)
            known = replace(
                own, channels=known.channels, mean=known.mean, std=known.std
            )
        elif spec.dataset == "cifar10" and known.resize is not None:
            known = replace(known, resize=32, size=(32, 32))
    else:
        known = default_preprocessing(spec)
        if spec.dataset == "cifar10":
            known = replace(known, resize=32)
    if recipe.mean == "pixel":
        known = replace(known, mean=per_pixel_mean(splits.train))
    return known
