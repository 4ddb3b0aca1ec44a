"""The entry point, `keras-resnet` or `python -m keras_resnet`: errors and exit codes."""

import errno
import io
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TypeAlias

from keras_resnet.cli import commands
from keras_resnet.cli.arguments import parser
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.devices import cluster
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
    # TensorFlow uses oneDNN by itself only on CPUs with AVX-512; on others it made
    # training 1.5 to 1.7 times as fast (docs/decisions/0005).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        options.quiet_start = quiet
        if quiet and options.command in FRAMEWORKS:
            modules = FRAMEWORKS[options.command]
            # Several workers choose their GPUs before TensorFlow looks for any.
            alone = cluster.find_workers().count == 1
            uses_tensorflow = "tensorflow" in modules
            import_frameworks(*modules, look_for_gpus=alone and uses_tensorflow)
        return options.command(options) or 0
    except KeyboardInterrupt:
        goes_on = " The same command goes on from here."
        is_training = options.command is commands.train and not options.plan
        print(f"Interrupted.{goes_on if is_training else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `keras-resnet list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # As the shell says it of a program that SIGPIPE ended.
    except (ValueError, FileNotFoundError, FileExistsError) as error:
        print(f"keras-resnet: {plain_message(error)}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(
            f"keras-resnet: this needs a package that is not installed: {error}. Data "
            "sets need the extra `data` (in the checkout: pip install '.[data]'), other "
            "forms of export the extra `export`, serve the extra `serve`, .pth files "
            "torch; safetensors, torchvision, timm, kerashub, tensorboard and jax are "
            "extras of these names, torch, wandb and mlflow packages.",
            file=sys.stderr,
        )
        return 1
    except (OSError, RuntimeError, FloatingPointError) as error:
        print(f"keras-resnet: {plain_message(error)}", file=sys.stderr)
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full and "run the same command" not in str(error).lower():
            print("Free some space and run the same command.", file=sys.stderr)
        if type(error).__name__ == "WorkerLost":
            # The usual end waits for the others, JAX's for 100 s.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        return 1
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):
            raise
        # A damaged record in the middle of a stream, no memory on the GPU, and the like.
        print(
            f"keras-resnet: TensorFlow failed: {plain_message(error)}", file=sys.stderr
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
