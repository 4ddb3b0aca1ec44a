"""Residual networks for Keras 3: built, trained, evaluated and served.

Names are imported when they are first used, so that the command line can choose Keras's
backend before it imports Keras.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from keras_resnet.lazy import names_from

if TYPE_CHECKING:  # What editors and type checkers see of the names below.
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from keras_resnet.applications import (
        ResNet18,
        ResNet18V2,
        ResNet34,
        ResNet34V2,
        ResNet50,
        ResNet50V2,
        ResNet101,
        ResNet101V2,
        ResNet152,
        ResNet152V2,
        ResNet200V2,
        backbone,
        create,
        list_models,
        preprocess_input,
    )
    from keras_resnet.reproduce import plan, train
    from keras_resnet.runs.compare import compare
    from keras_resnet.runs.load import load

__version__ = "0.1.0"

__all__ = [
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet18V2",
    "ResNet34V2",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "ResNet200V2",
    "backbone",
    "compare",
    "create",
    "list_models",
    "load",
    "plan",
    "preprocess_input",
    "train",
]

_HOMES = dict.fromkeys(__all__, "applications") | {
    "compare": "runs.compare",
    "load": "runs.load",
    "plan": "reproduce",
    "train": "reproduce",
}


if not TYPE_CHECKING:  # Checkers would take every other name for an `Any` of it.
    __getattr__ = names_from(_HOMES, __name__)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


# The modules of the classes that Keras looks up by name when it loads a model; each of
# them has the decorator `register_keras_serializable(package="keras_resnet")`.
_REGISTERED = (
    "analysis.routed_add",
    "data.random_colors",
    "data.random_crops",
    "data.random_layers",
    "detection.ensemble",
    "detection.faster_rcnn",
    "detection.multi_scale",
    "detection.pyramid",
    "detection.refinement",
    "models.layers",
    "training.batch_norm",
    "training.distillation",
    "training.optimizers",
    "training.schedules",
    "training.steps",
)


def _register() -> None:
    for name in _REGISTERED:
        importlib.import_module(f"{__name__}.{name}")


class _RegisterAfterKeras:
    """An import finder that registers our classes once Keras has been imported.

    So a model with our layers loads whichever of Keras and this package is imported
    first, and importing this package alone imports no framework. It finds nothing by
    itself, and removes itself when it is done. Where a module of ours imports Keras, it
    waits for that module's end: before, the classes' modules can't import from it.
    """

    def __init__(self) -> None:
        self.depth = 0  # Of imports that are under way.

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != "keras" and not name.startswith(f"{__name__}."):
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self.depth += 1
            try:
                execute(module)
            finally:
                self.depth -= 1
            if not self.depth and "keras" in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        loader.exec_module = exec_module


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _RegisterAfterKeras())
