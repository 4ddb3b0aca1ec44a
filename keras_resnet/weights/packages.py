"""Imports the packages that some sources and files of weights need, or says which."""

from importlib import import_module
from types import ModuleType

from keras_resnet.config.extras import install


def imported(module: str, what: str) -> ModuleType:
    """Imports a module of a package that need not be installed.

    Args:
        module: Dotted name of the module.
        what: What needs it, to begin the message with.

    Returns:
        The module.

    Raises:
        ImportError: If the package isn't installed, or doesn't work with what is.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{what} needs {package}, which isn't installed: {install(package)}",
            name=package,
        ) from error
    except RuntimeError as error:  # If torchvision was built for another PyTorch.
        raise ImportError(
            f"{module} can't be imported beside this torch ({error}): install torch and "
            "torchvision that belong together, or download the file and give its path "
            "as the weights."
        ) from error
