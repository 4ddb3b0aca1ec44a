"""Writes the tables of README.md, docs/ and saved_models/README.md from their sources.

    python -m benchmarks.tables

The sources are results/*.json, the records in saved_models/ and the rows of networks and
recipes, whose pages are in `catalogue.py`.
`tests/test_readme.py` checks that the files are current.
"""

import itertools
import json
import pathlib
import re
import statistics

from benchmarks import catalogue
from benchmarks.catalogue import markdown
from benchmarks.landscape import BETTER_LOOP, LOOP
from benchmarks.ledger_rows import ROWS
from keras_resnet.runs.record import read_record
from keras_resnet.runs.tables import table as table_of

REPOSITORY = pathlib.Path(__file__).parents[1]
RESULTS = pathlib.Path(__file__).parent / "results"
FIRST_UPDATE = RESULTS / "first_update.json"  # Not measured yet on an idle machine.
PEER = "keras.applications, SavedModel"


def load(name):
    """A benchmark's results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def machine(result):
    """The circumstances of a result, for a sentence under its table."""
    hardware, versions = result["hardware"], result["versions"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    tensorflow = versions.get("tensorflow") or versions.get("tensorflow-cpu")
    return (
        f"{result['date']}, {cores} of {hardware['cpu']}, Python "
        f"{versions['python']}, Keras {versions['keras']}, TensorFlow {tensorflow}"
    )


def beside_torch(result):
    """The same where PyTorch was timed as well."""
    return f"{machine(result)}, PyTorch {result['versions']['torch']}"


def spread(values, digits=2):
    """Mean ± sample standard deviation."""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def results():
    """The main job over its seeds."""
    result = load("quickstart")
    runs = result["runs"]
    columns = {
        "seeds": len(runs),
        "accuracy on the original 10,000 test images, %": spread(
            [run["accuracy_10000"] for run in runs]
        ),
        "on the 2,000 bundled ones, %": spread(
            [run["accuracy_bundled_2000"] for run in runs]
        ),
        "`keras-resnet train`, start to exit, s": spread(
            [run["seconds"] for run in runs], 0
        ),
        "longest, s": f"{max(run['seconds'] for run in runs):.0f}",
    }
    table = markdown(list(columns), [list(columns.values())])
    note = f" {result['note']}" if "note" in result else ""
    return (
        f"{table}\nResNet-20 by the recipe `quickstart`, mean ± standard deviation over "
        "seeds, final weights; nothing was selected on test images. "
        f"{machine(result)}.{note}\n"
    )


def runs():
    """Other recorded runs."""
    found = sorted((RESULTS / "runs").glob("*.json"))
    return table_of(read_record(path) for path in found)


FIGURE6 = {  # By training error in He et al. 2016a, fig. 6, the worst first.
    "plain56": "plain-56",
    "plain20": "plain-20",
    "resnet20": "ResNet-20",
    "resnet56": "ResNet-56",
}


def figure6():
    """Errors of plain and residual nets over seeds, in each setting that has results."""
    settings = {}
    for path in sorted((RESULTS / "figure6").glob("*/*.json")):
        settings.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    return "\n".join(map(figure6_setting, settings.values()))


def figure6_setting(found):
    """The same of one setting, from its results."""
    rows = []
    for name, label in FIGURE6.items():
        runs = [run for run in found if run["network"] == name]
        training = [run["training_error"] for run in runs]
        by_seed = ", ".join(f"{run['training_error']:.2f}" for run in runs)
        test = spread_if_any([run["test_error"] for run in runs])
        rows.append((label, spread_if_any(training), by_seed or "–", test))
    setting, record = found[0]["setting"], found[0]["record"]
    side, flips = setting["size"], ", flips" if setting["flip"] else ""
    warmup = f", warm-up at {setting['warmup']:g}" if setting["warmup"] else ""
    head = (
        f"{side}×{side} pixels, {setting['steps']:,} updates{flips}{warmup}",
        "training error, %",
        "by seed",
        "test error, %",
    )
    ordered, minutes = figure6_seeds(found)
    date = max(run["date"] for run in found)
    several = len({run["seed"] for run in found}) > 1
    average = "Mean ± standard deviation over seeds, " if several else "One seed, "
    return (
        f"{markdown(head, rows)}\n"
        f"{average}final weights, all training and test images as they are. The training "
        f"errors are in the paper's order with {sum(ordered)} of {len(ordered)} seeds"
        + (
            f"; all four took at most {max(minutes):.0f} minutes a seed"
            if minutes
            else ""
        )
        + f", beside other work. {machine({**record, 'date': date})}.\n"
    )


def figure6_seeds(found):
    """For each seed with all four networks: whether in the paper's order; minutes."""
    ordered, minutes = [], []
    for seed in sorted({run["seed"] for run in found}):
        runs = {run["network"]: run for run in found if run["seed"] == seed}
        if len(runs) == len(FIGURE6):
            errors = [runs[name]["training_error"] for name in FIGURE6]
            # Each above the next: equal errors are no order.
            ordered.append(all(a > b for a, b in itertools.pairwise(errors)))
            seconds = sum(run["record"]["wall_seconds"] for run in runs.values())
            minutes.append(seconds / 60)
    return ordered, minutes


def spread_if_any(values):
    """Mean ± sample standard deviation, of one value itself, of none a dash."""
    if len(values) > 1:
        return spread(values)
    return f"{values[0]:.2f}" if values else "–"


def benchmarks():
    """Our trainer, pipeline and builder beside their peers."""
    tables = (
        akamaster_table(),
        training_table(load("training")),
        *([first_update_table(load("first_update"))] if FIRST_UPDATE.exists() else []),
        input_table(load("input")),
        build_table(load("build")),
    )
    return "\n".join(tables)


def akamaster_table():
    """Errors and speed of two trainers over the same seeds."""
    rows, errors = [], {}
    for name, label in {
        "keras_resnet": "ours, `resnet20_fb_cifar10`",
        "akamaster": "akamaster's trainer, PyTorch",
    }.items():
        files = sorted((RESULTS / "akamaster").glob(f"{name}_10epochs_seed*.json"))
        runs = [json.loads(path.read_text()) for path in files]
        errors[name] = [run["test_error"] for run in runs]
        each = ", ".join(f"{error:.2f}" for error in errors[name])
        beside = [run for run in runs if run["hardware"]["cores"] == 1]
        speeds = ", ".join(f"{run['images_per_second']:.0f}" for run in beside)
        rows.append((label, f"{spread(errors[name])} ({each})", speeds))
    difference = statistics.mean(errors["keras_resnet"]) - statistics.mean(
        errors["akamaster"]
    )
    last = runs[-1]
    head = [
        f"ResNet-20 on CIFAR-10 (JPEG), {last['epochs']} epochs",
        "test error, %",
        "images/s on one core",
    ]
    seeds = " and ".join(str(run["seed"]) for run in beside)
    return (
        f"{markdown(head, rows)}\n"
        f"Final weights on the 10,000 test images, mean ± standard deviation over "
        f"{len(runs)} seeds; ours {abs(difference):.2f} points "
        f"{'above' if difference > 0 else 'below'}. The same 45,000 training images, "
        "each trainer's own drops of the rate, in proportion. Images/s of the seeds "
        f"{seeds}, rough: at different hours, with other jobs beside, and PyTorch's "
        "loaders on the same core; the next table is of one run. "
        "`benchmarks/akamaster.py`. "
        f"{beside_torch(last)}.\n"
    )


def training_table(training):
    """Images per second of training, ours and others'."""
    text = ""
    for graph, precisions in training.items():
        for precision, result in precisions.items():
            speeds = result["images_per_second"].items()
            rows = [(n, f"{s:,.0f}" if s >= 100 else f"{s:.3g}") for n, s in speeds]
            head = [f"training {graph} in {precision} on a CPU", "images/s"]
            text += (
                f"{markdown(head, rows)}\n"
                "Ours to the best of the others: "
                f"{result['ratio_to_best_peer']:.2f} ×. Medians of {result['rounds']} "
                f"interleaved rounds, `benchmarks/training.py`. {beside_torch(result)}.\n\n"
            )
    return text.removesuffix("\n")


def first_update_table(networks):
    """Seconds to the end of the first update, and the memory it takes."""
    rows = []
    for network, result in networks.items():
        for variant, processes in result["variants"].items():
            processes = [of for of in processes if "left_out" not in of]
            if not processes:
                continue
            middle = {
                name: statistics.median(of[name] for of in processes)
                for name in processes[0]
            }
            count = middle.get("operations")
            rows.append(
                (
                    f"{network}, {variant}",
                    f"{middle['seconds']:.3g}",
                    f"{middle['later_seconds']:.2f}",
                    f"{middle['memory_gib']:.1f}",
                    f"{count:,}" if count else "–",
                    len(processes),
                )
            )
    head = [
        "batch 16 at 32x32, float32, on a CPU",
        "`fit` to the end of update 1, s",
        "an update after it, s",
        "memory, GiB",
        "operations of a step's graph",
        "processes",
    ]
    return (
        f"{markdown(head, rows)}\n"
        "Medians over processes that took turns. `benchmarks/first_update.py`. "
        f"{beside_torch(result)}.\n"
    )


def input_table(result):
    """Images per second from files to training batches."""
    speeds = result["images_per_second"].items()
    rows = [(name, f"{speed:,.0f}") for name, speed in speeds]
    return (
        f"{markdown(['photographs to training batches', 'images/s'], rows)}\n"
        f"Ours to PyTorch's: {result['ratio_to_data_loader']:.2f} ×. "
        f"{result['images']:,} Inception crops of {result['files']} files of ImageNet's "
        f"sizes to 224², medians of {result['rounds']} interleaved rounds, "
        f"`benchmarks/input.py`. {beside_torch(result)}.\n"
    )


def build_table(build):
    """The costs of importing and building."""
    return build["table"] + f"\n`benchmarks/build.py`. {machine(build)}.\n"


def serving():
    """Exported networks, what decoding costs in one, and the server under load."""
    speeds, decoding, served = load("serving"), load("decoding"), load("serve")
    goals = ", ".join(
        f"{goal} × at batch {batch} ({speeds['ratio_of_best'][batch][PEER]:.2f} × here)"
        for batch, goal in speeds["goals"].items()
    )
    without = " and ".join(
        f"{ratios[PEER]:.2f}"
        for ratios in load("serving_avx2")["ratio_of_best"].values()
    )
    quantized = load("quantized")
    accuracies = ", ".join(
        f"{name} {of['accuracy']:.2f} %" for name, of in quantized["formats"].items()
    )
    [keras] = {of["original_accuracy"] for of in quantized["formats"].values()}
    [images] = {of["images"] for of in quantized["formats"].values()}
    cost = decoding["decoding_costs_percent"]
    share = decoding["decoding_costs_percent_cpu"]
    return (
        f"{speeds['table']}\n"
        "ResNet-50, images/s and how many times keras.applications' ResNet50 under "
        f"`model.export`; medians of {speeds['rounds']} interleaved rounds, "
        f"`benchmarks/serving.py`. {machine(speeds)}. The best form to the "
        f"SavedModel: goals {goals}. With AVX2 alone, which has no unit for 8 bits, "
        f"{without} ×: [the log](LOG.md).\n\n"
        f"In 8 bits `{quantized['run']}` (Keras: {keras:.2f} % of {images:,} images) has "
        f"{accuracies}, `benchmarks/quantized.py`. {machine(quantized)}.\n\n"
        f"Files of {decoding['bytes'] / 1000:.0f} kB in place of decoded images cost "
        f"{cost} % more time in a batch of {decoding['batch']} ({share} % more of the "
        "processor's), `benchmarks/decoding.py`. "
        f"{machine(decoding)}.\n\n"
        f"`keras-resnet serve` of {served['network']} by Keras, {served['clients']} "
        f"clients at once for {served['seconds']:.0f} s: {served['answered']:,} images "
        f"answered, {served['lost']} lost, {served['images_per_second']} a second, latency "
        f"p50 {served['p50_ms'] / 1000:.2f} s and p99 {served['p99_ms'] / 1000:.2f} s (it "
        "is clients divided by throughput), `benchmarks/serve.py`. "
        f"{machine(served)}.\n"
    )


def landscape():
    """A loss landscape beside the loop of loss-landscape."""
    result = load("landscape")
    seconds = result["seconds"]
    rows = [
        (name, f"{seconds['point'][name]:.2f}", f"{seconds['surface'][name]:.1f}")
        for name in seconds["point"]
    ]
    head = [
        f"the loss of `{result['run']}` on {result['images']:,} images",
        "a point near the network, s",
        "a surface of {} × {} points, s".format(*result["grid"]),
    ]
    faster = "; ".join(
        f"{times[LOOP]:.2f} × as fast as loss-landscape's loop per {kind} (goal "
        f"{result['goals'][kind]} ×), {times[BETTER_LOOP]:.2f} × as fast as the "
        "better one"
        for kind, times in result["times_faster"].items()
    )
    return (
        f"{markdown(head, rows)}\n"
        f"Ours is {faster}. {100 * result['share_at_or_above_clip']:.0f} % of the "
        f"surface's points have a loss of {result['clip']:g} or more, the clip, and all "
        "variants have the same losses below it. Medians of "
        f"{result['rounds']} interleaved rounds, `benchmarks/landscape.py`. "
        f"{beside_torch(result)}.\n"
    )


def detection():
    """Faster R-CNN beside torchvision's."""
    if not (RESULTS / "detection.json").exists():
        return "Not measured yet.\n"
    result = load("detection")
    tasks = [task for task in ("training", "inference") if task in result]
    head, sentences = ["`fasterrcnn_resnet50_fpn`"], []
    for task in tasks:
        of = result[task]
        images = "one image" if of["images"] == 1 else f"{of['images']} images"
        size = f"{images} of {of['height']}×{of['width']}"
        head += [f"{task}, {size}, s", "peak memory, GiB"]
        sentences.append(
            f"In {task} our better setting, {of['best']['ours']}, is "
            f"{of['times_as_fast']:.2f} × as fast as their better one, "
            f"{of['best']['theirs']} ({of['rounds']} rounds)."
        )
    rows = [
        [name]
        + [
            text
            for task in tasks
            for text in (
                spread_of_rounds(result[task], name),
                f"{result[task]['peak_gib'][name]:.1f}",
            )
        ]
        for name in result[tasks[0]]["seconds"]
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"{' '.join(sentences)} Required {result['goals']['required']:g} ×, wanted "
        f"{result['goals']['wanted']:g} ×. Medians of interleaved rounds, with their "
        f"extremes, and {result['threads']} threads, `benchmarks/detection.py`; an update, "
        f"and the detection on an image. {beside_torch(result[tasks[0]])}."
        + (f" {result['note']}" if "note" in result else "")
        + "\n"
    )


def spread_of_rounds(task, name):
    """The median of a variant's rounds, the shortest and the longest."""
    rounds = task["seconds_by_round"][name]
    return f"{task['seconds'][name]:.2f} ({min(rounds):.2f}–{max(rounds):.2f})"


# The generated parts of each page, by the names in its `<!-- begin NAME -->`.
PARTS = {
    "README.md": {"results": results, "families": catalogue.family_table},
    "docs/benchmarks.md": {
        "runs": runs,
        "figure 6": figure6,
        "benchmarks": benchmarks,
        "serving": serving,
        "landscape": landscape,
        "detection": detection,
    },
    "docs/networks.md": {"networks": catalogue.networks},
    "docs/recipes.md": {
        "recipes": catalogue.recipes,
        "defaults": catalogue.defaults,
        "each recipe": catalogue.each_recipe,
        "detection recipes": catalogue.detection_recipes,
        "each detection recipe": catalogue.each_detection_recipe,
    },
    "docs/citing.md": {"papers": catalogue.papers},
    "docs/reference/detection.md": {"detectors": catalogue.detectors},
}


def renewed(text, parts):
    """A page with its generated parts renewed.

    Args:
        text: The page, which holds ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` once
            for each part.
        parts: Functions that make the parts, by name.
    """
    for name, part in parts.items():
        marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        # A function, since a string's backslashes would be read as groups.
        text, count = re.subn(
            f"{marks[0]}\n.*?{marks[1]}",
            lambda _, m=marks, p=part: f"{m[0]}\n{p()}{m[1]}",
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"The page must hold {marks[0]!r} and {marks[1]!r} once.")
    return text


def pages():
    """The generated files: their contents by path in the repository."""
    marked = {
        name: renewed((REPOSITORY / name).read_text(), parts)
        for name, parts in PARTS.items()
    }
    return {
        **marked,
        "docs/ledger.md": ledger(),
        "saved_models/README.md": saved_models(),
    }


def saved_models():
    """saved_models/README.md."""
    found = sorted((REPOSITORY / "saved_models").glob("*/record.json"))
    table = table_of(read_record(path) for path in found)
    return f"""# Trained networks

What `keras-resnet train` left, without checkpoints. Each folder holds `model.keras`
(`keras_resnet.load`, or plain Keras from 3.10 on), `saved_model/1` in the layout of
TensorFlow Serving, and the record of the run. This page is generated from the records
by `benchmarks/tables.py`.

{table}
Errors are on the bundled test images. The images are Fashion-MNIST's (MIT, Zalando SE).
"""


def ledger():
    """docs/ledger.md: what the runs of the ledger came to."""
    lines = []
    for row in ROWS:
        path = RESULTS / "ledger" / f"{row.name}.json"
        first = f"`{row.name}`", row.published or "–"
        if not path.exists():
            lines.append((*first, "–", "–", row.compared_with, "waiting"))
            continue
        kept = json.loads(path.read_text())
        record = kept["record"]
        updates = record.get("updates") or record["steps"]
        hours = sum(stretch["seconds"] or 0 for stretch in kept["stretches"]) / 3600
        differs = " ".join([f"{row.compared_with}.", *record.get("deviations", ())])
        lines.append(
            (
                *first,
                f"{kept['test_error']:.2f}",
                f"{updates:,}",
                differs,
                f"[curve]({picture(row).relative_to(REPOSITORY / 'docs')}), "
                f"{hours:.1f} h in {len(kept['stretches'])} stretches, {kept['date']}",
            )
        )
    head = (
        "run",
        "published, %",
        "test error, %",
        "updates",
        "compared with, and what differs",
        "state",
    )
    return f"""# The ledger

Runs of the papers' recipes at their full length, or as far as two cores carry. They are
made in idle processor time by `python -m benchmarks.ledger` (its first lines say how) and
kept when they finish. This page is generated from the records in
`benchmarks/results/ledger/`.

Errors are of the final weights on the whole test split, which nothing was selected on.
CIFAR-10 here has been through JPEG, so an error beside a published one is no comparison;
what can be compared is the order of the networks, and other trainers on the same copy.
All runs are in float32. They are computed in stretches, each of which the record names
with its commit, versions, hardware and seconds.

{markdown(head, lines)}"""


def picture(row):
    """Where the curve of a row of the ledger is drawn."""
    return REPOSITORY / "docs" / "ledger" / f"{row.name}.png"


def draw_ledger():
    """Draws the curves that are missing."""
    from keras_resnet.analysis import plots
    from keras_resnet.training.history import read_history

    for row in ROWS:
        history = RESULTS / "ledger" / f"{row.name}.csv"
        if history.exists() and not picture(row).exists():
            picture(row).parent.mkdir(exist_ok=True)
            plots.training_curves(read_history(history), picture(row), title=row.name)


def main():
    """Renews the files."""
    for name, text in pages().items():
        (REPOSITORY / name).write_text(text)
    draw_ledger()


if __name__ == "__main__":
    main()
