"""What it costs to import the package and to build its networks, beside Keras.

    python benchmarks/build.py [--rounds 5]

The peers take turns within one run, so that whatever else the machine does meets
both, and the medians are compared. Writes results/build.json.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import keras

from keras_resnet.applications import ResNet152, create
from keras_resnet.runs import environment

RESULTS = pathlib.Path(__file__).parent / "results" / "build.json"
REPOSITORY = pathlib.Path(__file__).parents[1]
# In one process, one after the other: between processes the import of Keras alone
# varies by more than what is measured. Names of keras_resnet are imported at their
# first use: asking for one pays for all.
IMPORTS = """
import time; started = time.perf_counter()
import keras; after_keras = time.perf_counter()
import keras_resnet; keras_resnet.ResNet50
print(after_keras - started, time.perf_counter() - after_keras)
"""
BUILDS = {
    "keras.applications": lambda: keras.applications.ResNet152(weights=None),
    "keras_resnet": lambda: ResNet152(weights=None),
}
DEEPEST = "resnet1202"


def seconds(function, *arguments):
    """Runs a function and tells for how long."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def import_seconds(rounds):
    """Medians over fresh processes: of Keras, and of keras_resnet after it."""
    times = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        times.append([float(number) for number in done.stdout.split()])
    keras_times, ours = zip(*times, strict=True)
    return {
        "keras": statistics.median(keras_times),
        "keras_resnet": statistics.median(ours),
    }


def fresh(build):
    """Builds a network where no other is left."""
    keras.utils.clear_session(free_memory=False)
    return build()


def in_turns(function, variants, rounds):
    """Median seconds of each variant; a round before the counted ones warms up."""
    times = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, variant in variants.items():
            times[name].append(seconds(function, variant))
    return {name: statistics.median(t[1:]) for name, t in times.items()}


def table(imports, builds, deepest):
    """The results beside what they should be, as Markdown."""
    ratio = builds["keras_resnet"] / builds["keras.applications"]
    rows = [
        ("", "keras_resnet", "Keras", "compared", "target"),
        ("---", "---", "---", "---", "---"),
        (
            "import, s",
            f"{imports['keras']:.2f} + {imports['keras_resnet']:.3f}",
            f"{imports['keras']:.2f}",
            f"+{imports['keras_resnet']:.3f} s",
            "at most +0.2 s",
        ),
        (
            "build ResNet-152, s",
            f"{builds['keras_resnet']:.2f}",
            f"{builds['keras.applications']:.2f}",
            f"{ratio:.2f} ×",
            "at most 1.5 ×",
        ),
        ("build ResNet-1202, s", f"{deepest:.1f}", "", "", "under 30 s"),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main():
    """Measures, prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    imports = import_seconds(rounds)
    builds = in_turns(fresh, BUILDS, rounds)
    keras.utils.clear_session(free_memory=False)
    deepest = seconds(create, DEEPEST)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "rounds": rounds,
        "import_seconds": imports,
        "resnet152_seconds": builds,
        "resnet1202_seconds": deepest,
        "table": table(imports, builds, deepest),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(result["table"])


if __name__ == "__main__":
    main()
