"""Reads what PyTorch's `torch.save` wrote, without running any code of the file.

PyTorch's own reader of tensors (``weights_only=True``) does the work. It refuses files
that hold anything else, such as the options of a training or a whole model. Here every
class and function that such a file names is replaced by one that does nothing but keep
what it is given, so that the tensors beside it can be read.
"""

import pathlib
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

# What protocol 2 of pickle writes for these modules of Python 3.
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
LEGACY_HEADER = 3  # Pickles before that of the object, as PyTorch wrote before 1.6.


# How PyTorch's reader says that an object is filled with items, which it does only with
# what is none of a class of somebody's own.
FILLED = re.compile(r"Can only (\w+) .* got <class '([^']+)'>")


class Inert:
    """Stands for an object whose class isn't loaded, and does nothing.

    Attributes:
        holds: What is made instead: a dict or a list, where the class is a kind of one.
        fields: The object's attributes as the file has them.
    """

    holds: type[Any] | None = None
    fields: dict[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Makes one, whatever the class or function would be called with."""
        if cls.holds is not None:
            return cls.holds()
        made = object.__new__(cls)
        made.fields = {}
        return made

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Ignores what the class would be called with."""

    def __setstate__(self, state: Any) -> None:
        """Keeps the attributes, if they are a dict of them."""
        if isinstance(state, tuple) and len(state) == 2:  # The second are of slots.
            state = state[0]
        self.fields = state if isinstance(state, dict) else {}


def load(path: pathlib.Path) -> Any:
    """Reads a file of `torch.save`.

    Args:
        path: Path of the file.

    Returns:
        What was saved, with an `Inert` for each object that isn't a tensor or a value of
        Python's own.

    Raises:
        Exception: Of many kinds, if the file is damaged, or names a module of the
            operating system.
    """
    import torch

    stubs = {}
    for module, name in _globals_in(path):
        stub = type(name.rpartition(".")[2], (Inert,), {"__module__": module})
        stub.__qualname__ = name
        stubs[f"{module}.{name}"] = stub
    while True:
        try:
            # What PyTorch itself takes for harmless has precedence over these.
            with torch.serialization.safe_globals(list(stubs.values())):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            filled = FILLED.search(str(error))
            stub = stubs.get(filled[2]) if filled else None
            if stub is None or stub.holds is not None:
                raise
            stub.holds = OrderedDict if filled[1].startswith("SETITEM") else list


def _globals_in(path):
    """The modules and names of all classes and functions that a file wants to load."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.split("/")[-1] == "data.pkl")
            with archive.open(name) as file:
                return set(_globals_in_pickle(file))
    with open(path, "rb") as file:
        header_and_object = range(LEGACY_HEADER + 1)
        return {one for _ in header_and_object for one in _globals_in_pickle(file)}


def _globals_in_pickle(file: Any) -> Iterator[tuple[str, str]]:
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            module, name = str(argument).split(" ", 1)
            yield RENAMED.get(module, module), name
