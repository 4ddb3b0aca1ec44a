"""The commands `list` and `show`, which describe networks and recipes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from keras_resnet.cli.options import add_common, command
from keras_resnet.cli.startup import import_frameworks
from keras_resnet.files import local_path

if TYPE_CHECKING:
    from keras_resnet.config.detection_recipe import EitherRecipe


def add_list(subparsers: Any) -> None:
    """Adds ``list``."""
    sub = command(
        subparsers,
        "list",
        list_,
        "List the networks.",
        "keras-resnet list --details",
    )
    sub.add_argument(
        "--details", action="store_true", help="also print counts, papers and sources"
    )
    sub.add_argument("--recipes", action="store_true", help="list the recipes instead")
    sub.add_argument(
        "--detectors", action="store_true", help="list the detectors instead"
    )


def add_show(subparsers: Any) -> None:
    """Adds ``show``."""
    sub = command(
        subparsers,
        "show",
        show,
        "Describe a network, a detector or a recipe.",
        "keras-resnet show resnet50\n"
        "  keras-resnet show resnet20_cifar10 --toml > my_recipe.toml",
    )
    sub.add_argument(
        "name", help="of a network, a detector or a recipe, or a recipe's .toml file"
    )
    sub.add_argument(
        "--layers", action="store_true", help="also print Keras's summary of a network"
    )
    sub.add_argument(
        "--toml",
        action="store_true",
        help="print a recipe in the form that `train FILE.toml` takes",
    )
    add_common(sub)


def list_(options: argparse.Namespace) -> None:
    """``keras-resnet list``: prints the networks, the detectors or the recipes."""
    from keras_resnet.config.architectures import ARCHITECTURES, complexity
    from keras_resnet.config.detection_recipes import DETECTION_RECIPES
    from keras_resnet.config.detectors import DETECTORS
    from keras_resnet.config.recipes import RECIPES

    if options.recipes:
        rows = {**RECIPES, **DETECTION_RECIPES}
        wide = max(map(len, rows))
        for name, recipe in rows.items():
            print(
                f"{name:{wide}} {recipe.network_name:16} {recipe.dataset:12} "
                f"{recipe.source}"
            )
        return
    if options.detectors:
        wide = max(map(len, DETECTORS))
        for name, row in DETECTORS.items():
            print(f"{name:{wide}} {row.paper:44} {row.source}")
        return
    if not options.details:
        print("\n".join(ARCHITECTURES))
        return
    counts = complexity()
    width = max(map(len, ARCHITECTURES))
    papers = max(len(spec.paper) for spec in ARCHITECTURES.values())
    print(
        f"{'network':{width}} {'parameters':>12} {'multiply-adds':>14} {'image':>6}  "
        f"{'paper':{papers}}  source of the graph"
    )
    for name, spec in ARCHITECTURES.items():
        row = counts[name]
        print(
            f"{name:{width}} {row['parameters']:12,} {row['multiply_adds'] / 1e9:12.4f} G"
            f" {row['image_size']:6}  {spec.paper:{papers}}  {spec.source}"
        )


def show(options: argparse.Namespace) -> None:
    """``keras-resnet show``: describes a network, a detector or a recipe."""
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.detection_recipes import DETECTION_RECIPES
    from keras_resnet.config.detectors import DETECTORS
    from keras_resnet.config.lookup import find
    from keras_resnet.config.recipe_files import described, read_recipe
    from keras_resnet.config.recipes import RECIPES

    recipes = {**RECIPES, **DETECTION_RECIPES}
    if options.name.endswith(".toml"):
        _show_recipe(read_recipe(local_path(options.name)), options.toml)
    elif options.name in recipes:
        _show_recipe(recipes[options.name], options.toml)
    elif options.toml:
        find(recipes, options.name, kind="recipe")
    elif options.name in DETECTORS:
        for label, value in described(DETECTORS[options.name], "detector"):
            print(f"{label:29} {value}")
    else:
        known = {**ARCHITECTURES, **DETECTORS, **recipes}
        find(known, options.name, kind="network or recipe")
        _show_network(options.name)
        if options.layers:
            if options.quiet_start:
                import_frameworks("keras", look_for_gpus=True)
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


def _show_recipe(recipe: EitherRecipe, toml: bool) -> None:
    from keras_resnet.config.recipe_files import described, for_toml

    if toml:
        import tomli_w

        print(tomli_w.dumps(for_toml(recipe)).rstrip())
        return
    rows = described(recipe)
    wide = max(22, *(len(label) for label, _ in rows))
    for label, value in rows:
        print(f"{label:{wide}} {value}")
