"""What is to be trained: from what a user asks to recipe and data, checked.

Nothing is written before all of it fits together.
"""

import math
import pathlib
from dataclasses import replace

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import default_preprocessing
from keras_resnet.config.recipe import MOST_STEPS, with_steps
from keras_resnet.config.recipes import RECIPES, for_own_images
from keras_resnet.data import folders, sources
from keras_resnet.data.images import per_pixel_mean

# The options of `reproduce.train` that change what is computed.
CHANGES = (
    "data",
    "network",
    "val_fraction",
    "weights",
    "freeze",
    "teacher",
    "steps",
    "epochs",
    "batch_size",
    "learning_rate",
    "sync_batch_norm",
    "accumulate",
    "deterministic",
)
PATHS = ("data", "teacher")


def complete(options):
    """The options of `reproduce.train` with their defaults filled in.

    ``recipe`` stays `None` with ``data``, and ``val_fraction`` without a folder.

    Raises:
        ValueError: If one is given that the data has no use for.
    """
    recipe, data, val_fraction = (
        options[name] for name in ("recipe", "data", "val_fraction")
    )
    folder = data is not None and data not in DATASETS
    if val_fraction is not None and not folder:
        raise ValueError(
            "`val_fraction` (--val-fraction) splits a folder of images; of a data set, "
            "the split is fixed. Leave it out, or give a folder as `data` (--data). "
            f"Received: val_fraction={val_fraction}, data={data!r}."
        )
    if data is not None and recipe is not None:
        raise ValueError(
            "A recipe names its data, and `data` (--data) has a recipe of its own: "
            f"leave out one of them. Received: recipe={recipe!r}, data={str(data)!r}."
        )
    if data is None and recipe is None:
        recipe = "quickstart"
    if folder and val_fraction is not None:
        folders.check_val_fraction(data, val_fraction)
    elif folder:
        val_fraction = folders.VAL_FRACTION
    return options | {"recipe": recipe, "val_fraction": val_fraction}


def overrides(options):
    """What was asked for besides the recipe, as JSON takes it."""
    options = options | ({"accumulate": None} if options["accumulate"] == 1 else {})
    chosen = {
        name: options[name]
        for name in CHANGES
        if options[name] is not None and options[name] is not False
    }
    for name, value in chosen.items():
        if name in PATHS:
            chosen[name] = where(value)
        elif name == "weights":
            path = pathlib.Path(value)
            # A file by its full path, however it was written; a source by its name.
            chosen[name] = str(path.resolve() if path.is_file() else value)
    return chosen


def choose(recipe, data, network, weights, *, val_fraction, data_dir, batch_size=None):
    """Name, recipe and data of what is to be trained."""
    if data is None:
        if network is not None or weights is not None:
            raise ValueError(
                "`network` and `weights` go with `data`; a recipe names its network. "
                f"Received: network={network!r}, weights={weights!r} without data."
            )
        row = find(RECIPES, recipe, kind="recipe")
        return recipe, row, sources.load(row.dataset, data_dir=data_dir)
    if network is None:
        raise ValueError(
            "`data` (--data) needs a `network` (--network), such as 'resnet18'. "
            "Received: no network."
        )
    spec = find(ARCHITECTURES, network, kind="network")
    if data in DATASETS:
        splits = sources.load(data, data_dir=data_dir)
    elif isinstance(data, pathlib.PurePath) or pathlib.Path(data).is_dir():
        splits = folders.load(data, val_fraction=val_fraction)
    else:
        find(DATASETS, str(data), kind="data set, and no folder of that name:")
    own = for_own_images(
        network=network,
        small=spec.dataset == "cifar10",
        channels=DATASETS[data].preprocessing.channels if data in DATASETS else 3,
        dataset=where(data),
        batch_size=batch_size,
        examples=splits.train.size,
        pretrained=weights is not None,
    )
    # Not a recipe's name: "resnet20_cifar10" is the paper's.
    return f"{network}_on_{splits.name}", own, splits


def where(data):
    """A data set's name or a folder's full path, however it was written."""
    if data is None or data in DATASETS:
        return data
    return str(pathlib.Path(data).resolve())


def override(recipe, examples, options):
    """The recipe with the length, batch size and learning rate that were asked for."""
    steps, epochs, batch_size, learning_rate = (
        options.get(name) for name in ("steps", "epochs", "batch_size", "learning_rate")
    )
    if steps is not None and epochs is not None:
        raise ValueError(
            "Give `steps` or `epochs`, not both. "
            f"Received: steps={steps}, epochs={epochs}."
        )
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    if learning_rate is not None:
        ratio = learning_rate / recipe.schedule.learning_rate
        schedule = replace(recipe.schedule, learning_rate=learning_rate)
        warmup = recipe.warmup_learning_rate
        recipe = replace(
            recipe,
            schedule=schedule,
            warmup_learning_rate=warmup and ratio * warmup,
        )
    if epochs is not None:
        wanted = epochs * examples / recipe.batch_size
        if not 0 < wanted < MOST_STEPS - 1:
            raise ValueError(
                f"`epochs` must be positive and make fewer than {MOST_STEPS:,} updates. "
                f"Received: epochs={epochs}."
            )
        steps = math.ceil(wanted)
    return recipe if steps is None else with_steps(recipe, steps)


def preprocessing_of(recipe, spec, splits):
    """How the images are prepared for this network on this data set."""
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


def as_weights_want(own, weights):
    """A run's preprocessing with the colours as the weights that it begins from want.

    Args:
        own: The `Preprocessing` of the data set.
        weights: That of published weights, or `None` where nothing is known of them.

    Returns:
        A `Preprocessing` of ``own``'s size. Greyscale images keep their own mean.
    """
    if weights is None or weights.channels != own.channels:
        return own
    return replace(
        own,
        mean=weights.mean,
        std=weights.std,
        channel_order=weights.channel_order,
        interpolation=weights.interpolation,
    )


def check_batch_size(recipe, splits, hardware, accumulate=1):
    """Raises `ValueError` unless batches divide among devices and micro-batches."""
    replicas = hardware.replicas
    if recipe.batch_size % replicas:
        raise ValueError(
            f"`batch_size` must be a multiple of the {replicas} devices. "
            f"Received: batch_size={recipe.batch_size}. Give another (--batch-size), or "
            "fewer devices (--devices)."
        )
    if not isinstance(accumulate, int) or accumulate < 1:
        raise ValueError(
            "`accumulate` (--accumulate) must be a positive integer. "
            f"Received: accumulate={accumulate!r}."
        )
    if recipe.batch_size // replicas % accumulate:
        raise ValueError(
            "`accumulate` (--accumulate) must divide the images of a batch that each "
            f"device has, {recipe.batch_size // replicas}. "
            f"Received: accumulate={accumulate}."
        )
    if recipe.batch_size > splits.train.size:
        raise ValueError(
            f"`batch_size` must not exceed the {splits.train.size} training images. "
            f"Received: batch_size={recipe.batch_size}."
        )


def check_steps_per_execution(recipe, count, hardware, backend):
    """Raises `ValueError` unless updates can be made in groups of ``count``."""
    if not isinstance(count, int) or count < 1:
        raise ValueError(
            "`steps_per_execution` (--steps-per-execution) must be a positive integer. "
            f"Received: steps_per_execution={count!r}."
        )
    if count == 1:
        return
    if backend == "torch" or hardware.workers > 1 or recipe.warmup_learning_rate:
        raise ValueError(
            "`steps_per_execution` (--steps-per-execution) must be 1 on PyTorch, on "
            "several workers, and where the recipe warms up until the error falls. "
            f"Received: steps_per_execution={count}, backend={backend!r}, "
            f"workers={hardware.workers}, "
            f"warmup_learning_rate={recipe.warmup_learning_rate}."
        )
    lengths = {"steps": recipe.steps, "validate_every": recipe.validate_every}
    if recipe.average:
        lengths["average.every"] = recipe.average.every
    if any(length % count for length in lengths.values()):
        raise ValueError(
            "`steps_per_execution` (--steps-per-execution) must divide "
            f"{', '.join(f'{name} ({n})' for name, n in lengths.items())}: any of "
            f"{', '.join(map(str, _common_divisors(*lengths.values())))}. "
            f"Received: steps_per_execution={count}."
        )


def _common_divisors(*numbers):
    greatest = math.gcd(*numbers)
    return [n for n in range(1, greatest + 1) if greatest % n == 0]


def validation_in_fit(most, images, replicas):
    """The batch size of the validation in `fit`, and how many batches it has.

    On several devices all batches are whole, so that each device has its equal share:
    of the sizes from a quarter of the greatest on the one that leaves out the fewest
    images. The run's record is measured on all of them, on one device.

    Args:
        most: Images that all devices together can compute on at a time.
        images: That there are for validation.
        replicas: Devices.

    Raises:
        ValueError: If there are fewer images than devices.
    """
    most = min(images, most)
    if replicas == 1:
        return most, math.ceil(images / most)
    if images < replicas:
        raise ValueError(
            f"The {images} validation images must give each of {replicas} devices "
            "its share. Use fewer devices, or more validation images."
        )
    largest = most - most % replicas
    sizes = range(largest, max(largest // 4, 1) - 1, -replicas)
    size = min(sizes, key=lambda size: images % size)  # The largest of equal ones.
    return size, images // size
