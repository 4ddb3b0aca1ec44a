"""The entry point, `keras-resnet` or `python -m keras_resnet`: errors and exit codes."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TypeAlias

from keras_resnet.cli import commands
from keras_resnet.cli.arguments import parser
from keras_resnet.cli.packages import said_of
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.devices import cluster, onednn
from keras_resnet.devices.cluster import WAITING
from keras_resnet.devices.host import plain_message

Command: TypeAlias = Callable[[Namespace], int | None]
FRAMEWORKS: dict[Command, tuple[str, ...]] = {  # That each command imports.
    commands.train: ("keras", "tensorflow"),
    commands.evaluate: ("keras", "tensorflow"),
    commands.predict: ("keras", "tensorflow"),
    commands.export: ("keras", "tensorflow"),
    commands.convert: ("keras",),
}


def _replace_letters_that_a_console_lacks():
    """Names of files and classes need not be in the encoding of the output."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    _replace_letters_that_a_console_lacks()
    options = parser().parse_args(arguments)
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    quiet = not options.startup_lines and "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    if not options.startup_lines:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    onednn.switch_on()
    options.quiet_start = quiet
    try:
        with _plain_warnings(), _sigterm_raises(options.command):
            return _run(options)
    except (KeyboardInterrupt, SystemExit) as ended:
        return _say_ended(ended, options)
    except BrokenPipeError:  # `keras-resnet list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # As the shell says it of a program that SIGPIPE ended.
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"keras-resnet: {plain_message(error)}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"keras-resnet: {said_of(error)}", file=sys.stderr)
        return 1
    except (OSError, RuntimeError, FloatingPointError) as error:
        print(f"keras-resnet: {plain_message(error)}", file=sys.stderr)
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full and "run the same command" not in str(error).lower():
            print("Free some space and run the same command.", file=sys.stderr)
        if type(error).__name__ == "WorkerLost":
            _end_at_once(1)
        return 1
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):
            raise
        # A damaged record in the middle of a stream, no memory on the GPU, and the like.
        print(
            f"keras-resnet: TensorFlow failed: {plain_message(error)}", file=sys.stderr
        )
        return 1


def _run(options: Namespace) -> int:
    """Runs the command that was asked for, after what it imports."""
    if options.quiet_start and options.command in FRAMEWORKS:
        # Several workers choose their GPUs before TensorFlow looks for any.
        alone = cluster.find_workers().count == 1
        import_frameworks(*FRAMEWORKS[options.command], look_for_gpus=alone)
    return options.command(options) or 0


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints warnings as errors are printed, without the line of source they came from."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"keras-resnet: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextlib.contextmanager
def _sigterm_raises(command: Command) -> Iterator[None]:
    """Has SIGTERM raise `SystemExit`, so that it is told of as Ctrl-C is.

    Training and the server have handlers of their own while they run.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    in_main = threading.current_thread() is threading.main_thread()
    if command is commands.serve or not in_main:
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_ended(ended: KeyboardInterrupt | SystemExit, options: Namespace) -> int:
    """Says what ended the command, where it was a signal; its exit code."""
    if isinstance(ended, KeyboardInterrupt):
        number, said = int(signal.SIGINT), "Interrupted."
    elif isinstance(ended.code, int) and ended.code - 128 in signal.valid_signals():
        number = ended.code - 128
        said = f"Ended by {signal.Signals(number).name}."
    else:
        raise ended
    if options.command is commands.train and not options.plan:
        said += " The same command goes on from here."
    print(said, file=sys.stderr)
    if any(thread.name == WAITING for thread in threading.enumerate()):
        _end_at_once(128 + number)
    return 128 + number


def _end_at_once(code: int) -> None:
    """Ends a process that waits for other workers, as its usual end does, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
