"""``keras-resnet convert``: writes weights in another form, and compares the logits."""

from __future__ import annotations

import argparse
from typing import Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.cli.steps import step


def add_convert(subparsers: Any) -> None:
    """Adds ``convert``."""
    sub = command(
        subparsers,
        "convert",
        convert,
        "Convert published weights, a file or a run; compare the logits.",
        "keras-resnet convert torchvision:IMAGENET1K_V2 my_resnet50 "
        "--network resnet50_v1_5\n  keras-resnet predict my_resnet50 cat.jpg",
        frameworks=("keras",),
    )
    sub.add_argument(
        "source", metavar="SOURCE", help="source:tag, file, or folder of a run"
    )
    sub.add_argument(
        "out",
        metavar="OUT",
        help="folder, or .keras, .weights.h5, .safetensors, .npz or .pth file",
    )
    sub.add_argument(
        "--network",
        metavar="NAME",
        help="network or detector, where SOURCE doesn't say it",
    )
    sub.add_argument(
        "--to",
        choices=("torchvision", "timm"),
        help="library whose names a state dict gets (ours)",
    )
    sub.add_argument(
        "--classes",
        metavar="NAMES",
        help="names of the classes: imagenet, cifar10, or a text file with one name a "
        "line (those that SOURCE is known to have, else numbers)",
    )
    sub.add_argument("--overwrite", action="store_true", help="replace OUT")
    add_common(sub)


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
