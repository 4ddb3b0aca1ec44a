"""Parts of the documentation that are made of rows: networks, detectors, recipes …"""

import re
from dataclasses import MISSING, fields

from keras_resnet.config.architectures import ARCHITECTURES, complexity
from keras_resnet.config.detection_recipes import DETECTION_RECIPES
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.recipe_files import described
from keras_resnet.config.recipes import RECIPES

# Each network belongs to the one family whose pattern its whole name matches.
FAMILIES = {
    "ResNet v1": r"resnet(18|34|50|101|152)(_caffe)?",
    "ResNet v1.5 and ResNet-B": r"resnet\d+(_v1_5|b)",
    "ResNet v2 (pre-activation)": r"resnet(18|34|50|101|152|200)_v2(_keras)?|resnetv2_\d+",
    "ResNet-C and ResNet-D": r"resnet\d+[cd]",
    "SE-ResNet and SE-ResNeXt": r"seresne.*",
    "ResNeXt": r"resnext.*",
    "Wide ResNet": r"wide_resnet.*",
    "Dilated residual networks": r"drn_.*",
    "DarkNet-53": r"darknet53.*",
    "Plain networks": r"plain\d+",
    "ResNet for CIFAR": r"resnet(20|32|44|56|110|1202|164)",
    "Pre-activation and variants for CIFAR": (
        r"resnet(110|164|1001)_(?!stochastic)[a-z0-9_]+"
    ),
    "Stochastic depth": r"resnet110_stochastic_depth",
    "Highway networks": r"highway\d+",
}

# Authors, title, where, arXiv; by what the rows' `paper` begins with.
PAPERS = {
    "He et al. 2016a": (
        "Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun",
        "Deep Residual Learning for Image Recognition",
        "CVPR 2016",
        "1512.03385",
    ),
    "He et al. 2016b": (
        "Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun",
        "Identity Mappings in Deep Residual Networks",
        "ECCV 2016",
        "1603.05027",
    ),
    "He et al. 2019": (
        "Tong He, Zhi Zhang, Hang Zhang, Zhongyue Zhang, Junyuan Xie and Mu Li",
        "Bag of Tricks for Image Classification with Convolutional Neural Networks",
        "CVPR 2019",
        "1812.01187",
    ),
    "Hu et al. 2018": (
        "Jie Hu, Li Shen, Samuel Albanie, Gang Sun and Enhua Wu",
        "Squeeze-and-Excitation Networks",
        "CVPR 2018",
        "1709.01507",
    ),
    "Xie et al. 2017": (
        "Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu and Kaiming He",
        "Aggregated Residual Transformations for Deep Neural Networks",
        "CVPR 2017",
        "1611.05431",
    ),
    "Zagoruyko & Komodakis 2016": (
        "Sergey Zagoruyko and Nikos Komodakis",
        "Wide Residual Networks",
        "BMVC 2016",
        "1605.07146",
    ),
    "Redmon & Farhadi 2018": (
        "Joseph Redmon and Ali Farhadi",
        "YOLOv3: An Incremental Improvement",
        "arXiv 2018",
        "1804.02767",
    ),
    "Yu et al. 2017": (
        "Fisher Yu, Vladlen Koltun and Thomas Funkhouser",
        "Dilated Residual Networks",
        "CVPR 2017",
        "1705.09914",
    ),
    "Huang et al. 2016": (
        "Gao Huang, Yu Sun, Zhuang Liu, Daniel Sedra and Kilian Weinberger",
        "Deep Networks with Stochastic Depth",
        "ECCV 2016",
        "1603.09382",
    ),
    "Srivastava et al. 2015": (
        "Rupesh Kumar Srivastava, Klaus Greff and Jürgen Schmidhuber",
        "Training Very Deep Networks",
        "NeurIPS 2015",
        "1507.06228",
    ),
}


def markdown(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def family_of(name):
    """The family that a network belongs to."""
    [family] = [f for f, names in FAMILIES.items() if re.fullmatch(names, name)]
    return family


def families():
    """The networks by family, in the order of `FAMILIES`."""
    found = {family: [] for family in FAMILIES}
    for name in ARCHITECTURES:
        found[family_of(name)].append(name)
    return found


def papers_of(name):
    """The keys of `PAPERS` that a network's row names."""
    parts = ARCHITECTURES[name].paper.split("; ")
    return [key for part in parts for key in PAPERS if re.match(rf"{key}\b", part)]


def anchor(heading):
    """The fragment that the site gives to a heading."""
    plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[\s-]+", "-", plain)


# --- Networks ---------------------------------------------------------------------


def family_table():
    """One line for each family, for README.md."""
    rows = []
    for family, names in families().items():
        of = "; ".join(dict.fromkeys(key for name in names for key in papers_of(name)))
        link = f"[{family}](docs/networks.md#{anchor(family)})"
        rows.append((link, f"`{names[0]}` … `{names[-1]}`", len(names), of))
    rows = [
        (link, names if count > 1 else names.split(" … ")[0], count, of)
        for link, names, count, of in rows
    ]
    return markdown(("family", "names", "networks", "paper"), rows)


def networks():
    """Every network with its numbers, by family, for docs/networks.md."""
    parts = []
    for family, names in families().items():
        parts.append(f"## {family}\n")
        for (paper, source), group in _by(
            names, lambda name: (ARCHITECTURES[name].paper, ARCHITECTURES[name].source)
        ).items():
            head = (
                "name", "depth", "parameters", "multiply-adds", "image", "stem", "stages",
                "order", "shortcut", "more",
            )  # fmt: skip
            parts.append(f"{paper}. Graph: {source}.\n")
            parts.append(markdown(head, [_network(name) for name in group]))
    return "\n".join(parts)


def _by(names, key):
    groups = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _network(name):
    spec, counts = ARCHITECTURES[name], complexity()[name]
    stages = [
        f"{stage.repeats} × {stage.block} {stage.filters}"
        + (
            f" → {stage.output_filters}"
            if stage.output_filters != stage.filters
            else ""
        )
        + (f", dilation {stage.dilation}" if stage.dilation > 1 else "")
        for stage in spec.stages
    ]
    more = {
        "merge": spec.merge,
        "groups": spec.groups if spec.groups > 1 else None,
        "squeeze and excitation": spec.squeeze_excitation,
        "dropout": spec.dropout,
        "stochastic depth": spec.stochastic_depth,
    }
    return (
        f"`{name}`",
        spec.depth,
        f"{counts['parameters']:,}",
        f"{counts['multiply_adds'] / 1e9:.4g} G",
        f"{spec.image_size}²",
        f"`{spec.stem}`, {spec.stem_filters}",
        "<br>".join(stages).replace(" ", "\N{NO-BREAK SPACE}"),
        f"`{spec.order}`",
        spec.shortcut or "none",
        "<br>".join(f"{k} {v}" for k, v in more.items() if v) or "–",
    )


# --- Recipes ----------------------------------------------------------------------


def recipes():
    """One line for each recipe, for docs/recipes.md."""
    head = (
        "recipe", "network", "data set", "batch", "updates", "schedule",
        "published error, %",
    )  # fmt: skip
    rows = [
        (
            f"[`{name}`](#{name})",
            f"`{recipe.network}`",
            f"`{recipe.dataset}`",
            f"{recipe.batch_size:,}",
            f"{recipe.steps:,}",
            type(recipe.schedule).__name__,
            _target(recipe),
        )
        for name, recipe in RECIPES.items()
    ]
    return markdown(head, rows)


def defaults():
    """What a recipe says where its row says nothing, for docs/recipes.md."""
    rows = [
        (f"`{field.name}`", _value(field.default))
        for field in fields(Recipe)
        if field.default is not MISSING
        and field.name not in ("name", "source", "deviations")
    ]
    return markdown(("field", "value"), rows)


def each_recipe():
    """Every number of every recipe, for docs/recipes.md."""
    return "\n".join(_recipe(name, recipe) for name, recipe in RECIPES.items())


def detection_recipes():
    """One line for each recipe of detection, for docs/recipes.md."""
    head = (
        "recipe", "detector", "data set", "batch", "updates", "published AP, %", "rule",
    )  # fmt: skip
    rows = [
        (
            f"[`{name}`](#{name})",
            f"`{recipe.network_name}`",
            f"`{recipe.dataset}`",
            recipe.batch_size,
            f"{recipe.steps:,}",
            "–" if recipe.target is None else f"{recipe.target.average_precision:g}",
            "–" if recipe.target is None else recipe.target.rule,
        )
        for name, recipe in DETECTION_RECIPES.items()
    ]
    return markdown(head, rows)


def each_detection_recipe():
    """Every number of every recipe of detection, for docs/recipes.md."""
    return "\n".join(
        _recipe(name, recipe) for name, recipe in DETECTION_RECIPES.items()
    )


def _target(recipe):
    return "–" if recipe.target is None else f"{recipe.target.error:g}"


def _recipe(name, recipe):
    own = {f.name for f in fields(recipe) if getattr(recipe, f.name) != f.default}
    own = (own | {"epochs"}) - {"name", "source", "deviations"}
    rows = [
        (f"`{field}`", value)
        for field, value in described(recipe)
        if field.partition(".")[0] in own
    ]
    text = f"## {name}\n\n{recipe.source}.\n\n{markdown(('field', 'value'), rows)}"
    if recipe.deviations:
        deviations = "".join(f"- {line}\n" for line in recipe.deviations)
        text += f"\nWhat is known to differ from the source:\n\n{deviations}"
    return text


def _value(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, ()) else value


# --- Detectors --------------------------------------------------------------------


def detectors():
    """Every detector's row, for docs/reference/detection.md."""
    head = (
        "name",
        "backbone",
        "neck",
        "box head",
        "classes",
        "images",
        "paper",
        "source",
    )
    rows = [
        (
            f"`{name}`",
            f"`{spec.backbone}`",
            f"`{spec.neck}`",
            f"`{spec.box_head.layers}`, {spec.box_head.pooled}²"
            + (", context" if spec.box_head.context else ""),
            spec.classes,
            " to ".join(map(str, spec.sides)),
            spec.paper,
            " ".join((f"{spec.source}.", *spec.deviations)),
        )
        for name, spec in DETECTORS.items()
    ]
    return markdown(head, rows)


# --- Papers -----------------------------------------------------------------------


def papers():
    """The papers, and the networks that each one describes, for docs/citing.md."""
    parts = []
    for key, (authors, title, where, arxiv) in PAPERS.items():
        names = [f"`{name}`" for name in ARCHITECTURES if key in papers_of(name)]
        parts.append(
            f"## {key}\n\n{authors}. *{title}*. {where}. "
            f"[arXiv:{arxiv}](https://arxiv.org/abs/{arxiv}).\n\n"
            f"For {', '.join(names)}.\n"
        )
    return "\n".join(parts)
