"""Where a command's time goes: seconds by phase, and seconds in which nothing computes.

    python -m benchmarks.dead_time [--runs 3] [--stacks] [COMMAND ...]

Without COMMAND it is the main job, `keras-resnet train`, from its start to its exit; its
phases are those that its record holds, and results/dead_time.json is written.

Every half second the processor time of the command and its children is read from /proc
(so it needs Linux). A half second is dead if they used less than a twentieth of one core
in it. With --stacks, py-spy (if it is installed) says where the command stands. Other
programs do not disturb the dead time, only the seconds.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from keras_resnet.runs import environment
from keras_resnet.runs.record import read_record

RESULTS = pathlib.Path(__file__).parent / "results" / "dead_time.json"
INTERVAL, SHARE = 0.5, 0.05  # Seconds, cores.
# Of a record: these follow one another, and those in one group take turns.
PHASES = (
    ("data",),
    ("network",),
    ("first_update", "updates", "validation", "checkpoints"),
    ("pictures", "measuring"),
    ("saving",),
    ("saved_model",),
)


def processor_time(group):
    """Processor seconds of all processes of a group that live."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # It has ended.
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def stack(process):
    """Where a process stands, as py-spy says it."""
    command = ["py-spy", "dump", "--pid", str(process.pid)]
    return subprocess.run(command, capture_output=True, text=True).stdout


def watch(command, stacks=False):
    """Runs a command in a session of its own.

    Returns:
        Wall seconds, and the dead stretches: pairs of seconds since the start.
    """
    started = time.perf_counter()
    try:
        process = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        raise SystemExit(f"{command[0]} can't be run: {error}.") from error
    dead, since, shown = [], None, False
    last, used = 0.0, 0.0
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(INTERVAL)
            now, using = time.perf_counter() - started, processor_time(process.pid)
            if using - used >= SHARE * (now - last):
                if since is not None:
                    dead.append((round(since, 1), round(last, 1)))
                since, shown = None, False
            elif since is None and process.returncode is None:
                since = last
            elif stacks and not shown and process.returncode is None:
                print(f"Standing still since {since:.1f} s:\n{stack(process)}")
                shown = True
            last, used = now, using
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # If this program was ended.
    if since is not None:
        dead.append((round(since, 1), round(last, 1)))
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}.")
    return round(time.perf_counter() - started, 1), dead


def by_phase(record, ended, wall, dead):
    """Seconds and dead seconds of each phase of a run that one process made.

    Args:
        record: Of the run.
        ended: Seconds after the start at which the record was written.
        wall: Seconds in all.
        dead: As of `watch`.
    """
    phases = record["phase_seconds"]
    begin = ended - sum(phases.values())
    spans = [("start", 0.0, begin)]
    for names in PHASES:
        seconds = sum(phases[name] for name in names if name in phases)
        spans.append((" + ".join(names), begin, begin + seconds))
        begin += seconds
    spans.append(("end", begin, wall))
    return {
        name: (
            round(end - begin, 1),
            round(sum(max(0, min(e, end) - max(b, begin)) for b, e in dead), 1),
        )
        for name, begin, end in spans
    }


def main_job(seed, stacks):
    """One run of the main job, as it is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "keras_resnet", "train", "--quiet"]
        clock = time.time()
        wall, dead = watch(
            [*command, "--seed", str(seed), "--output-dir", folder], stacks
        )
        path = pathlib.Path(folder) / f"quickstart_seed{seed}" / "record.json"
        record = read_record(path)
        phases = by_phase(record, path.stat().st_mtime - clock, wall, dead)
    return {
        "seed": seed,
        "seconds": wall,
        "dead_seconds": round(sum(end - begin for begin, end in dead), 1),
        "dead": dead,
        "phase_seconds": record["phase_seconds"],
        "seconds_and_dead_seconds": phases,
    }


def main():
    """Watches the main job, or another command, and says what it saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stacks", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.stacks and shutil.which("py-spy") is None:
        raise SystemExit("--stacks needs py-spy: pip install py-spy")
    if options.command[:1] == ["--"]:
        del options.command[0]
    if options.command:
        for _ in range(options.runs):
            wall, dead = watch(options.command, options.stacks)
            print(f"{wall} s, dead: {dead or 'nowhere'}", flush=True)
        return
    runs = []
    for seed in range(options.runs):
        runs.append(main_job(seed, options.stacks))
        run = runs[-1]
        print(f"seed {seed}: {run['seconds']} s, dead {run['dead_seconds']} s")
        for name, (seconds, dead) in run["seconds_and_dead_seconds"].items():
            print(f"  {name}: {seconds} s, dead {dead} s", flush=True)
    result = {"date": time.strftime("%Y-%m-%d"), **environment.describe(), "runs": runs}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
