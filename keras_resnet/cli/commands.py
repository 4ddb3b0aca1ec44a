"""The commands: each calls the package's functions and prints what they return.

Each imports what it needs when it is called, since `--backend` must be known before Keras
is imported (docs/decisions/0002) and `list` needs no framework at all.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from keras_resnet.cli.startup import import_frameworks
from keras_resnet.cli.steps import step
from keras_resnet.config.words import counted
from keras_resnet.files import local_path

if TYPE_CHECKING:
    from keras_resnet.serving.worker import Servable


def train(options: argparse.Namespace) -> None:
    """``keras-resnet train``: trains, which prints the results and where they lie."""
    from keras_resnet import reproduce
    from keras_resnet.devices.cluster import find_workers
    from keras_resnet.runs.record import read_record
    from keras_resnet.runs.request import TrainRequest
    from keras_resnet.runs.tables import of_seeds

    names = {option.name for option in fields(TrainRequest)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if "changes" in given:
        given["changes"] = _once(given["changes"])
    # Of several workers, the chief measures, writes the record, and speaks.
    several = find_workers()
    chief = several.index == 0
    if options.plan:
        text = reproduce.plan(**given)
        if chief:
            print(text)
        return
    if options.seeds and ("seed" in given or several.count > 1):
        raise ValueError(
            "`--seeds` trains one run after the other on one worker: leave out --seed. "
            f"Received: --seed {given.get('seed')}, {several.count} workers."
        )
    verbose = 0 if options.quiet else 1
    records = []
    for seed in options.seeds or [None]:
        one = given if seed is None else given | {"seed": seed}
        folder = reproduce.train(**one, verbose=verbose)
        if chief and verbose:
            records.append(read_record(folder / "record.json"))
    if options.seeds and verbose:
        print(of_seeds(records))


def _once(changes: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of ``--set``, none of which may be given twice."""
    names = [name for name, _ in changes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`--set` must give a field once. Received twice: {twice}.")
    return dict(changes)


def evaluate(options: argparse.Namespace) -> None:
    """``keras-resnet evaluate``: measures a run and prints its errors."""
    from keras_resnet.runs.evaluate import evaluate

    with step(f"Measuring {options.run}"):
        result = evaluate(
            options.run,
            data=options.data,
            data_dir=options.data_dir,
            split=options.split,
            batch_size=options.batch_size,
        )
    # Of five classes and fewer there is no top-5 error.
    top5 = result["top5_error"]
    said = "" if top5 is None else f"top-5 error {top5:.2f} %, "
    print(
        f"{result['data']} {result['split']}: top-1 error {result['top1_error']:.2f} %, "
        f"{said}loss {result['loss']:.4f}, {counted(result['n'], 'image')}"
    )


def predict(options: argparse.Namespace) -> int:
    """``keras-resnet predict``: names what is on images.

    Returns:
        The exit code: 1 if some images can't be read, or the table can't be written.
    """
    from rich.console import Console
    from rich.progress import track

    from keras_resnet.runs.predict import (
        check_table,
        files,
        load_classifier,
        predict,
        write_table,
    )

    if options.output is not None:
        check_table(options.output, options.overwrite)
    classifier = load_classifier(options.run)
    images = files(options.images)
    answers, unread = [], 0
    answered = predict(classifier, images, top=options.top)
    if options.output is not None:
        console = Console(stderr=True)
        answered = track(
            answered,
            total=len(images),
            description="",
            console=console,
            disable=not console.is_terminal,
        )
    for image, answer in answered:
        if isinstance(answer, ValueError):
            unread += 1
            print(f"keras-resnet: {answer}", file=sys.stderr)
        elif options.output is None:
            print(_line(image, answer))
        answers.append((image, answer))
    if options.output is None:
        return 1 if unread else 0
    try:
        write_table(options.output, answers)
    except OSError as error:  # The disk may be full by now.
        for image, answer in answers:
            if not isinstance(answer, ValueError):
                print(_line(image, answer))
        print(
            f"keras-resnet: {options.output} can't be written ({error.strerror or error}): "
            "the answers are printed instead.",
            file=sys.stderr,
        )
        return 1
    print(f"{options.output}: {counted(len(images) - unread, 'image')}")
    return 1 if unread else 0


def _line(image: pathlib.Path, answer: list[tuple[str, float]]) -> str:
    """An image's answer for the terminal."""
    named = ", ".join(f"{name} {100 * share:.1f} %" for name, share in answer)
    # Names that are no UTF-8 can't be printed.
    return f"{os.fsencode(image).decode(errors='replace')}: {named}"


def export(options: argparse.Namespace) -> None:
    """``keras-resnet export``: writes a run in another form and compares the two."""
    from keras_resnet.export import compare
    from keras_resnet.runs.export import export

    with step(f"Exporting {options.run} as {options.format}"):
        folder, result = export(
            options.run,
            format=options.format,
            precision=options.precision,
            data=options.data,
            data_dir=options.data_dir,
            output=options.output,
            version=options.version,
            overwrite=options.overwrite,
        )
    print(folder)
    print(compare.line(result))
    lost = result.get("original_accuracy", 0) - result.get("accuracy", 0)
    if lost > 0.5:
        print(
            f"keras-resnet: {result['precision']} lost {lost:.1f} points of accuracy: give "
            "images like those it will see (--data), or take another precision or format.",
            file=sys.stderr,
        )


def serve(options: argparse.Namespace) -> None:
    """``keras-resnet serve``: answers requests until it is stopped."""
    folder = to_serve(options.run)
    from keras_resnet.serving import server

    server.serve(
        functools.partial(servable, str(folder), options.quiet_start),
        name=options.name or folder.name,
        host=options.host,
        port=options.port,
        max_batch=options.max_batch,
        batch_timeout=options.batch_timeout,
        workers=options.workers,
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


def servable(folder: str, quiet: bool) -> Servable:
    """`runs.predict.servable` for the server's workers: only they import Keras.

    Args:
        folder: Of a run or of an export.
        quiet: Whether to drop the lines that TensorFlow begins with.
    """
    if quiet:
        import_frameworks("keras", "tensorflow", look_for_gpus=True)
    from keras_resnet.runs.predict import servable

    return servable(folder)


def convert(options: argparse.Namespace) -> None:
    """``keras-resnet convert``: writes weights in another form and compares logits."""
    from keras_resnet.runs.convert import convert

    with step(f"Converting {options.source}"):
        done = convert(
            options.source,
            options.out,
            network=options.network,
            to=options.to,
            classes=options.classes,
            overwrite=options.overwrite,
        )
    print(f"{done.path}: {done.network} from {options.source}")
    if done.library is None:
        print("The logits were not compared: no library that has this network is here.")
    else:
        print(
            f"greatest difference of the logits from {done.library}'s: "
            f"{done.difference:.1e}, of logits up to {done.largest:.3g}"
        )
