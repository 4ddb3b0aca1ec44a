"""Files and folders that are written whole or not at all."""

import contextlib
import os
import pathlib
import tempfile


def replace_file(path, write):
    """Writes a file under another name first, so that it is whole or absent."""
    temporary = path.with_name(f"writing_{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(target, sign, overwrite):
    """Raises `FileExistsError` unless a folder may be written, or written anew.

    Args:
        target: `pathlib.Path` of the folder.
        sign: Name of the file by which it is known that an export wrote it.
        overwrite: Whether it may be replaced if it exists.
    """
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise FileExistsError(
                f"{target} must lie in a folder. Received: {parent} is a file. Choose "
                "another folder."
            )
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"The folder must not exist yet. Received: {target}. Choose another one, or "
            "pass `overwrite=True` (--overwrite)."
        )
    if target.exists() and not (target / sign).is_file():
        raise FileExistsError(
            "Only what an export wrote is overwritten. Received: "
            f"{target}, which has no {sign}. Choose another folder."
        )


@contextlib.contextmanager
def replaced(target):
    """Yields a folder to fill, which becomes ``target`` if nothing goes wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, as a move is only atomic within a file system; TF Serving
    # passes over folders whose name is not a number.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as name:
        new, old = pathlib.Path(name) / "new", pathlib.Path(name) / "old"
        yield new
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
