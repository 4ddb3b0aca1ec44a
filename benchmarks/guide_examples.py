"""What the commands print whose output the guides and `docs/serving.md` show.

    python -m benchmarks.guide_examples FOLDER

The commands are run on the trained network of saved_models/ and on two runs of other
seeds, `quickstart_seed1` and `quickstart_seed2` in FOLDER, which `keras-resnet train
quickstart --seeds 1-2 --output-dir FOLDER` makes. Writes results/guide_examples.json,
from which `benchmarks/tables.py` makes the parts of the pages.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks.circumstances import RESULTS, load
from keras_resnet.runs import environment
from keras_resnet.runs.record import read_record

RUNS = [f"runs/quickstart_seed{seed}" for seed in range(3)]
REPOSITORY = pathlib.Path(__file__).parents[1]
TRAINED = REPOSITORY / "saved_models" / "quickstart_seed0"
# By the names of the parts of the pages; some are only told of in sentences.
COMMANDS = {
    "evaluate": ("evaluate", RUNS[0]),
    "several": ("evaluate", *RUNS),
    "report": ("report", RUNS[0]),
    "lesions": ("analyze", RUNS[0], "lesions"),
    "paths": ("analyze", RUNS[0], "paths"),
    "receptive field": ("analyze", RUNS[0], "receptive-field"),
    "int8": ("export", RUNS[0], "--format", "openvino", "--precision", "int8"),
}


def block(name):
    """A command with its output, as a part of a page."""
    command = " ".join(["keras-resnet", *COMMANDS[name]])
    return f"```console\n$ {command}\n{load('guide_examples')['printed'][name]}\n```\n"


def printed(words, folder):
    """What a command prints in a folder."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "keras_resnet", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    print(*words, f"({time.perf_counter() - started:.0f} s)", flush=True)
    return done.stdout.strip()


def main():
    """Runs the commands and writes what they print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    sources = [TRAINED, *(options.folder / pathlib.Path(run).name for run in RUNS[1:])]
    records = [read_record(source / "record.json") for source in sources]
    if [record["seed"] for record in records] != [0, 1, 2]:
        raise SystemExit(f"{options.folder} must hold runs of the seeds 1 and 2.")
    circumstances = environment.describe()
    del circumstances["onednn"]  # Of this process, which computes nothing.
    with tempfile.TemporaryDirectory() as folder:
        for run, source in zip(RUNS, sources, strict=True):
            shutil.copytree(source, pathlib.Path(folder) / run)
        result = {
            "date": time.strftime("%Y-%m-%d"),
            **circumstances,
            "runs": {
                run: {key: record[key] for key in ("commit", "hardware", "precision")}
                for run, record in zip(RUNS, records, strict=True)
            },
            "printed": {
                name: printed(words, folder) for name, words in COMMANDS.items()
            },
        }
    path = RESULTS / "guide_examples.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
