"""File systems that are no local disk, by calls of the system that refuse."""

import errno
import os
import pathlib

import pytest


@pytest.fixture
def bucket(monkeypatch):
    """A mounted bucket: files are renamed, folders are not.

    gcsfuse says "Too many open files", and others that it isn't supported.
    """
    refusing(monkeypatch, os.path.isdir, errno.EMFILE)


def refusing(monkeypatch, refused, number):
    """Has the system refuse to move what ``refused`` says of a path."""
    for name in ("replace", "rename"):
        whole = getattr(os, name)

        def move(source, target, *, whole=whole, **options):
            if refused(source):
                raise OSError(number, os.strerror(number), os.fspath(source))
            return whole(source, target, **options)

        monkeypatch.setattr(os, name, move)


@pytest.fixture(params=["EBADF", "ENOTSUP", "EINVAL"])
def unflushed(request, monkeypatch):
    """A system that refuses `os.fsync`; Windows does of a file opened for reading."""

    def refuse(number):
        code = getattr(errno, request.param)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)


def names(folder: pathlib.Path) -> list[str]:
    """All that lies in a folder, in folders of it too."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir()
    )
