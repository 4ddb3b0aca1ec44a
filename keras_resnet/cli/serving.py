"""``keras-resnet serve``: answers requests for predictions."""

from __future__ import annotations

import argparse
import functools
import pathlib
from typing import TYPE_CHECKING, Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.config.words import seconds_of
from keras_resnet.files import local_path

if TYPE_CHECKING:
    from keras_resnet.serving.servables import AnyServable


def add_serve(subparsers: Any) -> None:
    """Adds ``serve``."""
    sub = command(
        subparsers,
        "serve",
        serve,
        "Answer requests for predictions as TensorFlow Serving does.",
        "keras-resnet serve runs/quickstart_seed0 --name fashion",
    )
    sub.add_argument(
        "run",
        metavar="RUN",
        help="folder of a run or of an export, or one that holds it",
    )
    sub.add_argument("--name", help="name of the model in paths (the folder's)")
    sub.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1; 0.0.0.0 for other machines too)",
    )
    sub.add_argument("--port", type=int, default=8501, help="port (8501)")
    sub.add_argument(
        "--max-batch",
        type=int,
        default=32,
        metavar="N",
        help="most images in a batch (32)",
    )
    sub.add_argument(
        "--batch-timeout",
        type=float,
        default=0.01,
        metavar="SECONDS",
        help="maximum wait to fill a batch (0.01)",
    )
    sub.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that compute, each with a model of its own (1)",
    )
    sub.add_argument(
        "--drain",
        default="30s",
        metavar="TIME",
        help="time that running requests have to end after SIGTERM or Ctrl-C, such as "
        "90s or 2m (30s)",
    )
    sub.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin ask, such as https://example.org; * for all "
        "(none; can be repeated)",
    )
    add_common(sub)


def serve(options: argparse.Namespace) -> None:
    """``keras-resnet serve``: answers requests until it is stopped."""
    folder = to_serve(options.run)
    drain = seconds_of(options.drain, "drain")
    from keras_resnet.serving import server
    from keras_resnet.serving.queries import RequestLimits

    server.serve(
        functools.partial(servable, str(folder), options.quiet_start),
        name=options.name or folder.name,
        host=options.host,
        port=options.port,
        max_batch=options.max_batch,
        batch_timeout=options.batch_timeout,
        workers=options.workers,
        limits=RequestLimits(drain=drain),
        cors=options.cors,
    )


def to_serve(path: str) -> pathlib.Path:
    """The folder of a run or an export: ``path``, or the only such folder in it."""
    folder = local_path(path).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{path} must hold a finished run, or an exported form of one: there is no "
            "folder."
        )
    if _is_servable(folder):
        return folder
    found = sorted(
        one for one in folder.iterdir() if one.is_dir() and _is_servable(one)
    )
    if len(found) > 1:
        raise ValueError(
            f"{path} must be the folder of one run, and it holds {len(found)}: name one "
            f"of {', '.join(str(pathlib.Path(path) / one.name) for one in found)}."
        )
    return found[0] if found else folder


def _is_servable(folder: pathlib.Path) -> bool:
    """Whether a folder holds a run, a converted network or an export, by its files."""
    names = ("record.json", "source.json", "form.json", "saved_model.pb")
    versions = folder.glob("[0-9]*/saved_model.pb")
    return any((folder / name).is_file() for name in names) or any(versions)


def servable(folder: str, quiet: bool) -> AnyServable:
    """`runs.servable.servable` for the server's workers: only they import Keras.

    Args:
        folder: Of a run or of an export.
        quiet: Whether to drop the lines that TensorFlow begins with.
    """
    if quiet:
        import_frameworks("keras", "tensorflow", look_for_gpus=True)
    from keras_resnet.runs.servable import servable

    return servable(folder)
