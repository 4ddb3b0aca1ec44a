"""Runs a command line: errors become messages and exit codes."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence

from keras_resnet.cli import training
from keras_resnet.cli.packages import said_of
from keras_resnet.cli.parser import parser
from keras_resnet.cli.startup import import_frameworks, without_a_display
from keras_resnet.devices import cards, cluster, onednn, signals
from keras_resnet.devices.cluster import WAITING
from keras_resnet.devices.host import plain_message


def _replace_letters_that_a_console_lacks():
    """Names of files and classes need not be in the encoding of the output."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    _replace_letters_that_a_console_lacks()
    options = parser().parse_args(arguments)
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    quiet = not options.startup_lines and "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    if not options.startup_lines:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    onednn.switch_on()
    if options.command is not training.train or options.plan:
        cards.share_memory()
    options.quiet_start = quiet
    try:
        with _plain_warnings(), signals.heard(), without_a_display():
            return _done(options)
    except (KeyboardInterrupt, SystemExit) as ended:
        return _say_ended(ended, options)
    except BrokenPipeError:  # `keras-resnet list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # As the shell says it of a program that SIGPIPE ended.
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"keras-resnet: {plain_message(error)}", file=sys.stderr)
        if isinstance(error, UnicodeEncodeError):
            said = "Names of files and classes need UTF-8: set PYTHONUTF8=1, or LC_ALL"
            print(f"{said}=C.UTF-8, and run the same command.", file=sys.stderr)
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
        if options.command is training.train and not options.plan:
            said = "the same command goes on from the last checkpoint."
            print(f"Once the cause is mended, {said}", file=sys.stderr)
        return 1


def _done(options: Namespace) -> int:
    """Runs the command that was asked for, after what it imports."""
    if options.quiet_start and options.frameworks:
        # Several workers choose their GPUs before TensorFlow looks for any; what is no
        # training runs alone, whatever cluster the environment names.
        trains = options.command is training.train
        alone = not trains or cluster.find_workers().count == 1
        import_frameworks(*options.frameworks, look_for_gpus=alone)
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


def _say_ended(ended: KeyboardInterrupt | SystemExit, options: Namespace) -> int:
    """Says what ended the command, where it was a signal; its exit code."""
    if isinstance(ended, KeyboardInterrupt):
        number, said = int(signal.SIGINT), "Interrupted."
    elif isinstance(ended.code, int) and ended.code - 128 in signal.valid_signals():
        number = ended.code - 128
        said = f"Ended by {signal.Signals(number).name}."
    else:
        raise ended
    if options.command is training.train and not options.plan:
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
