"""The words and options of the command line."""

import argparse

from keras_resnet import __version__
from keras_resnet.cli import commands

BACKENDS = ("tensorflow", "jax", "torch")
EXAMPLES = """examples:
  keras-resnet train                          the bundled images, under three minutes
  keras-resnet train resnet20_cifar10 --epochs 10
  keras-resnet train --data photos --network resnet18 --weights resnet18.pth
  keras-resnet predict runs/quickstart_seed0 shoe.png
  keras-resnet serve runs/quickstart_seed0
  keras-resnet list --details

exit codes: 0 done, 1 failed (space, divergence, a missing package, an unreadable image),
2 wrong usage or data, 128 + N ended by signal N (130: Ctrl-C)"""


def parser():
    """The grammar of the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "keras-resnet",
        description="Residual networks for Keras 3.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    top.add_argument("--version", action="version", version=__version__)
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, description, example):
        sub = subparsers.add_parser(
            name,
            help=description,
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=raw,
        )
        sub.set_defaults(command=function, backend=None)
        return sub

    sub = command(
        "list", commands.list_, "List the networks.", "keras-resnet list --details"
    )
    sub.add_argument("--details", action="store_true", help="counts and sources too")
    sub.add_argument("--recipes", action="store_true", help="list recipes instead")

    sub = command(
        "show", commands.show, "Describe a network.", "keras-resnet show resnet50"
    )
    sub.add_argument("name")
    sub.add_argument("--layers", action="store_true", help="print Keras's summary")
    add_backend(sub)

    sub = command(
        "train",
        commands.train,
        "Train a network by a recipe, or go on with it.",
        "keras-resnet train --data photos --network resnet18",
    )
    add_training(sub)
    add_backend(sub)

    sub = command(
        "evaluate",
        commands.evaluate,
        "Measure a run; writes evaluation.json.",
        "keras-resnet evaluate runs/quickstart_seed0",
    )
    sub.add_argument("run", metavar="RUN")
    sub.add_argument("--data", help="folder of images or data set, if not the run's")
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--split",
        choices=("test", "validation"),
        help="test by default; not with another folder",
    )
    sub.add_argument("--batch-size", type=int, default=256)
    add_backend(sub)

    sub = command(
        "predict",
        commands.predict,
        "Name what is on images; exits with 1 if some can't be read.",
        "keras-resnet predict runs/quickstart_seed0 shoe.png\n"
        "  keras-resnet predict runs/quickstart_seed0/onnx_int8 photos "
        "--output photos.csv",
    )
    sub.add_argument("run", metavar="RUN", help="run, or folder that export wrote")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="file or folder")
    sub.add_argument("--top", type=int, default=3, help="classes to name (3)")
    sub.add_argument("--output", metavar="FILE", help=".csv or .json to write instead")
    sub.add_argument("--overwrite", action="store_true", help="replace that file")
    add_backend(sub)

    sub = command(
        "export",
        commands.export,
        "Write a run as a SavedModel for TF Serving, or in another form.",
        "keras-resnet export runs/quickstart_seed0 --output models/fashion\n"
        "  keras-resnet export runs/quickstart_seed0 --format onnx --precision int8",
    )
    sub.add_argument("run", metavar="RUN")
    sub.add_argument(
        "--format",
        default="saved_model",
        choices=("saved_model", "onnx", "litert", "openvino"),
        help="saved_model by default",
    )
    sub.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "float16", "bfloat16", "int8"),
        help="float32 by default; a SavedModel has no other",
    )
    sub.add_argument(
        "--data",
        help="folder or data set to calibrate and compare on, if not the run's",
    )
    sub.add_argument("--data-dir", help="where TensorFlow Datasets keeps its data")
    sub.add_argument(
        "--output", help="folder to write; of a SavedModel, that of the versions"
    )
    sub.add_argument(
        "--version",
        type=int,
        default=1,
        metavar="N",
        help="of a SavedModel (1); TF Serving serves the highest",
    )
    sub.add_argument("--overwrite", action="store_true", help="replace what is there")
    add_backend(sub)

    sub = command(
        "serve",
        commands.serve,
        "Answer requests for predictions as TensorFlow Serving does.",
        "keras-resnet serve runs/quickstart_seed0 --name fashion",
    )
    sub.add_argument("run", metavar="RUN", help="run, or folder that export wrote")
    sub.add_argument("--name", help="of the model, in paths; the folder's by default")
    sub.add_argument(
        "--host", default="127.0.0.1", help="127.0.0.1; 0.0.0.0 for other machines too"
    )
    sub.add_argument("--port", type=int, default=8501, help="8501")
    sub.add_argument(
        "--max-batch", type=int, default=32, metavar="N", help="images at once (32)"
    )
    sub.add_argument(
        "--batch-timeout",
        type=float,
        default=0.01,
        metavar="SECONDS",
        help="that the first image of a batch waits for others (0.01)",
    )
    sub.add_argument(
        "--workers", type=int, default=1, metavar="N", help="models that compute (1)"
    )
    add_backend(sub)

    sub = command(
        "convert",
        commands.convert,
        "Write published weights, a file or a run in another form; compare logits.",
        "keras-resnet convert torchvision:IMAGENET1K_V2 my_resnet50 "
        "--network resnet50_v1_5\n  keras-resnet predict my_resnet50 cat.jpg",
    )
    sub.add_argument("source", metavar="SOURCE", help="source:tag, file or run")
    sub.add_argument(
        "out",
        metavar="OUT",
        help="folder, or .keras, .weights.h5, .safetensors, .npz or .pth file",
    )
    sub.add_argument("--network", metavar="NAME", help="where SOURCE does not say it")
    sub.add_argument(
        "--to", choices=("torchvision", "timm"), help="their names, in a state dict"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace OUT")
    add_backend(sub)
    return top


def add_backend(sub):
    """Adds ``--backend``."""
    sub.add_argument(
        "--backend", choices=BACKENDS, help="Keras's; $KERAS_BACKEND by default"
    )


def add_training(sub):
    """Adds the options of ``train``; its defaults are those of `reproduce.train`."""
    absent = argparse.SUPPRESS
    sub.add_argument("recipe", nargs="?", default=absent, help="quickstart by default")
    own = sub.add_argument_group("own images")
    own.add_argument(
        "--data", default=absent, metavar="DIR|NAME", help="folder, or data set's name"
    )
    own.add_argument(
        "--network", default=absent, metavar="NAME", help="what to train on them"
    )
    own.add_argument(
        "--weights", default=absent, metavar="FILE|SOURCE:TAG", help="to begin from"
    )
    own.add_argument(
        "--val-fraction",
        type=float,
        default=absent,
        metavar="SHARE",
        help="of a folder without val/, kept back for validation (0.1)",
    )
    own.add_argument(
        "--freeze", type=int, default=absent, metavar="N", help="first N stages stay"
    )
    run = sub.add_argument_group("run")
    run.add_argument("--seed", type=int, default=absent, help="0 by default")
    run.add_argument("--output-dir", default=absent, help="parent of the run's folder")
    run.add_argument("--data-dir", default=absent, help="of TensorFlow Datasets")
    length = run.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=absent, help="updates in all")
    length.add_argument(
        "--epochs", type=float, default=absent, help="need not be whole"
    )
    run.add_argument("--batch-size", type=int, default=absent, help="over all devices")
    run.add_argument(
        "--learning-rate", type=float, default=absent, help="the schedule's highest"
    )
    run.add_argument(
        "--teacher", default=absent, metavar="RUN", help="learn its logits as well"
    )
    run.add_argument(
        "--log",
        default=absent,
        action="append",
        choices=("tensorboard", "wandb", "mlflow"),
        help="tell it as well; may be given again",
    )
    run.add_argument(
        "--plan", action="store_true", help="say what it would take; train nothing"
    )
    machine = sub.add_argument_group("machine")
    machine.add_argument(
        "--devices", default=absent, help="all, cpu, gpu, gpu:0,1, cpu:2"
    )
    machine.add_argument(
        "--precision",
        default=absent,
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        help="of the computation; auto: what suits devices and network",
    )
    machine.add_argument(
        "--xla",
        default=absent,
        choices=("auto", "on", "off"),
        help="auto: on one GPU and on JAX",
    )
    machine.add_argument(
        "--sync-batch-norm",
        default=absent,
        action="store_true",
        help="statistics over all devices",
    )
    machine.add_argument(
        "--accumulate",
        type=int,
        default=absent,
        metavar="K",
        help="split each batch into K micro-batches, for less memory",
    )
    machine.add_argument(
        "--steps-per-execution",
        type=int,
        default=absent,
        metavar="N",
        help="updates that Python starts at a time, for small networks on a GPU",
    )
    machine.add_argument(
        "--deterministic",
        default=absent,
        action="store_true",
        help="the same bits each time on a GPU too; TensorFlow, without XLA",
    )
    machine.add_argument(
        "--quiet", default=absent, action="store_true", help="say nothing"
    )
