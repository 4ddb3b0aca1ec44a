"""The runs that the ledger works through, in order: one seed of each, then a second."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run of the list.

    Attributes:
        name: Of its folder, record and history.
        command: Module and arguments, after `python -m`. In braces: ``data``, the folder
            of TensorFlow Datasets; ``out``, where the run lies; ``prepared``, what
            ``prepare`` makes.
        compared_with: What its error is set beside, and what differs.
        record: Where the run leaves its record, as a pattern inside of ``out``. Its
            history is the ``history.csv`` beside.
        prepare: Command that makes the folder ``prepared`` once, or `None`.
    """

    name: str
    command: tuple[str, ...]
    compared_with: str
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
    changes = ("--steps", str(steps)) if steps else ()
    return Row(**_train(seed, name, recipe, *changes), compared_with=compared_with)


def _fashion_mnist(seed):
    options = ("--data", "{prepared}", "--network", "resnet20", "--epochs", "30")
    return Row(
        **_train(seed, "resnet20_fashion_mnist", *options),
        compared_with="the data set's published table of 2017 (zalandoresearch/fashion-"
        "mnist, README); by our recipe for own images, on 54,000 of 60,000",
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
        _recipe(seed, "imagenette_fast", "our own target; Imagenette at 224 pixels"),
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
