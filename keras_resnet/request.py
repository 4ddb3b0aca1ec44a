"""What is to be trained: from what a user asks to recipe, data and folder, checked.

Nothing is written before all of it fits together.
"""

import json
import math
import os
import pathlib
from dataclasses import replace

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import default_preprocessing
from keras_resnet.config.recipes import RECIPES, for_own_images, with_steps
from keras_resnet.data import preprocessing, sources


def complete(recipe, data, val_fraction):
    """Recipe's name and share of validation images, with their defaults filled in.

    Returns:
        Name, `None` with ``data``, and share, `None` without a folder of images.

    Raises:
        ValueError: If one is given that the data has no use for.
    """
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
    if folder and val_fraction is None:
        val_fraction = sources.VALIDATION_FRACTION
    return recipe, val_fraction


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
        raise ValueError("`data` needs a `network`, such as network='resnet18'.")
    spec = find(ARCHITECTURES, network, kind="network")
    if data in DATASETS:
        splits = sources.load(data, data_dir=data_dir)
    elif pathlib.Path(data).is_dir():
        splits = sources.load_folder(data, validation_fraction=val_fraction)
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


def override(recipe, examples, steps, epochs, batch_size):
    """The recipe with the length and batch size that were asked for."""
    if steps is not None and epochs is not None:
        raise ValueError(
            "Give `steps` or `epochs`, not both. "
            f"Received: steps={steps}, epochs={epochs}."
        )
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    if epochs is not None:
        if not 0 < epochs < math.inf:
            raise ValueError(
                f"`epochs` must be positive and finite. Received: epochs={epochs}."
            )
        steps = math.ceil(epochs * examples / recipe.batch_size)
    return recipe if steps is None else with_steps(recipe, steps)


def preprocessing_of(recipe, spec, splits):
    """How the images are prepared for this network on this data set."""
    if recipe.dataset in DATASETS:
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
        known = replace(known, mean=preprocessing.per_pixel_mean(splits.train))
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


def check_batch_size(recipe, splits, hardware):
    """Raises `ValueError` unless batches divide among the devices."""
    replicas = len(hardware.names)
    if recipe.batch_size % replicas:
        raise ValueError(
            f"`batch_size` must be a multiple of the {replicas} devices. "
            f"Received: batch_size={recipe.batch_size}."
        )
    if recipe.batch_size > splits.train.size:
        raise ValueError(
            f"`batch_size` must not exceed the {splits.train.size} training images. "
            f"Received: batch_size={recipe.batch_size}."
        )


def validation_in_fit(recipe, splits, hardware):
    """The validation examples that `fit` sees, and a batch size that divides them.

    Every device must have its equal share of every batch, the last one too, so on
    several devices up to one image less than there are devices is left out. The run's
    record is measured on all of them, on one device.
    """
    examples, replicas = splits.validation, len(hardware.names)
    if replicas == 1:
        return examples, min(examples.size, recipe.batch_size)
    n = examples.size - examples.size % replicas
    sizes = range(replicas, min(n, recipe.batch_size) + 1, replicas)
    dividing = [size for size in sizes if n % size == 0]
    streamed = not isinstance(examples, sources.Examples)
    if not dividing or (streamed and n < examples.size):
        raise ValueError(
            f"The {examples.size} validation images must give each of {replicas} devices "
            "its share. Use fewer devices, or more validation images."
        )
    if n < examples.size:
        examples = sources.Examples(examples.images[:n], examples.labels[:n])
    return examples, max(dividing)


def settings(recipe, seed, fingerprint, overrides, backend):
    """What ``settings.json`` holds: a run with other settings is another run."""
    wanted = {
        "recipe": recipe.as_json(),
        "seed": seed,
        "data": fingerprint,
        "overrides": overrides,
        "backend": backend,
    }
    return json.loads(json.dumps(wanted))


def finished(folder, recipe, seed, overrides, backend):
    """Whether a folder holds this run of a recipe, and finished, by its files alone.

    Loading the data would take longer. It is needed where it decides the settings:
    there the answer is no, and `claim` has the last word.
    """
    if recipe not in RECIPES or "epochs" in overrides:
        return False
    if not (folder / "record.json").exists():
        return False
    found = _read_settings(folder, backend)
    row = override(
        RECIPES[recipe],
        None,
        overrides.get("steps"),
        None,
        overrides.get("batch_size"),
    )
    return found == settings(row, seed, found.get("data"), overrides, backend)


def claim(folder, wanted):
    """Takes a folder for a run; tells whether the run has been finished there.

    Args:
        folder: The run's.
        wanted: The run's `settings`.

    Raises:
        ValueError: If the folder holds another run, or something else.
    """
    path = folder / "settings.json"
    if not path.exists():
        # A kill can leave a file of ours that was not yet whole.
        found = folder.iterdir() if folder.exists() else ()
        if any(not path.name.startswith("writing_") for path in found):
            raise ValueError(
                f"{folder} must be empty or hold this run, and it holds other files. "
                "Remove it, or choose another --output-dir."
            )
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(
            path, lambda part: part.write_text(json.dumps(wanted, indent=2) + "\n")
        )
        return False
    found = _read_settings(folder, wanted["backend"])
    if found != wanted:
        differences = [
            f"{key} (there {found_value!r}, here {wanted_value!r})"
            for key, found_value, wanted_value in _differences(found, wanted)
        ]
        raise ValueError(
            f"{folder} holds a run with other settings: {'; '.join(differences)}. "
            "Give the same again, or remove it, or choose another --output-dir or "
            "--seed."
        )
    return (folder / "record.json").exists()


def _read_settings(folder, backend):
    found = json.loads((folder / "settings.json").read_text())
    # Runs begun before the backend was written say nothing of it.
    return {"backend": backend, **found}


def _differences(found, wanted):
    flat = {**found.pop("recipe"), **found}, {**wanted["recipe"], **wanted}
    for key in sorted((flat[0].keys() | flat[1].keys()) - {"recipe"}):
        if flat[0].get(key) != flat[1].get(key):
            yield key, flat[0].get(key), flat[1].get(key)


def replace_file(path, write):
    """Writes a file under another name first, so that it is whole or absent."""
    temporary = path.with_name(f"writing_{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
