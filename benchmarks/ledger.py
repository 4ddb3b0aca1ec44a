"""Works through a list of full-length runs in idle processor time, and loses nothing.

    python -m benchmarks.ledger [--dir DIR] [--data-dir DIR] [--list] [--only NAME ...]

One run after another, at the lowest priority. SIGTERM or Ctrl-C saves and ends; the same
command goes on, with the unfinished run first. Each finished run leaves its record and
history in results/ledger/, and one that was stopped says in results/ledger/unfinished/
how far it came; docs/ledger.md is generated from both.

Runs compute in a clone of this repository that lies in DIR, with the interpreter that
started the ledger, so that the checkout may change meanwhile. Between runs the clone goes
to the newest commit of `main`. A run keeps the commit and the versions of Keras,
TensorFlow, NumPy and PyTorch that it began with, unless --update says otherwise; its
record names the commit, versions, hardware and seconds of each stretch.

The list is in ledger_rows.py. A run that fails is set aside with its error, and the next
one begins; --only NAME tries it again. On a full disk the ledger ends, and goes on when
there is room.
"""

import argparse
import contextlib
import ctypes
import datetime
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from benchmarks.ledger_rows import ROWS
from keras_resnet.runs import environment

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "ledger"
PACKAGES = ("keras", "tensorflow", "numpy", "torch")  # Whose versions decide a result.
SECONDS_TO_SAVE = 30
# Of a run that somebody else ended: by a signal to it, or for want of memory. Both
# trainers end with 143 when they have saved after SIGTERM.
ENDED = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL, 130, 143)
PROGRESS = re.compile(r"update ([\d,]+)/([\d,]+).*?([\d:]+(?: days?, [\d:]+)?) left")
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux.


class Stopped(Exception):
    """A signal asked the ledger to end."""


class Ledger:
    """The folder in which the ledger works, and what is known of each run.

    Args:
        folder: For clone, runs and lock.
        data: Folder of TensorFlow Datasets.
        results: For records and histories of runs, those of unfinished ones in a folder
            of their own.
    """

    def __init__(self, folder, data, results):
        self.folder = folder
        self.data = data
        self.results = results
        self.clone = folder / "clone" / "keras_resnet"
        self.signal = None

    # --- What is known of a run -----------------------------------------------------

    def run_folder(self, row):
        """Where a run's log, stretches and output lie."""
        return self.folder / "runs" / row.name

    def stretches(self, row):
        """What the run was computed on so far, from one start to the next end."""
        path = self.run_folder(row) / "stretches.json"
        if not path.exists():
            return []
        stretches = read_json(path)
        if not isinstance(stretches, list):
            raise ValueError(f"{path} must be a list of stretches. Restore it.")
        return stretches

    def finished(self, row):
        """The row's record, `None` if it isn't finished."""
        path = self.results / f"{row.name}.json"
        if not path.exists():
            return None
        record = read_json(path)
        if not isinstance(record, dict) or "test_error" not in record:
            raise ValueError(f"{path} must be a record of the ledger. Restore it.")
        return record

    def set_aside(self, row):
        """The last lines of the error for which a run was set aside, or `None`."""
        path = self.run_folder(row) / "set_aside.txt"
        return path.read_text() if path.exists() else None

    def state(self, row):
        """A line on the row, or several."""
        try:
            record = self.finished(row)
            if record is not None:
                return f"finished: test error {record['test_error']:.2f} %"
            error = self.set_aside(row)
            if error is not None:
                return "set aside:\n    " + error.strip().replace("\n", "\n    ")
            if not self.stretches(row):
                return "waiting"
        except ValueError as error:
            return f"damaged: {error}"
        found = self.progress(row)
        if found is None:
            return "begun"
        return "update {} of {}, {} left when it was last computed".format(*found)

    def progress(self, row):
        """Updates done, of how many, and the time left, as the log last said, or `None`."""
        log = self.run_folder(row) / "log.txt"
        lines = PROGRESS.findall(
            log.read_text(errors="replace") if log.exists() else ""
        )
        return lines[-1] if lines else None

    # --- Running ----------------------------------------------------------------------

    def receive(self, number, frame):
        """Notes a signal; a run that computes is told within a second."""
        self.signal = self.signal or number

    def work(self, chosen, update):
        """Computes all rows that are not finished, the one that has begun first.

        Raises:
            Stopped: If a signal came.
            ValueError: If a run would go on otherwise than it began.
            OSError: If the disk is full.
        """
        begun, waiting = [], []
        for row in chosen:
            try:
                stretches = self.stretches(row)
                if self.finished(row) is None and self.set_aside(row) is None:
                    (begun if stretches else waiting).append(row)
            except ValueError as error:
                print(f"{row.name} is passed over: {error}", file=sys.stderr)
        for row in begun + waiting:
            self.compute(row, update)

    def compute(self, row, update):
        """Computes a row to its end, or sets it aside."""
        folder = self.run_folder(row)
        earlier = with_seconds(self.stretches(row), folder / "log.txt")
        kept = earlier and not update
        self.check_out(earlier[-1]["commit"] if kept else newest_commit())
        stretch = self.describe() | {"began": now()}
        if kept:
            check_versions(row, earlier[-1], stretch)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        write_json(folder / "stretches.json", [*earlier, stretch | {"seconds": None}])
        print(f"{now()} {row.name}: begins at {stretch['commit'][:7]}", flush=True)
        try:
            code = self.prepare(row) or self.execute(row, row.command)
        finally:
            stretch["seconds"] = round(time.monotonic() - started, 1)
            write_json(folder / "stretches.json", [*earlier, stretch])
        if code in ENDED:
            self.keep_unfinished(row)
        if self.signal:
            raise Stopped
        if code in ENDED:
            raise RuntimeError(
                f"{row.name} was ended from outside, with exit code {code}. Start the "
                "same command: it goes on."
            )
        if code:
            self.put_aside(row, f"exit code {code}")
        else:
            self.keep(row)
        print(f"{now()} {row.name}: {self.state(row)}", flush=True)

    def words(self, row, command):
        """A command with its folders put in."""
        folder = self.run_folder(row)
        places = {
            "data": self.data,
            "out": folder / "out",
            "prepared": self.folder / "prepared" / row.name.rpartition("_seed")[0],
        }
        return [word.format(**places) for word in command]

    def prepare(self, row):
        """Makes what the run reads, once; gives the exit code."""
        if row.prepare is None:
            return 0
        *_, made = self.words(row, row.prepare)
        return 0 if os.path.exists(made) else self.execute(row, row.prepare)

    def execute(self, row, command):
        """Runs a command in the clone to its end, or until a signal; gives its code."""
        if self.signal:
            raise Stopped
        with (self.run_folder(row) / "log.txt").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *self.words(row, command)],
                cwd=self.clone,
                env={
                    **os.environ,
                    "PYTHONPATH": str(self.clone),
                    "PYTHONUNBUFFERED": "1",
                    # A run keeps what it began with, whatever the shell says.
                    "KERAS_BACKEND": "tensorflow",
                    "TF_ENABLE_ONEDNN_OPTS": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches it through this process alone.
                # The ledger stays locked while the run computes, if only the run is left.
                pass_fds=[self.lock.fileno()],
                preexec_fn=end_with_parent,
            )
            told = None
            while process.poll() is None:
                time.sleep(0.2)
                if self.signal and told is None:
                    told = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                elif told and time.monotonic() - told > SECONDS_TO_SAVE:
                    os.killpg(process.pid, signal.SIGKILL)
            return process.returncode

    def put_aside(self, row, reason):
        """Sets a run aside with a reason and the end of its log.

        Raises:
            OSError: If the disk is full: then nothing is wrong with the run.
        """
        folder = self.run_folder(row)
        lines = (folder / "log.txt").read_text(errors="replace").splitlines()[-8:]
        if any("No space left on device" in line for line in lines):
            raise OSError(
                f"{row.name} ended for want of space. Free some under {self.folder} and "
                "start the same command: it goes on."
            )
        text = "\n".join([reason, *lines]) + "\n"
        (folder / "set_aside.txt").write_text(text)

    def keep(self, row):
        """Puts record and history of a finished run into the results."""
        found = list((self.run_folder(row) / "out").glob(row.record))
        try:
            [path] = found
            record = read_json(path)
        except ValueError as error:
            reason = f"It ended without a record at out/{row.record}: {error}"
            return self.put_aside(row, reason)
        error = record.get("test_error")  # As akamaster's trainer says it.
        kept = {
            **self.what_it_is(row),
            "test_error": record["test"]["top1_error"] if error is None else error,
            "record": record,
        }
        self.results.mkdir(parents=True, exist_ok=True)
        history = path.with_name("history.csv")
        if not history.exists():
            history = path.with_suffix(".csv")
        shutil.copy(history, self.results / f"{row.name}.csv")
        write_json(self.results / f"{row.name}.json", kept)
        for suffix in ("csv", "json"):
            path = self.results / "unfinished" / f"{row.name}.{suffix}"
            path.unlink(missing_ok=True)

    def keep_unfinished(self, row):
        """Puts how far an ended run came into the results, with its history if any."""
        found = self.progress(row)
        if found is None:
            return
        done, whole = (int(number.replace(",", "")) for number in found[:2])
        folder = self.results / "unfinished"
        folder.mkdir(parents=True, exist_ok=True)
        for history in (self.run_folder(row) / "out").glob("*/history.csv"):
            shutil.copy(history, folder / f"{row.name}.csv")
        kept = {**self.what_it_is(row), "updates": done, "of": whole}
        write_json(folder / f"{row.name}.json", kept)

    def what_it_is(self, row):
        """What the results say of a run, finished or not."""
        return {
            "name": row.name,
            "command": list(row.command),
            "compared_with": row.compared_with,
            "date": now()[:10],
            "stretches": self.stretches(row),
        }

    # --- The clone --------------------------------------------------------------------

    def check_out(self, commit):
        """Brings the clone to a commit of this repository."""
        if not self.clone.exists():
            part = self.clone.with_name("cloning")
            shutil.rmtree(part, ignore_errors=True)
            part.parent.mkdir(parents=True, exist_ok=True)
            git("clone", "-q", "--no-checkout", str(REPOSITORY), str(part))
            part.rename(self.clone)
        here = "-C", str(self.clone)
        try:
            git(*here, "cat-file", "-e", f"{commit}^{{commit}}")
        except subprocess.CalledProcessError:
            git(*here, "fetch", "-q", str(REPOSITORY), commit)
        git(*here, "checkout", "-q", "--force", "--detach", commit)

    def describe(self):
        """What a stretch is computed on."""
        return {
            "commit": git("-C", str(self.clone), "rev-parse", "HEAD"),
            "versions": environment.versions(),
            "hardware": environment.describe()["hardware"],
        }


def with_seconds(stretches, log):
    """The stretches, where the last one's seconds are as the log has them if killed."""
    if not stretches or stretches[-1]["seconds"] is not None or not log.exists():
        return stretches
    began = datetime.datetime.fromisoformat(stretches[-1]["began"]).timestamp()
    seconds = round(max(0.0, log.stat().st_mtime - began), 1)
    return [*stretches[:-1], stretches[-1] | {"seconds": seconds}]


def check_versions(row, earlier, stretch):
    """Raises `ValueError` if a run would go on under other versions."""
    before, here = (
        {name: of["versions"].get(name) for name in PACKAGES}
        for of in (earlier, stretch)
    )
    if before != here:
        raise ValueError(
            f"{row.name} must go on under the versions that it began with, {before}. "
            f"Received: {here}. Install those, or let it go on with these by --update."
        )


def end_with_parent():
    """Lets the kernel send a run SIGTERM if the ledger is killed (on Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)


def git(*arguments):
    """What git prints."""
    done = subprocess.run(
        ["git", *arguments],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,  # Ctrl-C is for the ledger.
    )
    return done.stdout.strip()


def newest_commit():
    """The newest commit of `main`, or of a checkout that has no such branch."""
    try:
        return git("-C", str(REPOSITORY), "rev-parse", "-q", "--verify", "main")
    except subprocess.CalledProcessError:
        return git("-C", str(REPOSITORY), "rev-parse", "HEAD")


def now():
    """Date and time, to the second."""
    return datetime.datetime.now().isoformat(" ", "seconds")


def read_json(path):
    """What a file holds.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} must be complete JSON ({error}). Restore it, or remove it to begin "
            "the run anew."
        ) from error


def write_json(path, value):
    """Writes a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    os.replace(part, path)


def locked(folder):
    """The ledger's lock, held until it is closed.

    Raises:
        RuntimeError: If another ledger, or a run that it left, computes in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RuntimeError(
            f"One ledger at a time must compute in {folder}, and another one does. Stop "
            "it by SIGTERM, or choose another --dir."
        ) from error
    return file


def main(arguments=None, all_rows=ROWS, results=RESULTS):
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    home = pathlib.Path("~/.cache/keras_resnet/ledger").expanduser()
    parser.add_argument("--dir", type=pathlib.Path, default=home)
    data = pathlib.Path("~/tensorflow_datasets").expanduser()
    parser.add_argument("--data-dir", type=pathlib.Path, default=data)
    parser.add_argument("--list", action="store_true", help="say how far each run is")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these runs alone")
    parser.add_argument(
        "--update", action="store_true", help="go on under other commits and versions"
    )
    options = parser.parse_args(arguments)
    names = [row.name for row in all_rows]
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error(
            f"--only must name rows of: {', '.join(names)}. Received: {unknown}"
        )
    chosen = [row for row in all_rows if row.name in (options.only or names)]
    ledger = Ledger(options.dir.resolve(), options.data_dir.resolve(), results)
    if options.list:
        for row in chosen:
            print(f"{row.name}: {ledger.state(row)}")
        return 0
    if not options.data_dir.is_dir():
        parser.error(
            "--data-dir must be the folder of TensorFlow Datasets in which cifar10 and "
            f"imagenette are prepared. Received: {options.data_dir}, which isn't a folder."
        )
    os.nice(19)
    try:
        ledger.lock = locked(ledger.folder)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ledger.receive)
        for row in chosen if options.only else ():
            (ledger.run_folder(row) / "set_aside.txt").unlink(missing_ok=True)
        ledger.work(chosen, options.update)
    except Stopped:
        return 128 + ledger.signal
    except subprocess.CalledProcessError as error:
        print(f"ledger: {error}\n{error.stderr}", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError, OSError) as error:
        print(f"ledger: {error}", file=sys.stderr)
        return 2
    for row in chosen:
        print(f"{row.name}: {ledger.state(row)}")
    return int(any(ledger.set_aside(row) is not None for row in chosen))


if __name__ == "__main__":
    sys.exit(main())
