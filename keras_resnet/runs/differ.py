"""Compares the settings of two runs, as ``settings.json`` holds them."""

import json
from collections.abc import Callable, Set
from typing import Any, TypeAlias

from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import EARLIER

# A setting that differs: its name, its value in the folder and the one that is wanted.
Difference: TypeAlias = tuple[str, Any, Any]
Explain: TypeAlias = Callable[[dict[str, Any], list[Difference]], str]
OTHER_FOLDER = (
    "Give the same again, or choose another --output-dir, --seed or --name for another "
    "run."
)
# Fields of recipe and network, or detector, that don't change a result.
WORDS: dict[str, tuple[str, ...]] = {
    "recipe": ("name", "source", "target", "deviations"),
    "network": ("name", "paper", "source", "depth_counts", "deviations"),
}
# Settings that aren't compared: contents stand for the options that name the files, and the
# number of snapshots, which earlier versions wrote, changes no result.
BESIDE: tuple[str, ...] = ("contents", "snapshots")
# Options of which all that counts becomes fields of the recipe or of the network.
SPELLED: tuple[str, ...] = (
    "network",
    "size",
    "augment",
    "no_flip",
    "steps",
    "epochs",
    "batch_size",
    "learning_rate",
    "changes",
)
# Settings that a run keeps to its end, on whatever machine it goes on.
COMPUTING: tuple[str, ...] = ("precision", "xla")
# Fields of the preprocessing that stand beside the recipe, as the run has them. In earlier
# versions there were none: an unfinished run goes on with `EARLIER`.
PREPARING: tuple[str, ...] = tuple(EARLIER)


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[Difference]:
    """The settings that differ: name, value in ``found`` and value in ``wanted``.

    Data and files are compared by what they hold, wherever they lie; files of runs of
    earlier versions, which didn't note that, by their paths. Where recipe and network are
    the same, it doesn't count by which options they came about.
    """
    both = found.get("contents", {}).keys() & wanted.get("contents", {}).keys()
    there, here = _flat(found, both), _flat(wanted, both)
    others = [
        (key, there.get(key), here.get(key))
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    spelled = {_flag(name) for name in SPELLED}
    return [] if all(key in spelled for key, *_ in others) else others


def _flat(values: dict[str, Any], by_content: Set[str]) -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if key == "recipe":
            value = value | {"preprocessing": _prepared_by(value)}
            value["dataset"] = _known(value["dataset"])
        if key in WORDS:
            flat |= {
                name if key == "recipe" else f"{key}.{name}": one
                for name, one in value.items()
                if name not in WORDS[key]
            }
        elif key == "overrides":
            contents = {name: values["contents"][name] for name in by_content}
            flat |= {
                _flag(name): one
                for name, one in (value | contents).items()
                if name != "data"
            }
            flat["--data"] = _known(value.get("data"))
        elif key not in BESIDE:
            flat[key] = value
    return flat


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _known(data: str | None) -> str | None:
    """A data set's name; of a folder, whose images have a fingerprint, only that."""
    named = data is None or data in DATASETS or data in BOX_DATASETS
    return data if named else "a folder of images"


def _prepared_by(recipe: dict[str, Any]) -> dict[str, Any] | None:
    """A recipe's preprocessing, or else its data set's, without `PREPARING`."""
    values = recipe.get("preprocessing")  # Recipes of detection have none.
    if values is None and recipe["dataset"] in DATASETS:
        values = json.loads(
            json.dumps(DATASETS[recipe["dataset"]].preprocessing.as_json())
        )
    if values is None:
        return None
    return {name: value for name, value in values.items() if name not in PREPARING}


def in_words(
    found: dict[str, Any], others: list[Difference], advice: str = OTHER_FOLDER
) -> str:
    """Says how settings differ, and what to do.

    Args:
        found: The settings in the folder.
        others: Their `differences` from those that are wanted.
        advice: What to do.
    """
    said = "; ".join(f"{key} (there {a!r}, here {b!r})" for key, a, b in others)
    return f"{said}. {advice}"
