"""Depth harms plain nets and helps residual ones: He et al. 2016a, fig. 6, in small.

    python -m benchmarks.figure6 OUTPUT_DIR --data-dir DIR [--seeds 3] [--only resnet56]

Trains plain-20, plain-56, ResNet-20 and ResNet-56 by the paper's recipe, but on small
images and in few updates (`recipe` says what differs), one seed after the other. Then it
measures training errors: on the training images as they are, with the final weights.
With one core of a processor with AVX-512 all four networks of a seed take 80 minutes.
Runs in OUTPUT_DIR go on where they were stopped; a finished one leaves its record and
curve in results/figure6/ and is not done twice. Draws docs/figure6.png of what is there.

--data, --size, --steps, --augment and --warmup try other settings, whose results have
folders of their own.
"""

import argparse
import json
import os
import pathlib
import statistics
import time
from dataclasses import asdict, dataclass, replace

# As the command line sets it: see docs/decisions/0016.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_resnet
from benchmarks.accuracy_tables import IMAGES
from keras_resnet.analysis import figures, plots
from keras_resnet.config.augmentations import PadCropFlip
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipes import RECIPES
from keras_resnet.config.schedules import StepDecay
from keras_resnet.data import pipelines, sources
from keras_resnet.evaluation.metrics import evaluate
from keras_resnet.files import read_json
from keras_resnet.training.history import read_history

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "figure6"
PICTURE = HERE.parent / "docs" / "figure6.png"
NETWORKS = {
    "resnet56": "ResNet-56",
    "resnet20": "ResNet-20",
    "plain20": "plain-20",
    "plain56": "plain-56",
}
POINTS = 20  # Of a training curve. Test errors are measured at every second one.


@dataclass(frozen=True)
class Setting:
    """What is not the paper's.

    Attributes:
        data: Name of the data set.
        size: Side of the images in pixels.
        steps: Number of updates.
        augment: Whether training images are augmented as in the paper, in proportion:
            mirrored, and moved by up to an eighth of their side.
        warmup: Of ResNet-56, the deepest one that learns: its learning rate until the
            training error is under 80 %, as the paper has it for ResNet-110; 0 begins
            with 0.1.
    """

    data: str = "cifar10"
    size: int = 8
    steps: int = 20_000
    augment: bool = True
    warmup: float = 0.01

    def __str__(self):
        augment = "_augmented" if self.augment else ""
        warmup = f"_warmup{self.warmup:g}" if self.warmup else ""
        data = "" if self.data == "fashion_mini" else f"{self.data}_"
        return f"{data}{self.size}px_{self.steps}{augment}{warmup}"


def recipe(network, setting):
    """The paper's recipe of a network on small images, in so many updates."""
    of_data = DATASETS[setting.data]
    steps = setting.steps
    warmup = setting.warmup if network == "resnet56" else 0.0
    return replace(
        RECIPES[f"{network}_cifar10"],
        name=f"{network}_{setting}",
        dataset=setting.data,
        mean="channel",
        preprocessing=replace(
            of_data.preprocessing,
            resize=setting.size,
            size=(setting.size, setting.size),
        ),
        steps=steps,
        validate_every=steps // POINTS,
        schedule=StepDecay(learning_rate=0.1, at=(steps // 2, steps * 3 // 4)),
        warmup_learning_rate=warmup or None,
        augmentation=PadCropFlip(padding=setting.size // 8)
        if setting.augment
        else None,
        target=None,
        deviations=(
            f"{of_data.examples:,} images of {IMAGES[setting.data]} at {setting.size}x"
            f"{setting.size} pixels in place of CIFAR-10 at 32x32.",
            f"{steps:,} updates in place of 64,000; the rate falls at half and three "
            "quarters of them, as in the paper.",
            *(
                ["The warm-up of the paper's ResNet-110, in place of none."]
                if warmup
                else []
            ),
            *([] if setting.augment else ["No augmentation."]),
            "The mean of all pixels is subtracted, the paper subtracts that of each; and "
            "they are divided by their standard deviation, of which it does not speak.",
        ),
    )


def error_on(run, examples):
    """The top-1 error of a run's network, in percent, in inference mode."""
    batches = pipelines.evaluation_batches(examples, run.preprocessing, batch_size=500)
    return round(evaluate(run.model, batches).top1_error, 3)


def curve(run, splits):
    """The errors, in percent, at each validation.

    ``training`` is the mean over the updates since the one before, as the paper's
    figure has it; ``test`` is of the weights that were kept at this update, if any.
    """
    final = run.model.get_weights()
    test = {}
    for update, weights in run.snapshots():
        run.model.set_weights(weights)
        test[update] = error_on(run, splits.test)
    run.model.set_weights(final)
    return [
        {
            "step": row["step"],
            "training": round(100 * (1 - row["accuracy"]), 3),
            "test": test.get(row["step"]),
        }
        for row in read_history(run.folder / "history.csv")
    ]


def compute(network, seed, setting, options):
    """Trains and measures one network, and writes its result."""
    folder = keras_resnet.train(
        recipe(network, setting),
        seed=seed,
        output_dir=options.output_dir,
        data_dir=options.data_dir,
        snapshots=POINTS // 2 + 1,
        devices="cpu",
        precision="float32",
        verbose=2,
    )
    run = keras_resnet.load(folder)
    splits = sources.load(setting.data, data_dir=options.data_dir)
    result = {
        "network": network,
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "setting": asdict(setting),
        "training_error": error_on(run, splits.train),
        "test_error": error_on(run, splits.test),
        "curve": curve(run, splits),
        "record": run.record,
    }
    path = path_of(network, seed, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def path_of(network, seed, setting):
    """Where a result lies."""
    return RESULTS / str(setting) / f"{network}_seed{seed}.json"


def results(network, setting):
    """The results of a network that are there, in the order of seeds."""
    paths = (RESULTS / str(setting)).glob(f"{network}_seed*.json")
    return [read_json(path) for path in sorted(paths)]


def draw(setting):
    """Draws the curves, plain nets left and residual ones right, as the paper has them.

    Lines are means over the seeds, and shades reach from the lowest seed to the highest.
    """
    figure = figures.new_figure((9, 4.2))
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, kind in zip(axes, ("plain", "resnet"), strict=True):
        lines = {}
        for depth, color in ((20, figures.BLUE), (56, figures.VERMILLION)):
            runs = results(f"{kind}{depth}", setting)
            label = NETWORKS[f"{kind}{depth}"]
            for what, style in (
                ("training", plots.TRAINING),
                ("test", plots.VALIDATION),
            ):
                line = draw_line(axis, runs, what, style | {"color": color})
                lines[f"{label}, {what}: {line.get_ydata()[-1]:.1f} %"] = line
        axis.set(xlabel="updates", title="plain nets" if kind == "plain" else "ResNets")
        axis.locator_params(axis="x", nbins=5)
        figures.tidy(axis)
        figures.logarithmic(axis)
        figures.legend(axis, lines)
    axes[0].set(ylabel="error, %")
    figures.save(figure, PICTURE)


def draw_line(axis, runs, what, style):
    """Draws one kind of error of one network's runs; gives the line."""
    by_step = {}
    for run in runs:
        for point in run["curve"]:
            if point[what] is not None:
                by_step.setdefault(point["step"], []).append(point[what])
    steps, errors = list(by_step), list(by_step.values())
    low, high = map(min, errors), map(max, errors)
    axis.fill_between(
        steps, list(low), list(high), color=style["color"], alpha=0.15, linewidth=0
    )
    [line] = axis.plot(steps, [statistics.mean(values) for values in errors], **style)
    return line


def main():
    """Trains what is not trained yet and draws what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--data", choices=IMAGES, default=Setting.data)
    parser.add_argument("--data-dir", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=Setting.size)
    parser.add_argument("--steps", type=int, default=Setting.steps)
    parser.add_argument(
        "--augment", action=argparse.BooleanOptionalAction, default=Setting.augment
    )
    parser.add_argument("--warmup", type=float, default=Setting.warmup)
    options = parser.parse_args()
    setting = Setting(
        **{name: getattr(options, name) for name in Setting.__annotations__}
    )
    for seed in range(options.seeds):
        for network in [options.only] if options.only else NETWORKS:
            path = path_of(network, seed, setting)
            if not path.exists():
                compute(network, seed, setting, options)
            found = read_json(path)
            print(
                f"{setting}, {NETWORKS[network]}, seed {seed}: training error "
                f"{found['training_error']:.2f} %, test error "
                f"{found['test_error']:.2f} %",
                flush=True,
            )
    if setting == Setting() and all(results(name, setting) for name in NETWORKS):
        draw(setting)


if __name__ == "__main__":
    main()
