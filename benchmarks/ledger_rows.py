"""The runs that the ledger works through, in order: one seed of each, then a second."""

from dataclasses import dataclass

from keras_resnet.config.recipes import RECIPES


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run of the list.

    Attributes:
        name: Of its folder, record and history.
        command: Module and arguments, after `python -m`. In braces: ``data``, the folder
            of TensorFlow Datasets; ``out``, where the run lies; ``prepared``, what
            ``prepare`` makes.
        compared_with: What its error is set beside, and what differs.
        published: The error that was published, in percent, and of what; or `None`.
        record: Where the run leaves its record, as a pattern inside of ``out``. Its
            history is the ``history.csv`` beside.
        prepare: Command that makes the folder ``prepared`` once, or `None`.
    """

    name: str
    command: tuple[str, ...]
    compared_with: str
    published: str | None = None
    record: str = "*/record.json"
    prepare: tuple[str, ...] | None = None


JPEG = "trained on CIFAR-10 that has been through JPEG"
IDX = "/usr/share/datasets/fashion-mnist"  # Debian's package dataset-fashion-mnist.


def _train(seed, name, *arguments):
    common = ("--seed", str(seed), "--output-dir", "{out}", "--data-dir", "{data}")
    machine = ("--devices", "cpu", "--precision", "float32")
    command = ("keras_resnet", "train", *arguments, *common, *machine)
    return {"name": f"{name}_seed{seed}", "command": command}


def _recipe(seed, recipe, compared_with, steps=None):
    name = f"{recipe}_{steps}" if steps else recipe
    target, whole = RECIPES[recipe].target, RECIPES[recipe].steps
    if target is not None:
        target = f"{target.error:g}" + (f" (after {whole:,} updates)" if steps else "")
    changes = ("--steps", str(steps)) if steps else ()
    return Row(
        **_train(seed, name, recipe, *changes),
        compared_with=compared_with,
        published=target,
    )


def _fashion_mnist(seed):
    options = ("--data", "{prepared}", "--network", "resnet20", "--epochs", "30")
    return Row(
        **_train(seed, "resnet20_fashion_mnist", *options),
        published="5.1 (ResNet-18), 4.1 (WRN-28-10)",
        compared_with="the submitted results in zalandoresearch/fashion-mnist's README, "
        "each with a trainer of its own; here by our recipe for own images, on 54,000 of "
        "the 60,000, the rest being the validation split",
        prepare=("benchmarks.fashion_mnist", IDX, "{prepared}"),
    )


def _akamaster(seed):
    options = ("--only", "akamaster", "--updates", "64000", "--seed", str(seed))
    return Row(
        name=f"akamaster_64000_seed{seed}",
        command=("benchmarks.akamaster", "{data}", "{out}", *options)
        + ("--results", "{out}/results"),
        compared_with=f"resnet20_cifar10, our trainer in as many updates; {JPEG}",
        record="results/akamaster_*.json",
    )


def rows(seed):
    """The list, for one seed."""
    order = f"the paper's order of the networks; {JPEG}"
    short = f"each other, in 10,000 of 64,000 updates; {JPEG}"
    return (
        _recipe(seed, "resnet20_cifar10", order),
        _recipe(seed, "plain20_cifar10", order),
        _recipe(seed, "imagenette_fast", "no published one: the recipe is ours"),
        _fashion_mnist(seed),
        _recipe(seed, "resnet56_cifar10", order),
        _recipe(seed, "plain56_cifar10", order),
        _akamaster(seed),
        _recipe(seed, "resnet110_v2_cifar10", short, 10_000),
        _recipe(seed, "resnet110_cifar10", short, 10_000),
        _recipe(
            seed, "wide_resnet16_4_cifar10", f"a quarter of its updates; {JPEG}", 19_500
        ),
    )


ROWS = (*rows(0), *rows(1))
