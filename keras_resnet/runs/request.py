"""`TrainRequest`: the options of `train`, each in one place.

The command line's parser, `train`, `plan` and ``settings.json`` all read its fields. The
module imports no framework, since the parser needs it before a backend is chosen. It is
longer than other modules because each option takes several lines.
"""

import os
import pathlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from keras_resnet.config.checks import check_name, is_integer, plain_number
from keras_resnet.config.datasets import DATA_SET
from keras_resnet.config.detection_recipe import DetectionRecipe
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.recipe import MOST_STEPS, Recipe
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import to_named_values
from keras_resnet.config.words import seconds_of
from keras_resnet.devices.cluster import WAIT
from keras_resnet.files import local_path, sha256_of
from keras_resnet.runs.places import DATA_SETS, network_at, where

# A function that tells whether a value is possible, and what it must be, in words.
Check: TypeAlias = tuple[Callable[[Any], bool], str]


def is_pattern(value: Any) -> bool:
    """Whether a value is a regular expression."""
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        return False


COUNT: Check = (lambda value: is_integer(value, 1), "a positive integer")
UPDATES: Check = (
    lambda value: is_integer(value, 1, MOST_STEPS),
    f"an integer from 1 to {MOST_STEPS:,}",
)
SHARE: Check = (lambda value: 0 < value < 1, "between 0 and 1")
POSITIVE: Check = (lambda value: value > 0, "positive")
AUGMENT: tuple[str, ...] = ("none", "light", "strong")
LOGGERS: tuple[str, ...] = ("tensorboard", "wandb", "mlflow")


def option(
    default: Any,
    help: str,
    *,
    group: str,
    check: Check | None = None,
    changes: bool = False,
    path: bool = False,
    **argparse: Any,
) -> Any:
    """A field of `TrainRequest`.

    Args:
        default: Its value unless another is asked for.
        help: For the command line: what the option is, and its default.
        group: The heading under which the command line lists it; empty for an option
            that only Python has.
        check: Of the value, where there is something to check.
        changes: Whether it changes the result of a run. Such options are kept in the
            run's settings and record.
        path: Whether it is, or may be, a path of the local file system.
        **argparse: Further arguments of `argparse.ArgumentParser.add_argument`.
    """
    metadata = {
        "help": help,
        "group": group,
        "check": check,
        "changes": changes,
        "path": path,
        "argparse": argparse,
    }
    return field(default=default, metadata=metadata)


def flag(option: Any) -> str:
    """The name of an option on the command line, such as ``--batch-size``."""
    default = "--" + option.name.replace("_", "-")
    return option.metadata["argparse"].get("flag", default)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The options of `reproduce.train`, whose docstring describes each of them.

    Raises:
        ValueError: If an option has an impossible value, or two exclude each other.
    """

    recipe: str | os.PathLike[str] | Recipe | DetectionRecipe | None = option(
        None,
        "recipe's name, or a .toml file of one; quickstart by default",
        group="recipe",
        path=True,
    )
    data: str | os.PathLike[str] | None = option(
        None,
        "folder with a folder of images per class, or that TensorFlow Datasets wrote, for "
        "a detector images with boxes in VOC's or COCO's form, or a data set's name, to "
        "train on instead of the recipe's",
        group="own images",
        changes=True,
        path=True,
        metavar="DIR|NAME",
    )
    network: str | ResNetSpec | DetectorSpec | None = option(
        None,
        "network or detector to train, instead of the recipe's",
        group="own images",
        changes=True,
        metavar="NAME",
    )
    val_fraction: float | None = option(
        None,
        "share of the images of each class that is kept for validation, where a folder "
        "has no validation images of its own (0.1); of images that belong together, such "
        "as frames of one video, some would be learnt and others measured: see --group",
        group="own images",
        check=SHARE,
        changes=True,
        type=float,
        metavar="SHARE",
    )
    group: str | None = option(
        None,
        "regular expression of the part of the path that images have in common which "
        "must be on one side of the split, such as 'video[0-9]+' or 'patient_[0-9]+'",
        group="own images",
        check=(
            is_pattern,
            "a regular expression, such as 'video[0-9]+', that is looked for in the path "
            "of each image",
        ),
        changes=True,
        metavar="REGEX",
    )
    bit_depth: int | str | None = option(
        None,
        "bits that the values of 16-bit images take, such as 12, or auto: as many as those "
        "of the training images do (16)",
        group="own images",
        check=(
            lambda value: value == "auto" or is_integer(value, 8, 16),
            "an integer from 8 to 16, or 'auto'",
        ),
        changes=True,
        type=lambda text: int(text) if text.isdecimal() else text,
        metavar="BITS|auto",
    )
    zero_based: bool = option(
        False,
        "boxes in VOC's layout count pixels from 0, where VOC counts from 1",
        group="own images",
        changes=True,
        action="store_true",
    )
    size: int | None = option(
        None,
        "side of the network's images in pixels, of a detector's the shorter side, instead "
        "of the recipe's",
        group="own images",
        check=COUNT,
        changes=True,
        type=int,
        metavar="PIXELS",
    )
    augment: str | None = option(
        None,
        "how much training images are changed at random, instead of as the recipe says",
        group="own images",
        check=(lambda value: value in AUGMENT, f"one of {', '.join(AUGMENT)}"),
        changes=True,
        choices=AUGMENT,
    )
    no_flip: bool = option(
        False,
        "never mirror training images: left and right are different things",
        group="own images",
        changes=True,
        action="store_true",
    )
    weights: str | os.PathLike[str] | None = option(
        None,
        "weights to begin from",
        group="own images",
        changes=True,
        path=True,
        metavar="FILE|SOURCE:TAG",
    )
    freeze: int | None = option(
        None,
        "stages, from the first one on, that don't train",
        group="own images",
        check=(lambda value: is_integer(value, 0), "an integer of at least 0"),
        changes=True,
        type=int,
        metavar="N",
    )
    teacher: str | os.PathLike[str] | None = option(
        None,
        "folder of a run to distil from",
        group="recipe",
        changes=True,
        path=True,
        metavar="RUN",
    )
    steps: int | None = option(
        None,
        "updates in all, instead of the recipe's",
        group="recipe",
        check=UPDATES,
        changes=True,
        type=int,
    )
    epochs: float | None = option(
        None,
        "passes over the training images, instead of the recipe's; need not be whole",
        group="recipe",
        check=POSITIVE,
        changes=True,
        type=float,
    )
    batch_size: int | None = option(
        None,
        "images per update, over all devices, instead of the recipe's",
        group="recipe",
        check=COUNT,
        changes=True,
        type=int,
    )
    learning_rate: float | None = option(
        None,
        "highest learning rate of the schedule, instead of the recipe's",
        group="recipe",
        check=POSITIVE,
        changes=True,
        type=float,
    )
    changes: Mapping[str, Any] | None = option(
        None,
        "change any field of the recipe, e.g. schedule.learning_rate=0.05 (repeatable)",
        group="recipe",
        changes=True,
        flag="--set",
        action="append",
        metavar="FIELD=VALUE",
    )
    name: str | None = option(
        None,
        "name of the run, in place of the recipe's in its folder's name",
        group="run",
    )
    seed: int = option(
        0,
        "seed of initialization, shuffling and augmentation (0)",
        group="run",
        check=(
            lambda value: is_integer(value, 0, 2**32 - 1),
            "an integer from 0 to 4,294,967,295",
        ),
        type=int,
    )
    output_dir: str | os.PathLike[str] = option(
        "runs",
        "folder in which the run's folder is made (runs)",
        group="run",
        path=True,
    )
    data_dir: str | os.PathLike[str] | None = option(
        None, "where TensorFlow Datasets keeps its data", group="run"
    )
    snapshots: int | None = option(
        None,
        "sets of weights to keep along the training, spread evenly over the updates from "
        "the initial weights to the final ones, for `analyze` (none)",
        group="run",
        check=(
            lambda value: is_integer(value, 2),
            "an integer of at least 2, for the initial and the final weights",
        ),
        type=int,
        metavar="N",
    )
    log: tuple[str, ...] | str = option(
        (),
        "also log to this tool (repeatable)",
        group="run",
        action="append",
        choices=LOGGERS,
    )
    devices: str = option(
        "all",
        "devices to compute on: all, cpu, gpu, gpu:0,1 or cpu:2 (all)",
        group="machine",
    )
    precision: str = option(
        "auto",
        "dtype policy of training (auto: what suits devices and network)",
        group="machine",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    xla: str = option(
        "auto",
        "whether to compile with XLA (auto: on one GPU and on JAX)",
        group="machine",
        choices=("auto", "on", "off"),
    )
    sync_batch_norm: bool = option(
        False,
        "take batch norm's statistics over all devices",
        group="machine",
        changes=True,
        action="store_true",
    )
    accumulate: int = option(
        1,
        "micro-batches that each batch is split into, to save memory (1)",
        group="machine",
        check=COUNT,
        changes=True,
        type=int,
        metavar="K",
    )
    steps_per_execution: int = option(
        1,
        "updates that Python starts at a time, for small networks on a GPU (1)",
        group="machine",
        check=COUNT,
        type=int,
        metavar="N",
    )
    deterministic: bool = option(
        False,
        "have GPUs give the same bits each time; TensorFlow without XLA",
        group="machine",
        changes=True,
        action="store_true",
    )
    wait: str = option(
        WAIT,
        f"how long to wait for the other workers, such as 90s or 2h ({WAIT})",
        group="machine",
        check=(lambda value: seconds_of(value, "wait"), "a length of time"),
        metavar="TIME",
    )
    verbose: int = option(1, "how much is printed", group="")

    def __post_init__(self) -> None:
        kinds = str | os.PathLike | Recipe | DetectionRecipe | None
        if not isinstance(self.recipe, kinds):
            raise ValueError(
                "`recipe` must be a name, the path of a .toml file, a `Recipe` or a "
                "`DetectionRecipe`. "
                f"Received: recipe={self.recipe!r}."
            )
        for option in ("data", "weights", "teacher", "data_dir"):
            value = getattr(self, option)
            if not isinstance(value, str | os.PathLike | None):
                raise ValueError(
                    f"`{option}` must be a path or a name. Received: {option}={value!r}."
                )
        if self.name is not None:
            check_name(self.name)
        log = (self.log,) if isinstance(self.log, str) else tuple(self.log or ())
        object.__setattr__(self, "log", log)
        self._set_numbers()
        self._set_changes()
        self._set_paths()
        for option in fields(self):
            self._check(option)
        if self.recipe is None and self.data is None:
            object.__setattr__(self, "recipe", "quickstart")
        if self.steps is not None and self.epochs is not None:
            raise ValueError(
                "Give `steps` (--steps) or `epochs` (--epochs), not both. "
                f"Received: steps={self.steps}, epochs={self.epochs}."
            )
        if self.recipe is None and self.network is None:
            raise ValueError(
                "`data` (--data) needs a `network` (--network), such as 'resnet18', or a "
                "recipe to train it by. Received: neither."
            )
        if self.freeze is not None and self.weights is None:
            raise ValueError(
                "`freeze` (--freeze) needs `weights` (--weights). "
                f"Received: freeze={self.freeze}, weights=None."
            )

    def _set_numbers(self) -> None:
        """Makes Python's numbers of NumPy's, so that they can be recorded."""
        for option in fields(self):
            value = plain_number(getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    def _set_changes(self) -> None:
        """Makes plain values of the changes, so that they can be recorded."""
        if self.changes is None:
            return
        if not isinstance(self.changes, Mapping):
            raise ValueError(
                "`changes` must be a dict from names of fields to values. "
                f"Received: changes={self.changes!r}."
            )
        plain = {name: to_named_values(value) for name, value in self.changes.items()}
        object.__setattr__(self, "changes", plain)

    def _set_paths(self) -> None:
        """Expands ``~`` in all paths, and refuses remote ones before anything is made."""
        for option in fields(self):
            value = getattr(self, option.name)
            if not option.metadata["path"] or not isinstance(value, str | os.PathLike):
                continue
            path = local_path(value, f"`{option.name}` ({flag(option)})")
            text = str(path)
            # A string may also be a name, which stays one. A path, such as ./cifar10, must
            # not become one.
            if isinstance(value, str) and (text == value or os.sep in text):
                object.__setattr__(self, option.name, text)
            else:
                object.__setattr__(self, option.name, path)
        self._set_data()

    def _set_data(self) -> None:
        """Decides what `data` means: a download into this folder can't change it later."""
        name = where(self.data)  # Raises an error if it has two meanings.
        if name in DATA_SETS:
            object.__setattr__(self, "data", f"{DATA_SET}{name}")

    def check_val_fraction(self) -> None:
        """Raises `ValueError` if a validation share or groups are asked of a data set."""
        if self.has_own_images:
            return
        for option in ("val_fraction", "group"):
            value = getattr(self, option)
            if value is not None:
                raise ValueError(
                    f"`{option}` (--{option.replace('_', '-')}) splits a folder of "
                    "images; of a data set, the split is fixed. Leave it out, or give a "
                    f"folder as `data` (--data). Received: {option}={value!r}, "
                    f"data={self.data!r}."
                )

    def check_bit_depth(self) -> None:
        """Raises `ValueError` if a bit depth is asked of a data set: these have 8 bits."""
        if self.bit_depth is not None and not self.has_own_images:
            raise ValueError(
                "`bit_depth` (--bit-depth) is of a folder of images; those of a data set "
                "have 8 bits. Leave it out, or give a folder as `data` (--data). Received: "
                f"bit_depth={self.bit_depth!r}, data={self.data!r}."
            )

    def check_zero_based(self) -> None:
        """Raises `ValueError` if it is asked of images without boxes."""
        if self.zero_based:
            raise ValueError(
                "`zero_based` (--zero-based) is of boxes, which a classifier doesn't have. "
                "Leave it out, or name a detector as `network` (--network)."
            )

    def _check(self, option: Any) -> None:
        value, check = getattr(self, option.name), option.metadata["check"]
        if check is None or value is None:
            return
        try:
            possible = not isinstance(value, bool) and check[0](value)
        except TypeError:
            possible = False
        if not possible:
            raise ValueError(
                f"`{option.name}` ({flag(option)}) must be {check[1]}. "
                f"Received: {option.name}={value!r}."
            )

    @property
    def has_own_images(self) -> bool:
        """Whether the data is a folder of images."""
        return self.data is not None and where(self.data) not in DATA_SETS

    @property
    def changes_images(self) -> bool:
        """Whether size or augmentation of the images is asked for."""
        return self.size is not None or self.augment is not None or self.no_flip

    def overrides(self, **resolved: Any) -> dict[str, Any]:
        """What was asked for besides the recipe, in JSON's types, for the record.

        Args:
            **resolved: Values of options that were decided later.
        """
        asked = {
            option.name: resolved.get(option.name, getattr(self, option.name))
            for option in fields(self)
            if option.metadata["changes"]
        }
        for name, usual in {"accumulate": 1, "bit_depth": 16}.items():
            if asked[name] == usual:
                del asked[name]
        if isinstance(asked["network"], ResNetSpec | DetectorSpec):
            asked["network"] = asked["network"].name
        asked["data"] = where(asked["data"])
        if asked["teacher"] is not None:
            asked["teacher"] = str(local_path(asked["teacher"]).resolve())
        if asked["weights"] is not None:
            # A file or a run by its full path, however it was written; a source by name.
            path = pathlib.Path(os.path.expanduser(asked["weights"]))
            here = network_at(path) is not None
            asked["weights"] = str(path.resolve() if here else asked["weights"])
        if asked["changes"] is not None:
            asked["changes"] = dict(asked["changes"])
        return {
            name: value
            for name, value in asked.items()
            if value is not None and value is not False
        }

    def contents(self) -> dict[str, str]:
        """The SHA-256 of the files that are asked for, by the options that name them."""
        given = {"weights": self.weights, "teacher": self.teacher}
        files = {name: path and network_at(path) for name, path in given.items()}
        return {name: sha256_of(file) for name, file in files.items() if file}
