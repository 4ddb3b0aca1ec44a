"""Tables of classifiers' errors: runs, figure 6, protocols and another trainer's."""

import itertools
import json
import statistics

from benchmarks.catalogue import markdown
from benchmarks.circumstances import (
    RESULTS,
    beside_torch,
    load,
    machine,
    on_gpu,
    spread,
    spread_if_any,
)
from keras_resnet.config.words import duration
from keras_resnet.runs.record import read_record
from keras_resnet.runs.tables import table as table_of


def results():
    """The main job over its seeds."""
    result = load("quickstart")
    runs = [run for run in result["runs"] if run["precision"] == "float32"]
    note = f" {result['note']}" if "note" in result else ""
    columns = {"seeds": len(runs), **_of_seeds(runs)}
    table = markdown(list(columns), [list(columns.values())])
    return (
        f"{table}\nResNet-20 by the recipe `quickstart`, mean ± standard deviation over "
        "seeds, final weights; nothing was selected on test images. "
        f"{machine(result)}.{note}\n"
    )


def precisions():
    """The main job in each precision that it was measured in."""
    result = load("quickstart")
    names = dict.fromkeys(run["precision"] for run in result["runs"])
    columns = {
        name: _of_seeds([run for run in result["runs"] if run["precision"] == name])
        for name in names
    }
    head = ["precision", *next(iter(columns.values()))]
    table = markdown(head, [[name, *of.values()] for name, of in columns.items()])
    seeds = len(result["runs"]) // len(names)
    turns = ", in turns" if len(names) > 1 else ""
    return (
        f"{table}\nThe recipe `quickstart`, mean ± standard deviation over {seeds} seeds"
        f"{turns}, `benchmarks/quickstart.py`. {machine(result)}.\n"
    )


def _of_seeds(runs):
    """Columns of the main job's runs over their seeds."""
    return {
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


def runs():
    """Other recorded runs."""
    found = sorted((RESULTS / "runs").glob("*.json"))
    return table_of(read_record(path) for path in found)


def cifar_gpu():
    """Runs of the paper's recipe by a loop on JAX alone."""
    found = sorted((RESULTS / "cifar_gpu").glob("*.json"))
    records = [json.loads(path.read_text()) for path in found]
    if not records:
        return "Not measured yet.\n"
    rows = [
        (
            record["network"].replace("resnet", "ResNet-"),
            record["seed"],
            f"{record['test_error']:.2f}",
            record["target"],
            f"{record['steps']:,}",
            record["precision"],
            duration(record["wall_seconds"]),
            f"{record['images_per_second']:,.0f}",
        )
        for record in records
    ]
    head = [
        "CIFAR-10 (JPEG) on JAX alone",
        "seed",
        "test error, %",
        "the paper's, %",
        "updates",
        "precision",
        "wall time",
        "images/s",
    ]
    return (
        f"{markdown(head, rows)}\n"
        "Final weights on the 10,000 test images. The recipe's network, optimizer, "
        "schedule and augmentation, by a loop of its own with all images on the device, "
        f"`benchmarks/cifar_gpu.py`. {on_gpu(records[-1])}.\n"
    )


IMAGES = {"fashion_mini": "Fashion-MNIST", "cifar10": "CIFAR-10"}
FIGURE6 = {  # By training error in He et al. 2016a, fig. 6, the worst first.
    "plain56": "plain-56",
    "plain20": "plain-20",
    "resnet20": "ResNet-20",
    "resnet56": "ResNet-56",
}


def figure6():
    """Errors of plain and residual nets over seeds, in each setting that has results."""
    settings = [
        [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        for folder in (RESULTS / "figure6").iterdir()
    ]

    def length(found):  # The last one that was tried is the longest on CIFAR-10.
        setting = found[0]["setting"]
        return setting["data"] != "cifar10", -setting["steps"], -setting["warmup"]

    return "\n".join(map(figure6_setting, sorted(settings, key=length)))


def figure6_setting(found):
    """The same of one setting, from its results."""
    rows = []
    for name, label in FIGURE6.items():
        runs = [run for run in found if run["network"] == name]
        if not runs:
            continue
        training = [run["training_error"] for run in runs]
        by_seed = ", ".join(f"{run['training_error']:.2f}" for run in runs)
        test = spread_if_any([run["test_error"] for run in runs])
        rows.append((label, spread_if_any(training), by_seed, test))
    setting, record = found[0]["setting"], found[0]["record"]
    side, augmented = setting["size"], ", augmented" if setting["augment"] else ""
    rate = f"{setting['warmup']:g}"
    warmup = f", ResNet-56 warmed up at {rate}" if setting["warmup"] else ""
    head = (
        f"{IMAGES[setting['data']]} at {side}×{side} pixels, {setting['steps']:,} "
        f"updates{augmented}{warmup}",
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
        f"{average}final weights, all training and test images as they are. "
        + (
            f"The training errors are in the paper's order with {sum(ordered)} of "
            f"{len(ordered)} seeds; all four took at most {max(minutes):.0f} minutes a "
            "seed, beside other work. "
            if ordered
            else ""
        )
        + f"{machine({**record, 'date': date})}.\n"
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


def protocols():
    """What crops and scales change, on Imagenette."""
    if not (RESULTS / "protocols.json").exists():
        return "Not measured yet.\n"
    result = load("protocols")
    rows = []
    for name, found in result["protocols"].items():
        beside = found["beside_one_crop"]
        alone = f"{beside['first_alone']} / {beside['second_alone']}"
        error, interval = error_and_interval(found)
        compared = (alone, p_value(beside["p_value"])) if rows else ("–", "–")
        rows.append((name, error, interval, f"{found['loss']:.3f}", *compared))
    head = (
        "protocol",
        "top-1 error, %",
        "95 % interval",
        "loss",
        "right by one crop alone / by this alone",
        "p",
    )
    images = next(iter(result["protocols"].values()))["n"]
    record = result["record"]
    return (
        f"{markdown(head, rows)}\n"
        f"`{record['recipe']}` in {record['precision']}, seed {record['seed']}: final "
        f"weights on the {images:,} test images. p is McNemar's, beside one crop. "
        f"`benchmarks/protocols.py`. {machine(result)}.\n"
    )


def ensemble():
    """The seeds of the main job and their ensemble."""
    if not (RESULTS / "ensemble.json").exists():
        return "Not measured yet.\n"
    result = load("ensemble")
    found = result["runs"] | {f"ensemble of {len(result['runs'])}": result["ensemble"]}
    rows = [
        (
            f"`{name}`" if name in result["runs"] else name,
            *error_and_interval(of),
            f"{of['loss']:.3f}",
            f"{100 * of['ece']:.2f}",
        )
        for name, of in found.items()
    ]
    head = "run", "top-1 error, %", "95 % interval", "loss", "calibration error, %"
    return (
        f"{markdown(head, rows)}\n"
        f"{result['ensemble']['n']:,} bundled test images, `benchmarks/protocols.py`. "
        f"{machine(result)}.\n"
    )


def error_and_interval(found):
    """The top-1 error, and where it lies in 95 % of resamples."""
    low, high = found["top1_interval"]
    return f"{found['top1_error']:.2f}", f"{low:.2f} to {high:.2f}"


def p_value(value):
    """Of a paired test, as text."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
