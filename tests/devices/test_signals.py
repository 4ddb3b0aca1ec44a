"""A process ends in time when it is asked to, from its beginning on."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_resnet import __main__ as entry
from keras_resnet import reproduce
from keras_resnet.devices import signals
from keras_resnet.training.callbacks import Steps
from keras_resnet.training.saving import SIGNALS, Checkpoint

ASKING = [name for name in signals.ENDING if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def usual_handlers():
    """Those of a process that was begun by hand: `nohup` and `&` have some ignored."""
    numbers = [getattr(signal, name) for name in ASKING]
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ASKING)
def test_signals_that_would_end_the_process_are_heard(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as left, signals.heard():
            os.kill(os.getpid(), number)
            time.sleep(20)
        assert left.value.code == 128 + number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_an_error_that_a_library_makes_of_it_is_an_end(capsys, monkeypatch):
    def convert(**options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
        except BaseException as error:  # As converters of graphs do.
            raise ValueError("The conversion failed.") from error

    monkeypatch.setattr(reproduce, "plan", convert)
    assert entry.main(["train", "--plan"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "Ended by SIGTERM.\n"
    # Another error is told as before, whatever an earlier command has heard.
    monkeypatch.setattr(reproduce, "plan", lambda **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        entry.main(["train", "--plan"])


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_others_handlers_stay(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with signals.heard():
            assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def saving(tmp_path):
    """What `fit` saves by, where all is saved."""
    return Checkpoint(tmp_path, {}, Steps(9), lambda step: True)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
@pytest.mark.parametrize("name", SIGNALS)
def test_others_handlers_stay_while_training(saving, name, handler):
    number = getattr(signal, name)
    before = signal.signal(number, handler)
    try:
        saving.on_train_begin()
        assert signal.getsignal(number) == handler
        assert set(saving.handlers) < {getattr(signal, each) for each in SIGNALS}
        saving.release()
        assert signal.getsignal(number) == handler
    finally:
        signal.signal(number, before)


def test_a_handler_of_c_stays(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    assert signals.take(SIGNALS, signals.leave) == {}


def test_an_error_that_a_library_makes_of_the_end_of_training_is_an_end(saving):
    with pytest.raises(SystemExit) as left, signals.heard():
        saving.on_train_begin()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
        except BaseException as error:
            raise ValueError("The validation failed.") from error
        finally:
            saving.release()
    assert left.value.code == 128 + signal.SIGTERM


def test_an_error_in_saving_after_a_signal_is_told(saving):
    with pytest.raises(OSError, match="No space"), signals.heard():
        saving.on_train_begin()
        saving.steps.done += 1
        os.kill(os.getpid(), signal.SIGTERM)
        saving.release()
        raise OSError("No space left on device")


def test_other_threads_change_nothing():
    found = []

    def look():
        with signals.heard(watched=True):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "predict", "export", "convert", "serve"]
)
def test_every_command_hears_them_before_it_imports_anything(monkeypatch, command):
    heard = []

    def run(arguments):
        heard.extend(signal.getsignal(getattr(signal, name)) for name in ASKING)
        return 0

    monkeypatch.setattr("keras_resnet.cli.run.run", run)
    assert entry.main([command]) == 0
    assert heard == [signals.leave] * len(ASKING)


def test_what_the_entry_point_imports_is_little():
    code = (
        "import sys, keras_resnet.__main__; "
        "print([n for n in ('argparse', 'keras', 'numpy', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_python_hears_them_from_the_beginning_of_train(monkeypatch):
    heard = []
    monkeypatch.setattr(
        reproduce, "_train", lambda *_: heard.append(signal.getsignal(signal.SIGTERM))
    )
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        reproduce.train("quickstart")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signals.leave]


# What C++ computes hears no handler of Python's: this takes a minute.
COMPUTING = """
import hashlib, os, signal, sys, threading, time
from keras_resnet.devices import signals

signals.PATIENCE = signals.CLOSING = 0.3
unsaved = sys.argv[1] == "saving"

class Unread:
    def flush(self):
        time.sleep(30)

def save(number, frame):
    raise SystemExit("saved")

if unsaved:
    signal.signal(signal.SIGTERM, save)
    signals.HANDLERS[save] = lambda: time.monotonic() < end

with signals.heard(watched=True):
    end = time.monotonic() + 0.8
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    print("computing", flush=True)
    if sys.argv[1] == "unread":
        sys.stdout = Unread()
    while hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000):
        pass
"""


@pytest.mark.parametrize("what", ["measuring", "saving", "unread"])
def test_a_process_that_computes_without_python_is_ended(what):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMPUTING, what], capture_output=True, text=True
    )
    seconds = time.monotonic() - began
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "Ended by SIGTERM.\n"
    assert done.stdout == "computing\n"
    assert (0.8 if what == "saving" else 0.3) < seconds < 20


# Python waits for such a thread, or for what a library does at exit.
LINGERING = """
import atexit, os, signal, sys, threading, time
from keras_resnet.devices import signals

signals.PATIENCE = signals.CLOSING = 0.3
if sys.argv[1] == "thread":
    threading.Thread(target=time.sleep, args=(30,)).start()
else:
    atexit.register(time.sleep, 30)
with signals.heard(watched=True, last=sys.argv[2] == "last"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
"""


@pytest.mark.parametrize("what", ["thread", "exit"])
def test_a_process_is_gone_soon_after_it_says_that_it_ended(what):
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LINGERING, what, "last"])
    assert done.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - began < 20


FORKING = """
import os, signal, sys, time
from keras_resnet.devices import signals

signals.PATIENCE = 0.2
with signals.heard(watched=True):
    child = os.fork()
    if not child:
        time.sleep(20)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    time.sleep(0.6)
    print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_a_signal_to_a_forked_process_ends_that_alone():
    done = subprocess.run(
        [sys.executable, "-c", FORKING], capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("143\n", 0)


ENDING = """
import atexit, os, signal, sys, time
import keras_resnet.cli.run
from keras_resnet.__main__ import main

def interrupted(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)

signal.signal(signal.SIGINT, signal.default_int_handler)
keras_resnet.cli.run.run = interrupted
atexit.register(interrupted)
sys.exit(main())
"""


def test_a_second_ctrl_c_ends_a_process_that_ends_without_a_word():
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "Interrupted.\n")
