"""Meets the other workers at the address of the chief, before the framework does.

TensorFlow and JAX wait for the other workers in C++, where no signal is heard, and
TensorFlow waits without end. So the workers meet here first; the framework's server takes
the chief's port afterwards.
"""

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from typing import NoReturn

from keras_resnet.devices.cluster import Workers
from keras_resnet.devices.links import Links

PAUSE = 0.2  # Seconds between two looks, in which signals are heard.
GO = b"all are here\n"


def meet(workers: Workers, seconds: float) -> Links | None:
    """Waits for the other workers.

    Args:
        workers: With the address of the first, at least.
        seconds: To wait at most.

    Returns:
        The connections to them; `None` if they didn't come in time.

    Raises:
        OSError: If the chief can't listen at its port.
        ValueError: If the workers don't agree in how many they are.
    """
    end = time.monotonic() + seconds
    host, _, port = workers.addresses[0].rpartition(":")
    if workers.index == 0:
        links = _gather(int(port), workers.count, end)
        return links and Links(0, links)
    while time.monotonic() < end:
        link = _report(host.strip("[]"), int(port), workers, end)
        if link is not None:
            return Links(workers.index, {0: link})
        time.sleep(PAUSE)
    return None


def _gather(port: int, count: int, end: float) -> dict[int, socket.socket] | None:
    """Waits, as the chief, for all others to report, and lets them go on together."""
    links: dict[int, socket.socket] = {}
    try:
        with _listener(port) as listener:
            while len(links) < count - 1:
                if time.monotonic() > end:
                    _close(links)
                    return None
                hello, link = _accept(listener)
                number, theirs = _numbers_in(hello)
                if link is not None and theirs == count and 0 < number < count:
                    links[number] = link
                elif link is not None and theirs:
                    _refuse({**links, number: link}, number, count, theirs)
                elif link is not None:
                    link.close()
                # One that reported may have ended since.
                links = {number: one for number, one in links.items() if _is_open(one)}
        for link in links.values():
            link.settimeout(5)
            with contextlib.suppress(OSError):  # It has just ended: `exchange` says so.
                link.sendall(GO)
        return links
    except BaseException:
        _close(links)
        raise


def _close(links: Mapping[int, socket.socket]) -> None:
    for link in links.values():
        link.close()


def _listener(port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise OSError(
            error.errno,
            f"The first worker can't listen at port {port} ({error.strerror}). Stop the "
            "program that uses it, or name another port.",
        ) from error
    listener.settimeout(PAUSE)
    return listener


def _numbers_in(hello: bytes) -> tuple[int, int]:
    """A worker's number and how many it knows of; zeros where no worker says it."""
    match = re.fullmatch(rb"keras_resnet (\d+)/(\d+)\n", hello)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _refuse(
    links: Mapping[int, socket.socket], worker: int, count: int, theirs: int
) -> NoReturn:
    """Ends all that are here, since one of them knows of more workers or of fewer."""
    message = (
        "All workers must be told of the same workers. Received: number of workers: "
        f"worker 0 has {count}, worker {worker} has {theirs}."
    )
    for link in links.values():
        with contextlib.suppress(OSError):
            link.sendall(f"{message}\n".encode())
        link.close()
    raise ValueError(message)


def _accept(listener: socket.socket) -> tuple[bytes, socket.socket | None]:
    try:
        link, _ = listener.accept()
    except TimeoutError:
        return b"", None
    link.settimeout(1)
    try:
        return link.recv(100), link
    except OSError:
        return b"", link


def _is_open(link: socket.socket) -> bool:
    link.setblocking(False)
    try:
        return link.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _report(host: str, port: int, workers: Workers, end: float) -> socket.socket | None:
    """Tells the chief that this worker is here; the connection, once all are."""
    try:
        link = socket.create_connection((host, port), timeout=PAUSE + 5)
    except OSError:  # The chief isn't there yet.
        return None
    try:
        link.sendall(f"keras_resnet {workers.index}/{workers.count}\n".encode())
        answer = _answer(link, end)
    except OSError:
        answer = b""
    except BaseException:
        link.close()
        raise
    if answer == GO:
        return link
    link.close()
    if answer.endswith(b"\n"):
        raise ValueError(answer.decode().strip())
    return None


def _answer(link: socket.socket, end: float) -> bytes:
    """The chief's first line, without what it may have said after it."""
    link.settimeout(PAUSE)
    line = b""
    while time.monotonic() < end and not line.endswith(b"\n"):
        with contextlib.suppress(TimeoutError):
            byte = link.recv(1)
            if not byte:
                return b""
            line += byte
    return line
