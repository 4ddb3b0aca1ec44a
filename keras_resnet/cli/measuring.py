"""``keras-resnet evaluate``: measures runs, and says how good they are."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.config.box_protocols import BOX_PROTOCOLS
from keras_resnet.config.protocols import NOISE, PROTOCOLS, Protocol
from keras_resnet.config.words import counted


def add_evaluate(subparsers: Any) -> None:
    """Adds ``evaluate``."""
    sub = command(
        subparsers,
        "evaluate",
        evaluate,
        "Measure runs, and keep the results in evaluation.json.",
        "keras-resnet evaluate runs/quickstart_seed0\n"
        "  keras-resnet evaluate runs/seed0 runs/seed1 --scales 32 --crops 10",
        frameworks=("keras", "tensorflow"),
    )
    sub.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run; of several, their ensemble is measured too",
    )
    sub.add_argument("--data", help="folder of images or data set (the run's own)")
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--split",
        choices=("test", "validation"),
        help="split to measure on (test); not with another folder",
    )
    sub.add_argument(
        "--batch-size",
        type=int,
        help="images at a time (256 of the network's own size; of a detector as many as "
        "in training)",
    )
    add_protocol(sub)
    add_common(sub)


def add_protocol(sub: argparse.ArgumentParser) -> None:
    """Adds the options that choose crops, sizes and scales."""
    group = sub.add_argument_group(
        "protocol", "how each image is seen: by a name, or by its parts"
    )
    group.add_argument(
        "--protocol",
        choices=(*PROTOCOLS, *BOX_PROTOCOLS),
        metavar="NAME",
        help=f"one of {', '.join(PROTOCOLS)} (single_crop); of a detector one of "
        f"{', '.join(BOX_PROTOCOLS)} (voc)",
    )
    group.add_argument(
        "--scales",
        "--resize",
        type=scales,
        metavar="N,N",
        help="lengths in pixels of the shorter side (as in training); of a detector each "
        "region is seen at the two that fit its size",
    )
    group.add_argument(
        "--refine",
        action="store_true",
        help="let a detector look at what it found once more, and overlapping boxes vote",
    )
    group.add_argument(
        "--crop",
        "--size",
        type=int,
        metavar="N",
        help="side in pixels of the crops (the network's own)",
    )
    group.add_argument(
        "--crops",
        type=int,
        choices=(1, 2, 10),
        help="1: the centre; 2: its mirror image too; 10: the corners too (1)",
    )
    group.add_argument(
        "--dense",
        action="store_true",
        help="see the whole image, as a fully-convolutional network",
    )
    group.add_argument(
        "--average",
        choices=("softmax", "logits"),
        help="what is averaged over the views (softmax)",
    )


def scales(text: str) -> tuple[int, ...]:
    """Parses lengths with commas between them."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be lengths in pixels, such as 224,256. Received: {text!r}."
        )
    return tuple(map(int, parts))


def evaluate(options: argparse.Namespace) -> None:
    """``keras-resnet evaluate``: measures runs and prints their errors."""
    from keras_resnet.runs.detector_load import is_detector

    if all(map(is_detector, options.runs)):
        _evaluate_detectors(options)
        return
    if options.refine:
        raise ValueError(
            "`--refine` is of detectors, and not all runs are. Leave it out. Received: "
            f"{', '.join(options.runs)}."
        )
    protocol = protocol_of(options)
    if len(options.runs) == 1:
        _evaluate_one(options, protocol)
    else:
        _evaluate_several(options, protocol)


def protocol_of(options: argparse.Namespace) -> str | Protocol:
    """The protocol that options name, or that their parts make.

    Raises:
        ValueError: If both are given.
    """
    names = ("scales", "crop", "crops", "dense", "average")
    given = {name: getattr(options, name) for name in names}
    # Not `in (None, False)`, which 0 would be.
    parts = {k: v for k, v in given.items() if v is not None and v is not False}
    if options.protocol is None:
        return Protocol(source="the command line", **parts)
    if parts:
        raise ValueError(
            "`--protocol` stands for its scales, crops and average: leave it or them out. "
            f"Received: --protocol {options.protocol} and "
            f"{', '.join('--' + name for name in parts)}."
        )
    return options.protocol


def _evaluate_one(options, protocol):
    from keras_resnet.runs.evaluate import evaluate

    with progress(f"Measuring {options.runs[0]}") as seen:
        result = evaluate(options.runs[0], seen=seen, **_data(options, protocol))
    # Of five classes and fewer there is no top-5 error.
    top5 = result["top5_error"]
    said = "" if top5 is None else f"top-5 error {top5:.2f} %, "
    low, high = result["top1_interval"]
    how = "" if result["protocol"] == "single_crop" else f" by {result['protocol']}"
    print(
        f"{result['data']} {result['split']}{how}: top-1 error "
        f"{result['top1_error']:.2f} %, {said}loss {result['loss']:.4f}, "
        f"{counted(result['n'], 'image')}\n"
        f"top-1 error in 95 % of resamples: {low:.2f} to {high:.2f} %; "
        f"calibration error {100 * result['ece']:.2f} %"
    )


def _evaluate_detectors(options):
    from keras_resnet.runs.detector_evaluate import as_table
    from keras_resnet.runs.detector_testing import evaluate_detectors

    scales, options.scales = options.scales, None  # No part of a protocol here.
    given = _data(options, protocol_of(options))
    changes = {"refine": options.refine, "scales": scales}
    with progress(f"Measuring {', '.join(options.runs)}") as seen:
        results = evaluate_detectors(options.runs, seen=seen, **changes, **given)
    names = [*options.runs, "All together"] if len(results) > 1 else [""]
    for name, result in zip(names, results, strict=True):
        said = f"{result['data']} {result['split']}: {as_table(result)}"
        print(f"{name}: {said}" if name else said)


def _evaluate_several(options, protocol):
    from keras_resnet.runs.ensemble import evaluate_several

    with progress(f"Measuring {len(options.runs)} runs") as seen:
        found = evaluate_several(options.runs, seen=seen, **_data(options, protocol))
    first = found["runs"][0]
    print(
        f"{first['data']} {first['split']} by {first['protocol']}, "
        f"{counted(first['n'], 'image')}:"
    )
    names = [*map(str, options.runs), f"ensemble of {len(options.runs)}"]
    width = max(map(len, names))
    print(
        f"{'':{width}}  top-1 error  95 % interval   top-5 error  loss    calibration"
    )
    for name, result in zip(names, [*found["runs"], found["ensemble"]], strict=True):
        print(f"{name:{width}}  {_row(result)}")
    if found["paired_test"] is not None:
        print(_difference(found["paired_test"]))


def _row(result):
    low, high = result["top1_interval"]
    top5 = result["top5_error"]
    return (
        f"{result['top1_error']:9.2f} %  {low:5.2f} to {high:5.2f} %  "
        f"{'' if top5 is None else f'{top5:9.2f} %':>11}  {result['loss']:.4f}  "
        f"{100 * result['ece']:9.2f} %"
    )


def _difference(test):
    """A sentence on two runs."""
    first, second, p = (test[key] for key in ("first_alone", "second_alone", "p_value"))
    verdict = "is within noise" if p > NOISE else "is more than noise"
    return (
        f"The first alone is right on {counted(first, 'image')}, the second alone on "
        f"{second:,}: the difference {verdict} (p = {p:.2g}, McNemar's test)."
    )


def _data(options, protocol) -> dict[str, Any]:
    return {
        "data": options.data,
        "data_dir": options.data_dir,
        "split": options.split,
        "batch_size": options.batch_size,
        "protocol": protocol,
    }


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Shows on a terminal how many images have been seen, and their number per second.

    Args:
        what: Is done, such as "Measuring runs/quickstart_seed0".

    Yields:
        A function to be called with the number of images since the last call.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda count: None
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # A folder may be named "[b]".
        TextColumn("{task.completed:,.0f} images"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as shown:
        task = shown.add_task(what, total=None, speed="")

        def seen(count: float) -> None:
            shown.update(task, advance=count)
            elapsed = shown.tasks[0].elapsed or 0
            if elapsed:
                speed = shown.tasks[0].completed / elapsed
                shown.update(task, speed=f"{speed:,.0f} images/s")

        yield seen
