"""Residual networks for Keras 3: built, trained, evaluated and served.

Names are imported when they are first used, so that the command line can choose
Keras's backend before Keras is imported.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "applications": (
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
        "create",
        "list_models",
        "preprocess_input",
    ),
    "runs.load": ("load",),
    "reproduce": ("train",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOME_OF[name]}")
    return getattr(home, name)


def __dir__():
    return [*globals(), *__all__]
