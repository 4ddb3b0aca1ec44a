"""The entry point: `keras-resnet` or `python -m keras_resnet`.

It imports little, so that signals are heard from the beginning.
"""

import os
import sys
from collections.abc import Sequence

from keras_resnet.devices import signals


def open_closed_streams() -> None:
    """Opens the standard streams that were closed (``>&-``), on nothing.

    Else the next files to be opened would get their numbers, such as those of a
    checkpoint, and what C++ code writes to its standard error would end up in them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # It gets the lowest number that is free.
    sys.stdin = sys.stdin or open(os.devnull)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        arguments: Words of the command; the process's own by default, and then a signal
            that ends the command ends the process with it.
    """
    open_closed_streams()
    try:
        with signals.heard(watched=True, last=arguments is None):
            from keras_resnet.cli.run import run

            return run(arguments)
    except KeyboardInterrupt:  # While that is imported.
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
