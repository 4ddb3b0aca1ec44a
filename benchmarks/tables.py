"""Writes the tables of README.md and saved_models/README.md from their sources.

    python benchmarks/tables.py

The sources are results/*.json, the records in saved_models/ and the networks' rows.
`tests/test_readme.py` checks that the files are current.
"""

import json
import pathlib
import re
import statistics

from keras_resnet.applications import list_models
from keras_resnet.evaluation import records

REPOSITORY = pathlib.Path(__file__).parents[1]
RESULTS = pathlib.Path(__file__).parent / "results"


def load(name):
    """A benchmark's results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def markdown(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def machine(result):
    """The circumstances of a result, for a sentence under its table."""
    hardware, versions = result["hardware"], result["versions"]
    tensorflow = versions.get("tensorflow") or versions.get("tensorflow-cpu")
    return (
        f"{result['date']}, {hardware['cores']} cores of {hardware['cpu']}, Python "
        f"{versions['python']}, Keras {versions['keras']}, TensorFlow {tensorflow}"
    )


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


def networks():
    """Every network with its counts."""
    rows = [
        (
            f"`{name}`",
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e9:.4g} G",
            f"{row['image_size']}²",
            row["paper"],
        )
        for name, row in list_models(details=True).items()
    ]
    return markdown(["name", "parameters", "multiply-adds", "image", "paper"], rows)


def benchmarks():
    """Our trainer and builder beside their peers."""
    training, build = load("training"), load("build")
    speeds = training["images_per_second"]
    table = markdown(
        ["ResNet-20 training, batch 128", "images/s"],
        [(name, f"{speed:.0f}") for name, speed in speeds.items()],
    )
    return (
        f"{table}\nOurs is {training['ratio_to_best_plain']:.2f} × the best plain "
        f"`model.fit`: medians of {training['rounds']} interleaved rounds of "
        f"{training['steps']} updates, `benchmarks/training.py`. {machine(training)}.\n\n"
        f"{build_table(build)}"
    )


def build_table(build):
    """The costs of importing and building."""
    return build["table"] + f"\n`benchmarks/build.py`. {machine(build)}.\n"


def readme(text):
    """README.md with its generated parts renewed."""
    for name, part in {
        "results": results,
        "networks": networks,
        "benchmarks": benchmarks,
    }.items():
        marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        pattern = f"{marks[0]}\n.*?{marks[1]}"
        # A function, since a string's backslashes would be read as groups.
        text, count = re.subn(
            pattern,
            lambda _, m=marks, p=part: f"{m[0]}\n{p()}{m[1]}",
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise ValueError(f"README.md must hold {marks[0]!r} and {marks[1]!r} once.")
    return text


def saved_models():
    """saved_models/README.md."""
    found = sorted((REPOSITORY / "saved_models").glob("*/record.json"))
    table = records.table(records.read(path) for path in found)
    return f"""# Trained networks

What `keras-resnet train` left, without checkpoints. Each folder holds `model.keras`
(`keras_resnet.load`, or plain Keras), `saved_model/1` in the layout of TensorFlow
Serving, and the record of the run. This page is generated from the records by
`benchmarks/tables.py`.

{table}
Errors are on the bundled test images. The images are Fashion-MNIST's (MIT, Zalando SE).
"""


def main():
    """Renews the files."""
    path = REPOSITORY / "README.md"
    path.write_text(readme(path.read_text()))
    (REPOSITORY / "saved_models" / "README.md").write_text(saved_models())


if __name__ == "__main__":
    main()
