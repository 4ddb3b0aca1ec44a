"""``keras-resnet train``: trains by a recipe, or on a folder of images."""

from __future__ import annotations

import argparse
import sys
import tomllib
from dataclasses import fields
from typing import Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.runs.request import TrainRequest, flag


def add_train(subparsers: Any) -> None:
    """Adds ``train``, whose defaults are those of `TrainRequest`."""
    sub = command(
        subparsers,
        "train",
        train,
        "Train a network or a detector by a recipe, or resume its training.",
        "keras-resnet train --data photos --network resnet18",
        frameworks=("keras", "tensorflow"),
    )
    groups: dict[str, Any] = {}
    length = None
    for option in fields(TrainRequest):
        name = option.metadata["group"]
        if not name:
            continue
        if name not in groups:
            groups[name] = sub.add_argument_group(name)
        place, keywords = groups[name], dict(option.metadata["argparse"])
        if option.name in ("steps", "epochs"):
            length = length or place.add_mutually_exclusive_group()
            place = length
        keywords |= {"default": argparse.SUPPRESS, "help": option.metadata["help"]}
        keywords.pop("flag", None)
        if option.name == "recipe":
            place.add_argument("recipe", nargs="?", **keywords)
        elif option.name == "changes":
            place.add_argument("--set", dest="changes", type=assignment, **keywords)
        else:
            place.add_argument(flag(option), **keywords)
    run = groups["run"]
    run.add_argument(
        "--seeds",
        type=seeds,
        metavar="FIRST-LAST",
        help="train one run with each of these seeds; print mean and deviation",
    )
    run.add_argument(
        "--plan",
        action="store_true",
        help="print what training would take, and train nothing",
    )
    run.add_argument("--quiet", action="store_true", help="print nothing")
    add_common(sub)


def assignment(text: str) -> tuple[str, Any]:
    """Parses ``FIELD=VALUE``, the value in TOML; text needs no quotation marks."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise argparse.ArgumentTypeError(
            f"must be FIELD=VALUE, such as batch_size=64. Received: {text!r}."
        )
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def seeds(text: str) -> range:
    """Parses ``FIRST-LAST``, both included."""
    first, sign, last = text.partition("-")
    if not (sign and first.isdecimal() and last.isdecimal()) or int(first) > int(last):
        raise argparse.ArgumentTypeError(
            f"must be FIRST-LAST, such as 0-4. Received: {text!r}."
        )
    return range(int(first), int(last) + 1)


def train(options: argparse.Namespace) -> None:
    """``keras-resnet train``: trains, which prints the results and where they lie."""
    from keras_resnet import reproduce
    from keras_resnet.devices.cluster import EVALUATOR, find_workers
    from keras_resnet.runs.record import read_record
    from keras_resnet.runs.tables import of_seeds

    names = {option.name for option in fields(TrainRequest)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if "changes" in given:
        given["changes"] = _once(given["changes"])
    # Of several workers, the chief measures, writes the record, and speaks.
    several = find_workers()
    chief = several.index == 0
    if several.evaluator:  # No error: clouds end the whole job where a task fails.
        print(EVALUATOR, file=sys.stderr)
        return
    if options.plan:
        text = reproduce.plan(**given)
        if chief:
            print(text)
        return
    if options.seeds and ("seed" in given or several.count > 1):
        raise ValueError(
            "`--seeds` trains one run after the other on one worker: leave out --seed. "
            f"Received: --seed {given.get('seed')}, {several.count} workers."
            f"{several.advice}"
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
