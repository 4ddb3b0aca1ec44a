"""What the parsers of all commands have in common."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

BACKENDS = ("tensorflow", "jax", "torch")
RAW = argparse.RawDescriptionHelpFormatter


def command(
    subparsers: Any,
    name: str,
    function: Callable[[argparse.Namespace], int | None],
    description: str,
    example: str,
    *,
    frameworks: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        subparsers: As of `argparse.ArgumentParser.add_subparsers`.
        name: Of the command.
        function: Does what the command does, and returns the exit code or `None`.
        description: A sentence for the help.
        example: A command line for the help.
        frameworks: What the command will import of Keras and TensorFlow.

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
    sub.set_defaults(
        command=function, backend=None, startup_lines=False, frameworks=frameworks
    )
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


def refuse(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raises `ValueError` where options are given that the network doesn't go with.

    Args:
        options: As parsed.
        names: Of the options, which are `None` if nobody gave them.
        why: What the network does, for the message.
    """
    given = [name for name in names if getattr(options, name) is not None]
    if given:
        said = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"{options.run} {why}: leave {said} out.")
