"""Signals that ask a process to end: heard from its beginning, and obeyed in time.

A process that is the first of a container, number 1, gets no signal that it has no handler
for: the system drops it. Python acts on one when its main thread comes back from C++, which
may take minutes, so a second thread watches.
"""

import atexit
import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

# `kill` and Kubernetes; SLURM's early warning, and that of LSF and Grid Engine; a terminal
# that is gone; a limit of processor time. Python itself makes a `KeyboardInterrupt` of
# Ctrl-C.
ENDING = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")
PATIENCE = 8.0  # Seconds until a process is ended that doesn't end by itself.
CLOSING = 2.0  # Seconds that Python's own end may take after that, at least.
PAUSE = 0.25  # Seconds between two looks whether something still has to be saved.


_obeyed: list[int] = []  # By `leave`.


def leave(number: int, frame: FrameType | None = None) -> NoReturn:
    """Ends the process as a signal asks it to: a handler of signals.

    Args:
        number: The signal's.
        frame: What the process was at, which changes nothing.

    Raises:
        SystemExit: With 128 plus the signal's number.
    """
    _obeyed.append(number)
    raise SystemExit(128 + number)


# Handlers whose processes end in time: each with a function that tells whether something
# must be saved before.
HANDLERS: dict[Callable[..., Any], Callable[[], bool]] = {
    leave: lambda: False,
    signal.default_int_handler: lambda: False,
}


def take(names: Iterable[str], handler: Callable[..., Any]) -> dict[int, Any]:
    """Gives a handler to those signals that would end the process, or would be dropped.

    The handlers of others stay, and signals that are ignored, as `nohup` and a shell's
    ``&`` want it, stay ignored. In the main thread alone.

    Args:
        names: The signals' names. Those that the system lacks are left out.
        handler: As `signal.signal` takes it.

    Returns:
        The numbers of the signals that were taken, with the handlers that they had.
    """
    ending = (signal.SIG_DFL, signal.default_int_handler, leave)
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) in ending
    }


def give_back(handlers: Mapping[int, Any]) -> None:
    """Undoes what `take` did, from what it returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def heard(watched: bool = False, last: bool = False) -> Iterator[None]:
    """A block in which the signals `ENDING` raise `SystemExit`, with 128 + their number.

    Of them, those that `take` takes. An error that a library makes of the `SystemExit` by
    which `leave` ends the process becomes one again. In other threads than the main one
    nothing changes.

    Args:
        watched: Whether the process is ended `PATIENCE` seconds after a signal, if the
            main thread computes for longer and there is nothing to save.
        last: Whether the process has nothing to do after the block: a Ctrl-C then ends it
            at once, and if it is watched and was asked to end, Python's own end is cut
            short, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = len(_obeyed)
    with contextlib.ExitStack() as undone:
        if last:
            undone.callback(_end_by_ctrl_c)
        undone.callback(give_back, take(ENDING, leave))
        if watched:
            undone.enter_context(_watch(last))
        try:
            yield
        except Exception as error:
            if len(_obeyed) == before:
                raise
            raise SystemExit(128 + _obeyed[before]) from error


def _end_by_ctrl_c() -> None:
    """Has a Ctrl-C end the process, while Python ends and would print a traceback of it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _forget() -> None:
    """Has a process that was forked not tell its parent's thread of its signals."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):  # Not on Windows, which has no forks.
    os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def _watch(last: bool) -> Iterator[None]:
    """Has a thread learn of each signal when it comes, whatever the main thread does."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    asked: list[tuple[int, float]] = []  # Signals to end, and when they came.

    def wait() -> None:
        while numbers := ours.recv(1):
            if signal.getsignal(numbers[0]) in HANDLERS:
                asked.append((numbers[0], time.monotonic()))
            _end_in_time(numbers[0], ended)

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        theirs.close()
        thread.join()
        ours.close()
        if last and asked:
            _end_after_main(*asked[0])


def _end_after_main(number: int, came: float) -> None:
    """Has the process end soon after its main thread, whatever other threads still do.

    Python waits for threads that aren't daemons, for what libraries do at exit, and for
    theirs in C++: on a busy machine that may take minutes.

    Args:
        number: The signal that asked the process to end.
        came: When it came, by `time.monotonic`.
    """

    def end() -> None:
        threading.main_thread().join()
        time.sleep(max(CLOSING, came + PATIENCE - time.monotonic()))
        os._exit(128 + number)

    threading.Thread(target=end, name="end", daemon=True).start()
    # No thread of Python's runs while C++ ends. Windows has no such alarm.
    if hasattr(signal, "alarm"):
        atexit.register(signal.alarm, math.ceil(PATIENCE + CLOSING))


def _end_in_time(number: int, ended: threading.Event) -> None:
    """Ends the process when nothing had to be saved for `PATIENCE` seconds."""
    waited = 0.0
    while waited < PATIENCE:
        if ended.wait(PAUSE):
            return
        unsaved = HANDLERS.get(signal.getsignal(number))
        if unsaved is None:  # Others act on it.
            return
        waited = 0.0 if unsaved() else waited + PAUSE

    def say() -> None:
        print(f"Ended by {signal.Signals(number).name}.", file=sys.stderr, flush=True)
        sys.stdout.flush()

    # Who reads the output may have stopped reading.
    saying = threading.Thread(target=say, name="saying", daemon=True)
    saying.start()
    saying.join(CLOSING)
    os._exit(128 + number)
