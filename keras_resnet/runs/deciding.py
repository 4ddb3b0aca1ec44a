"""What decides a run's result, for several workers to compare before they train."""

import pathlib
from dataclasses import fields
from typing import Any

import keras

from keras_resnet import __version__
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import to_values
from keras_resnet.devices.cluster import find_workers
from keras_resnet.files import local_path
from keras_resnet.runs import environment
from keras_resnet.runs.differ import WORDS
from keras_resnet.runs.job import Job
from keras_resnet.runs.request import TrainRequest

# Options that each host may have of its own: what lies at these paths is compared instead.
OF_A_HOST: tuple[str, ...] = (
    "data",
    "data_dir",
    "weights",
    "teacher",
    "output_dir",
    "devices",
    "log",
    "wait",
    "verbose",
)
DIGITS = 16  # Of a SHA-256: enough to tell two apart, and to read.


def of_request(request: TrainRequest) -> dict[str, Any]:
    """What is known before the data: the options and the versions, by their names."""
    values = {
        option.name: _plain(getattr(request, option.name))
        for option in fields(request)
        if option.name not in OF_A_HOST
    }
    if find_workers().advice:
        # The nodes of a SLURM cluster have the same paths: others mean other runs.
        values["output_dir"] = str(local_path(request.output_dir).resolve())
    return values | _versions()


def _plain(value: Any) -> Any:
    """An option's value; recipes, networks and files by their names.

    What a recipe's file says is compared by `of_job`, wherever the file lies.
    """
    if isinstance(value, Recipe | ResNetSpec | DetectionRecipe | DetectorSpec):
        return value.name
    is_path = isinstance(value, pathlib.Path) or str(value).endswith(".toml")
    return pathlib.Path(value).name if is_path else value


def _versions() -> dict[str, str | None]:
    found = environment.versions()
    return {
        "backend": keras.backend.backend(),
        "version of keras_resnet": __version__,
        "version of Keras": keras.__version__,
        "version of NumPy": found.get("numpy"),
        "version of TensorFlow": found.get("tensorflow", found.get("tensorflow-cpu")),
        "version of JAX": found.get("jax")
        if keras.backend.backend() == "jax"
        else None,
    }


def of_job(job: Job) -> dict[str, Any]:
    """What is known with the data: the recipe, the network, the data, the computation."""
    recipe = _without_words("recipe", to_values(job.recipe))
    if job.request.has_own_images:
        del recipe["dataset"]  # A path.
    splits = job.splits
    return {
        "name": job.name,
        **recipe,
        "network": _without_words("network", to_values(job.spec)),
        "preprocessing": job.preprocessing.as_json(),
        "training images": splits.train.size,
        "validation images": splits.validation.size,
        "test images": None if splits.test is None else splits.test.size,
        "classes": list(splits.class_names),
        "fingerprint of the data": splits.sha256[:DIGITS],
        "weights": job.contents.get("weights", _plain(job.request.weights)),
        "teacher": job.contents.get("teacher", _plain(job.request.teacher)),
        "precision": job.precision,
        "xla": job.xla,
    }


def _without_words(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in values.items() if name not in WORDS[kind]}
