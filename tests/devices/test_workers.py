"""Several workers join, are equal to one, and are not lost silently."""

import concurrent.futures
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from keras_resnet.devices import agreement, distribute, meeting, workers
from keras_resnet.devices.cluster import Workers, find_workers
from keras_resnet.devices.find import Devices, find_devices
from keras_resnet.devices.links import Links
from keras_resnet.runs.request import TrainRequest
from keras_resnet.training import callbacks, checkpoint
from keras_resnet.training.checkpoint_files import checkpoints
from keras_resnet.training.history import read_history
from keras_resnet.training.saving import ASKED_EVERY, Checkpoint
from tests.conftest import REPOSITORY
from tests.helpers.environments import SLURM, TF_CONFIG, TWO_A_NODE
from tests.helpers.worker_processes import free_ports, processes, wait

NOTICED = 90  # Seconds; docs/distributed.md says so.


def exhaustive(*values):
    return pytest.param(*values, marks=pytest.mark.exhaustive)


def meet_at_once(monkeypatch):
    """Has this process meet others that say the same."""
    monkeypatch.setattr(agreement, "_links", None)
    monkeypatch.setattr(meeting, "meet", lambda *_: Links(1, {}))
    monkeypatch.setattr(Links, "exchange", lambda self, value: [value])


@pytest.mark.parametrize(
    ("backend", "others", "message"),
    [
        ("torch", Workers(("a:1", "b:2"), 2, 0), "one process trains alone"),
        ("tensorflow", Workers(("a:1",), 2, 0), "addresses of all workers"),
    ],
)
def test_backends_that_cannot_join_say_so(monkeypatch, backend, others, message):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    with pytest.raises(ValueError, match=message):
        workers.join(others)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_joining_says_whom_it_waits_for(monkeypatch, capsys, backend):
    pytest.importorskip(backend)
    made = []
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr(workers, "mirrored", lambda *args: made.append(args))
    meet_at_once(monkeypatch)
    if backend == "jax":
        monkeypatch.setattr(
            "jax.distributed.initialize", lambda *args, **_: made.append(args)
        )
    for name, value in {**SLURM, **TWO_A_NODE}.items():
        monkeypatch.setenv(name, value)
    workers.join(find_workers())
    addresses = ("a:12056", "a:12057", "b:12056", "b:12057")
    expected = {"tensorflow": (addresses, 3), "jax": ("a:12056", 4, 3)}
    assert made == [expected[backend]]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    said = capsys.readouterr().err
    assert (
        "the other workers, 0 at a:12056, 1 at a:12057, 2 at b:12056 (this is" in said
    )


def lone_worker(index=0):
    """One of two workers, on free ports of this machine."""
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports())
    return Workers(addresses, 2, index)


@pytest.mark.parametrize("index", [0, 1])
def test_who_waits_too_long_is_told_so(monkeypatch, capsys, index):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    with pytest.raises(workers.WorkerLost, match=r"within 0.3s.* at 127.*--wait"):
        workers.join(lone_worker(index), "0.3s")
    assert "for 0.3s at the most" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_wait_at_once(monkeypatch, backend, number):
    def leave(number, frame):
        raise SystemExit(128 + number)

    # A shell's background processes, such as a whole run of tests, ignore SIGINT.
    handlers = {signal.SIGTERM: leave, signal.SIGINT: signal.default_int_handler}
    before = {n: signal.signal(n, handler) for n, handler in handlers.items()}
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr(workers, "_meet_on_jax", lambda *_: time.sleep(2))
    if backend == "jax":  # Whose own wait comes after the meeting.
        meet_at_once(monkeypatch)
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    begin = time.monotonic()
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            workers.join(lone_worker())
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
    assert time.monotonic() - begin < 1.9


def test_errors_of_the_framework_that_joins_are_raised(monkeypatch):
    def framework(*_):
        raise RuntimeError("no such host")

    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    meet_at_once(monkeypatch)
    monkeypatch.setattr(workers, "_meet_on_jax", framework)
    with pytest.raises(RuntimeError, match="no such host"):
        workers.join(lone_worker())


def test_workers_meet_however_they_come():
    addresses = tuple(f"127.0.0.1:{port}" for port in (*free_ports(), 1))
    three = [Workers(addresses, 3, index) for index in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        met = [pool.submit(meeting.meet, three[0], 30)]
        assert not meeting.meet(three[2], 0.5)  # It ends before the others are there.
        met.append(pool.submit(meeting.meet, three[1], 30))
        time.sleep(0.7)
        assert not any(one.done() for one in met)
        # What is no worker of ours may call, too.
        with contextlib.suppress(OSError):
            port = int(addresses[0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        met.append(pool.submit(meeting.meet, three[2], 30))
        links = [one.result() for one in met]
    # The framework takes the port at once.
    socket.create_server(("127.0.0.1", port)).close()
    for one in links:
        one.close()


def test_a_chiefs_port_that_is_taken_is_said():
    chief = lone_worker()
    port = int(chief.addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(OSError, match=f"can't listen at port {port}"),
    ):
        meeting.meet(chief, 5)


@pytest.mark.parametrize("wait", ["soon", "10", "0s", "-1m", 600])
def test_a_wait_is_a_length_of_time(wait):
    with pytest.raises(
        ValueError, match="must be a positive length of time such as 90s"
    ):
        TrainRequest(wait=wait)


@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize(
    "number", [exhaustive(signal.SIGINT), exhaustive(signal.SIGTERM), None]
)
def test_a_wait_for_nobody_ends(tmp_path, backend, number):
    pytest.importorskip(backend)
    log = tmp_path / "log.txt"
    own, other = free_ports()
    lone = {"KERAS_RESNET_WORKERS": f"127.0.0.1:{own},127.0.0.1:{other}"}
    command = [sys.executable, "-m", "keras_resnet", "train", "--backend", backend]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--wait", "1h" if number else "3s"],
            env=os.environ
            | lone
            | {"KERAS_RESNET_WORKER": "0", "PYTHONPATH": str(REPOSITORY)},
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            # Shells have what they start in the background ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        while "Waiting for" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        time.sleep(3)  # Until the framework waits.
        if number:
            process.send_signal(number)
        assert process.wait(60) == (128 + number if number else 1)
    finally:
        process.kill()
    said = "goes on from here" if number else "must meet within 3s"
    assert said in log.read_text()


JAX_IN_SLURM = """
from jax._src.xla_bridge import CUDA_VISIBLE_DEVICES
from keras_resnet.devices import find
print(find.find_devices("cpu").workers, CUDA_VISIBLE_DEVICES.value)
"""
TERMINATED = """
import os, signal, time
from keras_resnet.devices import find
find.find_devices("all")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(5)
print("still here")
"""


@pytest.mark.multiprocess
def test_jax_in_slurm_leaves_a_process_all_its_gpus(tmp_path):
    pytest.importorskip("jax")
    names = ("SLURM_LOCALID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_NODELIST")
    more = {name: SLURM[name] for name in names}
    pair = processes("jax", tmp_path / "two", ["-c", JAX_IN_SLURM], more=more)
    wait(pair, tmp_path / "two")
    for worker in (0, 1):
        log = (tmp_path / f"two.{worker}.log").read_text()
        assert "\n2 all\n" in log


def test_devices_are_all_of_a_workers_own(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(TF_CONFIG))
    for asked in ("cpu:2", "gpu:0"):
        with pytest.raises(ValueError, match="leave out `devices`.*2 workers"):
            find_devices(asked)


def test_an_engines_error_names_the_loss():
    import tensorflow as tf

    def fail():
        raise tf.errors.UnavailableError(None, None, "Detected\n\nConnection reset")

    with pytest.raises(workers.WorkerLost, match="2 workers was lost.*Connection rese"):
        with workers.losses_named(2):
            fail()
    with pytest.raises(tf.errors.UnavailableError), workers.losses_named(1):
        fail()


@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["tensorflow", exhaustive("jax")])
def test_engines_do_not_swallow_sigterm(tmp_path, backend):
    pytest.importorskip(backend)
    pair = processes(backend, tmp_path / "two", ["-c", TERMINATED])
    codes = [process.wait(NOTICED) for process in pair]
    assert codes == [-signal.SIGTERM] * 2


@pytest.mark.parametrize("worker", [0, 1])
def test_a_signal_to_another_worker_is_met_at_the_same_update(
    tmp_path, monkeypatch, worker
):
    steps = callbacks.Steps(100)
    two = Devices("cpu", ("cpu:0",), workers=2, worker=worker)
    saving = Checkpoint(tmp_path, {}, steps, lambda step: False, devices=two)
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda *args: saved.append(args[-1]))
    monkeypatch.setattr(distribute, "everyones", lambda own, _: [own, signal.SIGTERM])
    saving.on_train_begin()
    try:
        with pytest.raises(SystemExit) as left:
            for steps.done in range(13, 100):
                saving.on_train_batch_end(steps.done)
    finally:
        saving.release()
    assert steps.done == 2 * ASKED_EVERY
    assert left.value.code == 128 + signal.SIGTERM
    assert saved == ([steps.done] if worker == 0 else [])


@pytest.mark.parametrize("worker", [0, 1])
def test_a_signal_to_another_worker_ends_a_validation_at_the_same_batch(
    tmp_path, monkeypatch, worker
):
    two = Devices("cpu", ("cpu:0",), workers=2, worker=worker)
    saving = Checkpoint(tmp_path, {}, callbacks.Steps(9), lambda step: True, (), two)
    asked = []

    def everyones(own, _):
        asked.append(own)
        return [own, signal.SIGTERM if len(asked) == 2 else 0]

    monkeypatch.setattr(distribute, "everyones", everyones)
    with pytest.raises(SystemExit) as left:
        for batch in range(100):
            saving.on_test_batch_end(batch)
    assert batch + 1 == 2 * ASKED_EVERY
    assert left.value.code == 128 + signal.SIGTERM


def test_a_worker_is_not_ended_before_the_others_are_told(tmp_path):
    two = Devices("cpu", ("cpu:0",), workers=2)
    saving = Checkpoint(tmp_path, {}, callbacks.Steps(9), lambda step: True, (), two)
    saving.on_train_begin()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert saving.received == signal.SIGTERM
        assert saving.unsaved()
    finally:
        saving.release()


def start(backend, folder, kind, *, count=2, seconds=0.0, devices=1):
    """Starts the workers of `two_workers.py`."""
    options = [str(folder), kind, str(seconds), str(devices)]
    return processes(
        backend, folder, ["-m", "tests.helpers.two_workers", *options], count
    )


def weights(file):
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def difference(a, b, of_a="weights.npz"):
    pairs = zip(weights(a / of_a), weights(b / "weights.npz"), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in pairs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A function that trains one worker alone, once of a kind, and gives its folder."""

    @functools.cache
    def train(backend, kind):
        folder = tmp_path_factory.mktemp("alone") / "one"
        wait(start(backend, folder, kind, count=1), folder)
        return folder

    return train


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("backend", "kind", "devices", "tolerance"),
    [
        ("tensorflow", "normed", 2, 1e-3),
        exhaustive("jax", "normed", 1, 1e-3),
        exhaustive("tensorflow", "plain", 1, 1e-5),
        exhaustive("tensorflow", "normed", 1, 1e-3),
        exhaustive("jax", "plain", 1, 1e-5),
        exhaustive("jax", "normed", 2, 1e-3),
    ],
)
def test_two_workers_train_like_one(tmp_path, alone, backend, kind, devices, tolerance):
    pytest.importorskip(backend)
    two = tmp_path / "two"
    wait(start(backend, two, kind, devices=devices), two)
    one = alone(backend, kind)
    assert difference(one, two) < tolerance < 0.05
    assert difference(one, one, "initial.npz") > 0.05
    rows = [read_history(folder / "history.csv") for folder in (one, two)]
    for a, b in zip(*rows, strict=True):
        assert a["step"] == b["step"]
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-3)


@pytest.mark.exhaustive
@pytest.mark.multiprocess
def test_averages_hold_the_statistics_of_all_workers(tmp_path):
    folder = tmp_path / "two"
    wait(start("tensorflow", folder, "averaged", devices=2), folder)
    pairs = zip(*(weights(folder / f"of_worker_{i}.npz") for i in (0, 1)), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-6)


def wait_until(seen, what, processes):
    """Until processes that train have come somewhere."""
    deadline = time.monotonic() + 300
    while not seen():
        assert time.monotonic() < deadline, f"There was no {what}."
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("backend", "victim"),
    # 0 is the chief, which is JAX's coordinator as well.
    [("tensorflow", 1)]
    + [exhaustive(*way) for way in [("tensorflow", 0), ("jax", 0), ("jax", 1)]],
)
def test_a_lost_worker_is_noticed_and_both_go_on(tmp_path, alone, backend, victim):
    pytest.importorskip(backend)
    two = tmp_path / "two"
    pair = start(backend, two, "plain", seconds=0.5)
    try:
        saved = two / "checkpoints"
        wait_until(lambda: any(saved.glob("step_*")), "checkpoint", pair)
        pair[victim].kill()
        killed = time.monotonic()
        code = pair[1 - victim].wait(NOTICED)
        print(f"noticed after {time.monotonic() - killed:.1f} s, exit code {code}")
    finally:
        for process in pair:
            process.kill()
    assert code != 0
    log = (tmp_path / f"two.{1 - victim}.log").read_text()
    # JAX ends the process itself when its coordinator, the chief, is gone.
    own = "Start all of them again with the same command"
    assert own in log or (backend == "jax" and victim == 0 and "distributed" in log)
    assert not (two / "weights.npz").exists()

    wait(start(backend, two, "plain"), two)
    assert difference(alone(backend, "plain"), two) < 1e-5
    assert [row["step"] for row in read_history(two / "history.csv")] == [3, 6, 9]


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_signal_to_one_worker_saves_and_ends_both(tmp_path, alone, backend):
    pytest.importorskip(backend)
    two = tmp_path / "two"
    # Between validations: the 2nd worker asks the chief to save after update 5.
    pair = start(backend, two, "plain", seconds=0.5)
    try:
        log = tmp_path / "two.1.log"
        wait_until(
            lambda: log.read_text().count("update is done") >= 4, "update 4", pair
        )
        pair[1].send_signal(signal.SIGUSR1)
        codes = [process.wait(NOTICED) for process in pair]
    finally:
        for process in pair:
            process.kill()
    assert codes == [128 + signal.SIGUSR1] * 2
    assert "was lost" not in "".join(
        (tmp_path / f"two.{worker}.log").read_text() for worker in (0, 1)
    )
    # 5 where nothing else is slow; 3, 6 and 9 are saved in any case.
    last = checkpoints(two / "checkpoints")[-1].name
    assert "step_00000003" < last < "step_00000009"
    wait(start(backend, two, "plain"), two)
    assert difference(alone(backend, "plain"), two) < 1e-5


# The chief's lock comes late: another worker has looked at the folder before.
WHOLE_RUN = """
import sys, time
from keras_resnet.__main__ import main
from tests.helpers.smoke import smoke
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import sources
from keras_resnet.runs import folder
from tests.helpers.small_splits import small_splits

lock = folder.lock_folder
folder.lock_folder = lambda place: (time.sleep(2), lock(place))[1]
splits = small_splits()
sources.load = lambda name, data_dir=None: splits
RECIPES["quickstart"] = smoke(RECIPES["quickstart"])
sys.exit(main(["train", "--output-dir", sys.argv[1]]))
"""


@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["tensorflow", exhaustive("jax")])
def test_the_command_leaves_one_run(tmp_path, backend):
    pytest.importorskip(backend)
    out = tmp_path / "runs"
    wait(processes(backend, out, ["-c", WHOLE_RUN, str(out)]), out, timeout=600)
    record = json.loads((out / "quickstart_seed0" / "record.json").read_text())
    assert record["devices"] == ["worker 0 cpu:0", "worker 1 cpu:0"]
    assert record["test"]["n"] == 40
    chief, other = ((tmp_path / f"runs.{i}.log").read_text() for i in (0, 1))
    assert "top-1" in chief and "top-1" not in other
