"""A run that is killed at any moment ends with the bits of one that never was."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import keras_resnet
from keras_resnet.training.checkpoint_files import STATE, updates_done
from keras_resnet.training.history import read_history
from tests.helpers import killed_detector, killed_run

REPOSITORY = pathlib.Path(__file__).parents[2]
# Of a process until it has gone on; a machine with other work on it is slow.
PATIENCE = 300


def start(output_dir, devices, backend="tensorflow", run=killed_run):
    """A process that begins the run, or goes on with it."""
    output_dir.mkdir(exist_ok=True)
    log = (output_dir / "log.txt").open("a")
    return subprocess.Popen(
        [sys.executable, "-m", run.__name__, str(output_dir), devices],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONUNBUFFERED": "1",
            # Else JAX compiles the same step after every kill.
            "JAX_COMPILATION_CACHE_DIR": str(output_dir / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        stdout=log,
        stderr=log,
        start_new_session=True,
        # What a shell starts in the background, as these tests may be, ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def log_of(output_dir):
    return (output_dir / "log.txt").read_text()


def end_of_log(output_dir):
    return log_of(output_dir)[-3_000:]


def finish(process, output_dir):
    assert process.wait(timeout=2 * PATIENCE) == 0, end_of_log(output_dir)


def last_step(folder):
    return updates_done(folder / "checkpoints")


def wait_until(condition, process, output_dir):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, end_of_log(output_dir)
        assert process.poll() is None, end_of_log(output_dir)
        time.sleep(0.001)


def being_written(folder):
    steps = folder.glob("checkpoints/step_*")
    return any(not (path / STATE).exists() for path in steps)


def assert_equal_runs(one, other, run):
    first, second = (keras_resnet.load(path / run.NAME) for path in (one, other))
    for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [read_history(run.folder / "history.csv") for run in (first, second)]
    for row in (*rows[0], *rows[1]):
        del row["images_per_second"]
    assert rows[0] == rows[1]
    validated = range(run.EVERY, run.STEPS + 1, run.EVERY)
    assert [row["step"] for row in rows[0]] == list(validated)


def kill_again_and_again(tmp_path, backend, devices, kills, run=killed_run):
    """Kills a run so many times, and compares its end with that of one left alone."""
    finish(start(tmp_path / "whole", devices, backend, run), tmp_path / "whole")
    killed = tmp_path / "killed"
    folder = killed / run.NAME
    rng = random.Random(0)
    # One in each share of the run, so that all of it is met.
    share = run.STEPS // (kills + 2)
    saved = []  # The last update that each start but the first has found.
    halved = False  # Whether a checkpoint was being written when one was killed.
    for kill in range(kills):
        process = start(killed, devices, backend, run)
        target = kill * share + rng.randint(1, share)
        # At least one update behind the last, so that each start has gone on.
        found = saved[-1] if saved else 0
        at = max(target, found + 1)
        wait_until(lambda at=at: last_step(folder) >= at, process, killed)
        if kill >= kills // 2 and not halved:
            wait_until(lambda: being_written(folder), process, killed)
        elif found < target:  # Else it is ahead, and might end before the last kill.
            time.sleep(rng.uniform(0, 0.1))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        halved = halved or being_written(folder)
        saved.append(last_step(folder))
    assert halved
    assert not (folder / "record.json").exists()
    finish(start(killed, devices, backend, run), killed)
    # Not from the beginning, which would end with the same bits.
    gone_on = re.findall(r"Going on from update (\d+) of", log_of(killed))
    assert list(map(int, gone_on)) == saved
    assert_equal_runs(tmp_path / "whole", killed, run)


@pytest.mark.multiprocess
def test_kills_change_nothing(tmp_path):
    kill_again_and_again(tmp_path, "tensorflow", "cpu", kills=3)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("backend", "kills"), [("tensorflow", 10), ("jax", 4)])
def test_many_kills_change_nothing_of_a_detector(tmp_path, backend, kills):
    pytest.importorskip(backend)
    kill_again_and_again(tmp_path, backend, "cpu", kills, run=killed_detector)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("backend", "devices", "kills"),
    # On JAX, twenty of twenty were seen once; here a few, as it compiles each time.
    [("tensorflow", "cpu", 20), ("tensorflow", "cpu:2", 20), ("jax", "cpu", 6)],
)
def test_many_kills_change_nothing(tmp_path, backend, devices, kills):
    pytest.importorskip(backend)
    kill_again_and_again(tmp_path, backend, devices, kills)


@pytest.mark.multiprocess
def test_signals_save_and_say_how(tmp_path):
    folder = tmp_path / killed_run.NAME
    step = 0
    for name, code in (("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 138)):
        process = start(tmp_path, "cpu")
        wait_until(lambda step=step: last_step(folder) > step + 2, process, tmp_path)
        os.kill(process.pid, getattr(signal, name))
        status = process.wait(timeout=PATIENCE)
        # Python itself ends a program with an uncaught KeyboardInterrupt by the signal.
        assert status in (code, -signal.SIGINT if name == "SIGINT" else code)
        assert not being_written(folder)
        if step:
            assert f"Going on from update {step} of" in log_of(tmp_path)
        step = last_step(folder)
    process = start(tmp_path, "cpu")
    wait_until(lambda: last_step(folder) > step, process, tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert f"Going on from update {step} of" in log_of(tmp_path)
