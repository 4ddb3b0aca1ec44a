"""The parser of the command line.

Each command has a module with its options and what it does. That imports what it needs
when it is called, since `--backend` must be known before Keras is imported
(docs/decisions/0002) and `list` needs no framework at all.
"""

import argparse

from keras_resnet import __version__
from keras_resnet.cli import (
    analyzing,
    catalogue,
    comparing,
    converting,
    exporting,
    measuring,
    predicting,
    reporting,
    serving,
    training,
)
from keras_resnet.cli.options import RAW

EXAMPLES = """examples:
  keras-resnet train                          the bundled images, under three minutes
  keras-resnet train resnet20_cifar10 --epochs 10
  keras-resnet train --data photos --network resnet18 --weights resnet18.pth
  keras-resnet train --data cells --network fasterrcnn_resnet18_fpn --size 192
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
        catalogue.add_list,
        catalogue.add_show,
        training.add_train,
        measuring.add_evaluate,
        analyzing.add_analyze,
        comparing.add_compare,
        reporting.add_report,
        predicting.add_predict,
        exporting.add_export,
        serving.add_serve,
        converting.add_convert,
    ):
        add(subparsers)
    return top
