"""The commands: each calls the package's functions and prints what they return.

Each imports what it needs when it is called, since `--backend` must be known before Keras
is imported (docs/decisions/0002) and `list` needs no framework at all.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from keras_resnet.cli.startup import import_frameworks
from keras_resnet.files import local_path

if TYPE_CHECKING:
    from keras_resnet.config.recipe import Recipe
    from keras_resnet.serving.worker import Servable


def list_(options: argparse.Namespace) -> None:
    """``keras-resnet list``: prints the networks or the recipes."""
    from keras_resnet.config.architectures import ARCHITECTURES, complexity
    from keras_resnet.config.recipes import RECIPES

    if options.recipes:
        wide = max(map(len, RECIPES))
        for name, recipe in RECIPES.items():
            print(
                f"{name:{wide}} {recipe.network:16} {recipe.dataset:12} {recipe.source}"
            )
        return
    if not options.details:
        print("\n".join(ARCHITECTURES))
        return
    counts = complexity()
    width = max(map(len, ARCHITECTURES))
    print(
        f"{'network':{width}} {'parameters':>12} {'multiply-adds':>14} {'image':>6}  paper"
    )
    for name, spec in ARCHITECTURES.items():
        row = counts[name]
        print(
            f"{name:{width}} {row['parameters']:12,} {row['multiply_adds'] / 1e9:12.4f} G"
            f" {row['image_size']:6}  {spec.paper}"
        )


def show(options: argparse.Namespace) -> None:
    """``keras-resnet show``: describes a network or a recipe."""
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.lookup import find
    from keras_resnet.config.recipe_files import read_recipe
    from keras_resnet.config.recipes import RECIPES

    if options.name.endswith(".toml"):
        _show_recipe(read_recipe(local_path(options.name)), options.toml)
    elif options.name in RECIPES:
        _show_recipe(RECIPES[options.name], options.toml)
    elif options.toml:
        find(RECIPES, options.name, kind="recipe")
    else:
        find(ARCHITECTURES | RECIPES, options.name, kind="network or recipe")
        _show_network(options.name)
        if options.layers:
            from keras_resnet.applications import create

            create(options.name).summary()


def _show_network(name: str) -> None:
    from keras_resnet.config.architectures import ARCHITECTURES, complexity

    spec, counts = ARCHITECTURES[name], complexity()[name]
    for label, value in {
        "network": name,
        "parameters": f"{counts['parameters']:,}",
        "multiply-adds": f"{counts['multiply_adds'] / 1e9:.4f} G at "
        f"{spec.image_size}x{spec.image_size}",
        "depth": spec.depth,
        "stem": f"{spec.stem}, {spec.stem_filters} filters",
        "stages": ", ".join(f"{s.repeats} x {s.block}" for s in spec.stages),
        "order": spec.order,
        "shortcut": spec.shortcut or "none",
        "paper": spec.paper,
        "graph": spec.source,
    }.items():
        print(f"{label:17} {value}")


def _show_recipe(recipe: Recipe, toml: bool) -> None:
    from keras_resnet.config.recipe_files import described, for_toml

    if toml:
        import tomli_w

        print(tomli_w.dumps(for_toml(recipe)).rstrip())
        return
    for label, value in described(recipe):
        print(f"{label:22} {value}")


def train(options: argparse.Namespace) -> None:
    """``keras-resnet train``: trains, which prints the results and where they lie."""
    from keras_resnet import reproduce
    from keras_resnet.devices.cluster import find_workers
    from keras_resnet.runs.record import read_record
    from keras_resnet.runs.request import TrainRequest
    from keras_resnet.runs.tables import of_seeds

    names = {option.name for option in fields(TrainRequest)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if "changes" in given:
        given["changes"] = _once(given["changes"])
    # Of several workers, the chief measures, writes the record, and speaks.
    several = find_workers()
    chief = several.index == 0
    if options.plan:
        text = reproduce.plan(**given)
        if chief:
            print(text)
        return
    if options.seeds and ("seed" in given or several.count > 1):
        raise ValueError(
            "`--seeds` trains one run after the other on one worker: leave out --seed. "
            f"Received: --seed {given.get('seed')}, {several.count} workers."
        )
    # A line that redraws itself would be one for every half second in a log file.
    verbose = 0 if options.quiet else 1 if sys.stdout.isatty() else 2
    records = []
    for seed in options.seeds or [None]:
        one = given if seed is None else given | {"seed": seed}
        folder = reproduce.train(**one, verbose=verbose)
        if chief:
            records.append(read_record(folder / "record.json"))
    if options.seeds:
        print(of_seeds(records))


def _once(changes: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of ``--set``, none of which may be given twice."""
    names = [name for name, _ in changes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`--set` must give a field once. Received twice: {twice}.")
    return dict(changes)


def evaluate(options: argparse.Namespace) -> None:
    """``keras-resnet evaluate``: measures a run and prints its errors."""
    from keras_resnet.runs.evaluate import evaluate

    result = evaluate(
        options.run,
        data=options.data,
        data_dir=options.data_dir,
        split=options.split,
        batch_size=options.batch_size,
    )
    print(
        f"{result['data']} {result['split']}: top-1 error {result['top1_error']:.2f} %, "
        f"top-5 error {result['top5_error']:.2f} %, loss {result['loss']:.4f}, "
        f"{result['n']} images"
    )


def predict(options: argparse.Namespace) -> int:
    """``keras-resnet predict``: names what is on images.

    Returns:
        The exit code: 1 if some images can't be read.
    """
    from rich.console import Console
    from rich.progress import track

    from keras_resnet.runs.predict import (
        check_table,
        files,
        load_classifier,
        predict,
        write_table,
    )

    if options.output:
        check_table(options.output, options.overwrite)
    classifier = load_classifier(options.run)
    images = files(options.images)
    answers, unread = [], 0
    answered = predict(classifier, images, top=options.top)
    if options.output:
        console = Console(stderr=True)
        answered = track(
            answered,
            total=len(images),
            description="",
            console=console,
            disable=not console.is_terminal,
        )
    for image, answer in answered:
        if isinstance(answer, ValueError):
            unread += 1
            print(f"keras-resnet: {answer}", file=sys.stderr)
        elif not options.output:
            named = ", ".join(f"{name} {100 * share:.1f} %" for name, share in answer)
            # Names that are no UTF-8 can't be printed.
            print(f"{os.fsencode(image).decode(errors='replace')}: {named}")
        answers.append((image, answer))
    if options.output:
        write_table(options.output, answers)
        print(f"{options.output}: {len(images) - unread} images")
    return 1 if unread else 0


def export(options: argparse.Namespace) -> None:
    """``keras-resnet export``: writes a run in another form and compares the two."""
    from keras_resnet.export import compare
    from keras_resnet.runs.export import export

    folder, result = export(
        options.run,
        format=options.format,
        precision=options.precision,
        data=options.data,
        data_dir=options.data_dir,
        output=options.output,
        version=options.version,
        overwrite=options.overwrite,
    )
    print(folder)
    print(compare.line(result))
    lost = result.get("original_accuracy", 0) - result.get("accuracy", 0)
    if lost > 0.5:
        print(
            f"keras-resnet: {result['precision']} lost {lost:.1f} points of accuracy: give "
            "images like those it will see (--data), or take another precision or format.",
            file=sys.stderr,
        )


def serve(options: argparse.Namespace) -> None:
    """``keras-resnet serve``: answers requests until it is stopped."""
    folder = local_path(options.run).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{options.run} must hold a finished run, or an exported form of one: there "
            "is no folder."
        )
    from keras_resnet.serving import server

    server.serve(
        functools.partial(servable, str(folder), options.quiet_start),
        name=options.name or folder.name,
        host=options.host,
        port=options.port,
        max_batch=options.max_batch,
        batch_timeout=options.batch_timeout,
        workers=options.workers,
    )


def servable(folder: str, quiet: bool) -> Servable:
    """`runs.predict.servable` for the server's workers: only they import Keras.

    Args:
        folder: Of a run or of an export.
        quiet: Whether to drop the lines that TensorFlow begins with.
    """
    if quiet:
        import_frameworks("keras", "tensorflow", look_for_gpus=True)
    from keras_resnet.runs.predict import servable

    return servable(folder)


def convert(options: argparse.Namespace) -> None:
    """``keras-resnet convert``: writes weights in another form and compares logits."""
    from keras_resnet.runs.convert import convert

    done = convert(
        options.source,
        options.out,
        network=options.network,
        to=options.to,
        overwrite=options.overwrite,
    )
    print(f"{done.path}: {done.network} from {options.source}")
    if done.library is None:
        print("The logits were not compared: no library that has this network is here.")
    else:
        print(
            f"greatest difference of the logits from {done.library}'s: "
            f"{done.difference:.1e}, of logits up to {done.largest:.3g}"
        )
