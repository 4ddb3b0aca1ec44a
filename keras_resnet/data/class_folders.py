"""Looks at class folders that may be something else than one class each."""

from __future__ import annotations

import pathlib
import warnings
from collections import defaultdict
from collections.abc import Sequence

from keras_resnet.data.layout import NAMES
from keras_resnet.data.listing import as_text, contents, identity


def check_not_splits(root: pathlib.Path, folders: Sequence[pathlib.Path]) -> None:
    """Checks that class folders aren't parts of a data set with the classes inside.

    A class may have folders inside, but hardly those of all other classes and no image
    beside them, as ``fold1/{cat,dog}`` and ``fold2/{cat,dog}`` have.

    Args:
        root: The folder that they lie in. One that is called like a split, such as
            ``train``, holds classes whatever they look like.
        folders: The class folders.

    Raises:
        ValueError: If all hold nothing but the same folders, two or more.
    """
    if len(folders) < 2 or root.resolve().name.lower() in NAMES:
        return
    common = None
    for folder in folders:
        inside = contents(folder)
        names = sorted(as_text(path.name) for path in inside.folders)
        if inside.images or len(names) < 2 or common not in (None, names):
            return
        common = names
    raise ValueError(
        f"The folders in {as_text(root)} must be the classes. Received: "
        f"{_listed(as_text(folder.name) for folder in folders)}, all of which hold "
        f"{_listed(common)}, and no images beside them. If these are the classes, put "
        "the images of each into one folder, or call the parts `train`, `val` and `test`. "
        "If the outer ones are, put them into a folder `train`."
    )


def check_distinct(folders: Sequence[pathlib.Path]) -> None:
    """Checks that no class folder is a link to another, and warns of names like others.

    Args:
        folders: The class folders of a split.

    Raises:
        ValueError: If two are one and the same folder.

    Warns:
        UserWarning: If names differ in nothing but capitals.
    """
    known, spellings = {}, defaultdict(list)
    for folder in folders:
        other = known.setdefault(identity(folder), folder)
        if other is not folder:
            raise ValueError(
                "Every class must have a folder of its own. Received: "
                f"{as_text(other.name)!r} and {as_text(folder.name)!r} in "
                f"{as_text(folder.parent)}, which are one and the same. Remove the link."
            )
        name = as_text(folder.name)
        spellings[name.casefold()].append(name)
    twins = [names for names in spellings.values() if len(set(names)) > 1]
    if twins:
        warnings.warn(
            f"In {as_text(folders[0].parent)} names differ in nothing but capitals, and "
            "are classes of their own: "
            f"{'; '.join(' and '.join(map(repr, names)) for names in twins[:3])}. Put "
            "together what belongs together.",
            stacklevel=3,
        )


def _listed(names):
    """The first names of folders, in a sentence."""
    shown = [f"{name}/" for name in names]
    return ", ".join(shown[:3]) + ", …" * (len(shown) > 3)
