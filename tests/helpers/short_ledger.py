"""The ledger on a list of two runs of 40 updates each; no test itself.

    python -m tests.helpers.short_ledger RESULTS --dir DIR [options of benchmarks.ledger]

The runs are processes of this module too, called with `run SEED OUTPUT`: they train a net
of eight layers on some of the bundled images, by the package's own `train`.
"""

import pathlib
import sys
from dataclasses import replace

from benchmarks import ledger
from benchmarks.ledger_rows import Row

UPDATES = 40
NAMES = ("first", "second")
ROWS = tuple(
    Row(
        name=name,
        command=("tests.helpers.short_ledger", "run", str(seed), "{out}"),
        compared_with="an undisturbed run",
    )
    for seed, name in enumerate(NAMES)
)


def run(seed, output_dir):
    """Trains for `UPDATES` updates, and validates and saves after every tenth."""
    from keras_resnet import reproduce
    from keras_resnet.analysis import image_plots, plots
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.recipes import RECIPES
    from keras_resnet.config.spec import doubling
    from keras_resnet.data import sources
    from keras_resnet.runs import finish
    from tests.helpers.small_splits import small_splits

    splits = small_splits()
    sources.load = lambda name, data_dir=None: splits
    # They take seconds.
    nothing = lambda *arguments, **options: None  # noqa: E731
    finish.export_model = nothing
    plots.training_curves = image_plots.example_predictions = nothing
    ARCHITECTURES["resnet8"] = replace(
        ARCHITECTURES["resnet20"],
        name="resnet8",
        stages=doubling("basic", (1, 1, 1), 16),
    )
    RECIPES["short"] = replace(
        RECIPES["quickstart"],
        name="short",
        network="resnet8",
        batch_size=16,
        steps=UPDATES,
        validate_every=10,
    )
    reproduce.train(
        "short", seed=int(seed), output_dir=output_dir, devices="cpu", verbose=2
    )


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:])
    else:
        results = pathlib.Path(sys.argv[1])
        sys.exit(ledger.main(sys.argv[2:], ROWS, results))
