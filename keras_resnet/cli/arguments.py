"""The parser of the command line: each command with its options.

The options of ``train`` are the fields of `TrainRequest`. The module is longer than others
because each option takes several lines.
"""

import argparse
import tomllib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from keras_resnet import __version__
from keras_resnet.cli import catalogue, commands
from keras_resnet.runs.request import TrainRequest, flag

BACKENDS = ("tensorflow", "jax", "torch")
RAW = argparse.RawDescriptionHelpFormatter
EXAMPLES = """examples:
  keras-resnet train                          the bundled images, under three minutes
  keras-resnet train resnet20_cifar10 --epochs 10
  keras-resnet train --data photos --network resnet18 --weights resnet18.pth
  keras-resnet predict runs/quickstart_seed0 shoe.png
  keras-resnet serve runs/quickstart_seed0
  keras-resnet list --details

exit codes: 0 done, 1 failed (space, divergence, a missing package, an unreadable image),
2 wrong usage or data, 128 + N ended by signal N (130: Ctrl-C)"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        "keras-resnet",
        description="Residual networks for Keras 3.",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    top.add_argument("--version", action="version", version=__version__)
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_list,
        add_show,
        add_train,
        add_evaluate,
        add_predict,
        add_export,
        add_serve,
        add_convert,
    ):
        add(subparsers)
    return top


def command(
    subparsers: Any,
    name: str,
    function: Callable[[argparse.Namespace], int | None],
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        subparsers: As of `argparse.ArgumentParser.add_subparsers`.
        name: Of the command.
        function: Does what the command does, and returns the exit code or `None`.
        description: A sentence for the help.
        example: A command line for the help.

    Returns:
        The command's parser, to which options are to be added.
    """
    sub = subparsers.add_parser(
        name,
        help=description,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=RAW,
    )
    sub.set_defaults(command=function, backend=None, startup_lines=False)
    return sub


def add_common(sub: argparse.ArgumentParser) -> None:
    """Adds the options of every command that computes."""
    sub.add_argument(
        "--backend",
        choices=BACKENDS,
        help="Keras's backend ($KERAS_BACKEND, else tensorflow)",
    )
    sub.add_argument(
        "--verbose",
        dest="startup_lines",
        action="store_true",
        help="also print TensorFlow's start-up messages",
    )


def add_list(subparsers: Any) -> None:
    """Adds ``list``."""
    sub = command(
        subparsers,
        "list",
        catalogue.list_,
        "List the networks.",
        "keras-resnet list --details",
    )
    sub.add_argument(
        "--details", action="store_true", help="also print counts, papers and sources"
    )
    sub.add_argument("--recipes", action="store_true", help="list the recipes instead")


def add_show(subparsers: Any) -> None:
    """Adds ``show``."""
    sub = command(
        subparsers,
        "show",
        catalogue.show,
        "Describe a network or a recipe.",
        "keras-resnet show resnet50\n"
        "  keras-resnet show resnet20_cifar10 --toml > my_recipe.toml",
    )
    sub.add_argument("name", help="of a network or a recipe, or a recipe's .toml file")
    sub.add_argument(
        "--layers", action="store_true", help="also print Keras's summary of a network"
    )
    sub.add_argument(
        "--toml",
        action="store_true",
        help="print a recipe in the form that `train FILE.toml` takes",
    )
    add_common(sub)


def add_train(subparsers: Any) -> None:
    """Adds ``train``, whose defaults are those of `TrainRequest`."""
    sub = command(
        subparsers,
        "train",
        commands.train,
        "Train a network by a recipe, or resume its training.",
        "keras-resnet train --data photos --network resnet18",
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


def add_evaluate(subparsers: Any) -> None:
    """Adds ``evaluate``."""
    sub = command(
        subparsers,
        "evaluate",
        commands.evaluate,
        "Measure a run, and keep the result in evaluation.json.",
        "keras-resnet evaluate runs/quickstart_seed0",
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run")
    sub.add_argument("--data", help="folder of images or data set (the run's own)")
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--split",
        choices=("test", "validation"),
        help="split to measure on (test); not with another folder",
    )
    sub.add_argument(
        "--batch-size", type=int, default=256, help="images at a time (256)"
    )
    add_common(sub)


def add_predict(subparsers: Any) -> None:
    """Adds ``predict``."""
    sub = command(
        subparsers,
        "predict",
        commands.predict,
        "Classify images; the exit code is 1 if some can't be read.",
        "keras-resnet predict runs/quickstart_seed0 shoe.png\n"
        "  keras-resnet predict runs/quickstart_seed0/onnx_int8 photos "
        "--output photos.csv",
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run or of an export")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="file or folder")
    sub.add_argument("--top", type=int, default=3, help="classes to name (3)")
    sub.add_argument(
        "--output", metavar="FILE", help=".csv or .json file to write instead"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace that file")
    add_common(sub)


def add_export(subparsers: Any) -> None:
    """Adds ``export``."""
    sub = command(
        subparsers,
        "export",
        commands.export,
        "Write a run as a SavedModel for TF Serving, or in another form.",
        "keras-resnet export runs/quickstart_seed0 --output models/fashion\n"
        "  keras-resnet export runs/quickstart_seed0 --format onnx --precision int8",
    )
    sub.add_argument("run", metavar="RUN", help="folder of a run")
    sub.add_argument(
        "--format",
        default="saved_model",
        choices=("saved_model", "onnx", "litert", "openvino"),
        help="format to write (saved_model)",
    )
    sub.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "float16", "bfloat16", "int8"),
        help="precision of the weights (float32, which a SavedModel always has)",
    )
    sub.add_argument(
        "--data",
        help="folder or data set to calibrate and compare on (the run's own)",
    )
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--output", help="folder to write; of a SavedModel, that of its versions"
    )
    sub.add_argument(
        "--version",
        type=int,
        default=1,
        metavar="N",
        help="version of a SavedModel (1); TF Serving serves the highest",
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export"
    )
    add_common(sub)


def add_serve(subparsers: Any) -> None:
    """Adds ``serve``."""
    sub = command(
        subparsers,
        "serve",
        commands.serve,
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
    add_common(sub)


def add_convert(subparsers: Any) -> None:
    """Adds ``convert``."""
    sub = command(
        subparsers,
        "convert",
        commands.convert,
        "Convert published weights, a file or a run; compare the logits.",
        "keras-resnet convert torchvision:IMAGENET1K_V2 my_resnet50 "
        "--network resnet50_v1_5\n  keras-resnet predict my_resnet50 cat.jpg",
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
        "--network", metavar="NAME", help="network, where SOURCE doesn't say it"
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
