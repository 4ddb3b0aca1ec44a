"""The ledger: ended at any moment it goes on, and its runs end as undisturbed ones."""

import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import keras_resnet
from benchmarks import fashion_mnist, ledger
from benchmarks.ledger_rows import IDX, ROWS, Row
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data.bundled.make_fashion_mini import read_idx
from keras_resnet.training.history import read_history
from tests.conftest import REPOSITORY
from tests.helpers import short_ledger

PATIENCE = 300  # Seconds; a machine with other work on it is slow.


def start(folder, *options):
    """A ledger of two short runs that works in a folder."""
    folder.mkdir(exist_ok=True)
    log = (folder / "log.txt").open("a")
    words = [str(folder / "results"), "--dir", str(folder / "work")]
    words += ["--data-dir", str(folder), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.short_ledger", *words],
        cwd=REPOSITORY,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def run_folder(folder, name="first"):
    return folder / "work" / "runs" / name / "out" / f"short_seed{ledger_seed(name)}"


def ledger_seed(name):
    return short_ledger.NAMES.index(name)


def wait_until(condition, process, folder):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, said(folder)
        assert process.poll() is None, said(folder)
        time.sleep(0.01)


def has_checkpoint(folder, name="first"):
    return any(run_folder(folder, name).glob("checkpoints/step_*"))


def is_free(folder):
    try:
        ledger.locked(folder / "work").close()
    except RuntimeError:
        return False
    return True


def said(folder):
    logs = [folder / "log.txt", *folder.glob("work/runs/*/log.txt")]
    return "\n".join(f"{log}:\n{log.read_text()[-3_000:]}" for log in logs)


def assert_equal(folder, other):
    for name in short_ledger.NAMES:
        one, two = (keras_resnet.load(run_folder(f, name)) for f in (folder, other))
        for a, b in zip(one.model.get_weights(), two.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        rows = [read_history(f / "results" / f"{name}.csv") for f in (folder, other)]
        for row in (*rows[0], *rows[1]):
            del row["images_per_second"]
        assert rows[0] == rows[1]
        assert [row["step"] for row in rows[0]] == [10, 20, 30, 40]


def disturbed(folder, number):
    """Ends the ledger by a signal in its first run, and lets it go on to its end."""
    process = start(folder)
    wait_until(lambda: has_checkpoint(folder), process, folder)
    # A second one would write into the same runs.
    assert start(folder).wait(PATIENCE) == 2
    assert "One ledger at a time" in said(folder)
    process.send_signal(number)
    status = process.wait(PATIENCE)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + PATIENCE
    while not is_free(folder):  # The run saves, also where the ledger was killed.
        assert time.monotonic() < deadline, said(folder)
        time.sleep(0.1)
    assert start(folder).wait(PATIENCE) == 0, said(folder)


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_ended_ledger_goes_on_to_the_same_bits(tmp_path, number):
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    undisturbed = start(whole)  # Beside the other, on another core.
    disturbed(ended, number)
    assert undisturbed.wait(PATIENCE) == 0, said(whole)
    assert_equal(whole, ended)
    record = json.loads((ended / "results" / "first.json").read_text())
    assert len(record["stretches"]) == 2
    assert record["test_error"] == record["record"]["test"]["top1_error"]
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=REPOSITORY)
    if ledger.newest_commit() == head.decode().strip():
        commits = {stretch["commit"] for stretch in record["stretches"]}
        assert commits == {record["record"]["commit"]} == {ledger.newest_commit()}
    log = (ended / "work" / "runs" / "first" / "log.txt").read_text()
    assert "Going on from update" in log


@pytest.mark.exhaustive
@pytest.mark.multiprocess
def test_a_full_disk_ends_the_ledger_until_there_is_room(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        whole, full = tmp_path / "whole", tmp_path / "full"
        (full / "work" / "runs").mkdir(parents=True)
        (full / "work" / "runs" / "first").symlink_to(small)
        assert start(full).wait(PATIENCE) == 2
        assert "for want of space" in said(full)
        assert not list((full / "results").glob("*"))
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        assert start(full).wait(PATIENCE) == 0, said(full)
        assert start(whole).wait(PATIENCE) == 0, said(whole)
        assert_equal(whole, full)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


# --- Without training ---------------------------------------------------------------


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A ledger whose runs are small programs, and no clone."""
    book = ledger.Ledger(tmp_path / "work", tmp_path, tmp_path / "results")
    book.clone = tmp_path
    book.lock = ledger.locked(book.folder)
    monkeypatch.setattr(book, "check_out", lambda commit: None)
    described = {"commit": "0" * 40, "versions": {"keras": "3.15.1"}, "hardware": {}}
    monkeypatch.setattr(book, "describe", lambda: dict(described))
    yield book
    book.lock.close()


def program(folder, name, code):
    (folder / f"{name}.py").write_text(code)
    return Row(name=name, command=(name, "{out}"), compared_with="")


SUCCEEDS = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[1], "run")
out.mkdir(parents=True)
(out / "history.csv").write_text("step")
(out / "record.json").write_text(json.dumps({"test": {"top1_error": 8.75}}))
"""


def test_a_run_that_fails_is_set_aside_and_the_next_begins(book, tmp_path):
    bad = program(tmp_path, "bad_run", "raise SystemExit('no such data set')")
    good = program(tmp_path, "good_run", SUCCEEDS)
    book.work([bad, good], update=False)
    assert "no such data set" in book.state(bad)
    assert book.state(good) == "finished: test error 8.75 %"
    (tmp_path / "bad_run.py").write_text(SUCCEEDS)
    book.work([bad, good], update=False)
    assert book.finished(bad) is None  # Not by itself.


def test_a_run_that_leaves_no_record_is_set_aside(book, tmp_path):
    book.work([row := program(tmp_path, "silent_run", "")], update=False)
    assert "without a record" in book.state(row)


@pytest.mark.parametrize("end", ["raise SystemExit(143)", "os.kill(os.getpid(), 9)"])
def test_a_run_that_was_ended_from_outside_is_not_set_aside(book, tmp_path, end):
    row = program(tmp_path, "ended_run", f"import os; {end}")
    with pytest.raises(RuntimeError, match="ended from outside"):
        book.work([row], update=False)
    assert book.state(row) == "begun"


HALF = """
import pathlib, sys
out = pathlib.Path(sys.argv[1], "run")
out.mkdir(parents=True)
(out / "history.csv").write_text("step")
print("update 1,200/64,000  epoch 3.4  loss 0.9  412 images/s  2:03:04 left")
raise SystemExit(143)
"""


def test_an_unfinished_run_leaves_what_there_is_until_it_finishes(book, tmp_path):
    row = program(tmp_path, "half_run", HALF)
    with pytest.raises(RuntimeError, match="ended from outside"):
        book.work([row], update=False)
    folder = tmp_path / "results" / "unfinished"
    assert (folder / "half_run.csv").read_text() == "step"
    kept = json.loads((folder / "half_run.json").read_text())
    assert (kept["updates"], kept["of"]) == (1_200, 64_000)
    assert len(kept["stretches"]) == 1
    assert book.finished(row) is None
    program(tmp_path, "half_run", SUCCEEDS.replace("parents=True", "exist_ok=True"))
    book.work([row], update=False)
    assert book.state(row) == "finished: test error 8.75 %"
    assert not list(folder.iterdir())


def test_a_killed_stretch_lasted_until_its_last_line(book, tmp_path):
    row = program(tmp_path, "killed_run", SUCCEEDS)
    book.run_folder(row).mkdir(parents=True)
    log = book.run_folder(row) / "log.txt"
    log.write_text("")
    began = datetime.datetime.fromtimestamp(log.stat().st_mtime - 90)
    began = began.isoformat(" ", "seconds")
    killed = book.describe() | {"began": began, "seconds": None}
    ledger.write_json(book.run_folder(row) / "stretches.json", [killed])
    book.work([row], update=False)
    assert book.finished(row)["stretches"][0]["seconds"] == pytest.approx(90, abs=1)


def test_what_has_begun_comes_first(book, tmp_path):
    rows = [program(tmp_path, name, SUCCEEDS) for name in ("one", "two")]
    book.run_folder(rows[1]).mkdir(parents=True)
    begun = book.describe() | {"began": "", "seconds": 1.0}
    ledger.write_json(book.run_folder(rows[1]) / "stretches.json", [begun])
    order = []
    book.compute = lambda row, update: order.append(row.name)
    book.work(rows, update=False)
    assert order == ["two", "one"]


def test_other_versions_are_refused_but_with_update(book, tmp_path):
    row = program(tmp_path, "run", SUCCEEDS)
    book.run_folder(row).mkdir(parents=True)
    begun = book.describe() | {"began": "", "seconds": 1.0}
    begun["versions"] = {"keras": "3.14.0"}
    ledger.write_json(book.run_folder(row) / "stretches.json", [begun])
    with pytest.raises(ValueError, match="3.14.0.*3.15.1.*--update"):
        book.work([row], update=False)
    book.work([row], update=True)
    versions = [s["versions"]["keras"] for s in book.finished(row)["stretches"]]
    assert versions == ["3.14.0", "3.15.1"]


@pytest.mark.parametrize(
    "damaged", ["results/run.json", "work/runs/run/stretches.json"]
)
@pytest.mark.parametrize("contents", ['{"cut', "{}", "null"])
def test_a_damaged_file_is_named_and_left(book, tmp_path, capsys, damaged, contents):
    row = program(tmp_path, "run", SUCCEEDS)
    path = tmp_path / damaged
    path.parent.mkdir(parents=True)
    path.write_text(contents)
    book.work([row], update=False)
    assert damaged in capsys.readouterr().err
    assert book.state(row).startswith("damaged")
    assert path.read_text() == contents


def test_list_tells_the_last_progress(book, tmp_path):
    row = program(tmp_path, "run", SUCCEEDS)
    assert book.state(row) == "waiting"
    book.run_folder(row).mkdir(parents=True)
    ledger.write_json(book.run_folder(row) / "stretches.json", [{}])
    (book.run_folder(row) / "log.txt").write_text(
        "update 1,200/64,000  epoch 3.4  loss 0.9  412 images/s  1 day, 2:03:04 left\n"
    )
    assert "update 1,200 of 64,000, 1 day, 2:03:04 left" in book.state(row)


def test_the_list_names_recipes_and_no_run_twice():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    recipes = [
        row.command[2]
        for row in ROWS
        if row.command[:2] == ("keras_resnet", "train") and row.command[2][:2] != "--"
    ]
    assert len(recipes) == 16
    assert set(recipes) <= set(RECIPES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "resnet21"], "resnet21"),
        (["--data-dir", "no/such/folder"], "no/such/folder"),
    ],
)
def test_bad_options_are_refused(tmp_path, capsys, options, said):
    with pytest.raises(SystemExit):
        ledger.main([*options, "--dir", str(tmp_path)])
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_fashion_mnist_is_written_without_loss(tmp_path):
    if not pathlib.Path(IDX).is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    fashion_mnist.write(IDX, tmp_path / "images")
    images = read_idx(pathlib.Path(IDX) / "t10k-images-idx3-ubyte.gz")
    files = sorted((tmp_path / "images" / "test").glob("*/*.png"))
    assert len(files) == 10_000
    image = np.asarray(Image.open(files[0]))
    np.testing.assert_array_equal(image, images[int(files[0].stem)])
