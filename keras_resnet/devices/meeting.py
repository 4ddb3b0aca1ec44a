"""Meets the other workers before TensorFlow waits for them.

TensorFlow waits in C++ and holds Python's lock meanwhile: it hears no signal but SIGKILL,
and has no limit of time. So the workers meet here first, at the address of the chief, whose
port TensorFlow takes afterwards.
"""

import socket
import time

from keras_resnet.devices.cluster import Workers

PAUSE = 0.2  # Seconds between two looks, in which signals are heard.
GO = b"all are here\n"


def meet(workers: Workers, seconds: float) -> bool:
    """Waits for the other workers; whether all of them came in time.

    Args:
        workers: With the addresses of all.
        seconds: To wait at most.

    Raises:
        OSError: If the chief can't listen at its port.
    """
    end = time.monotonic() + seconds
    host, _, port = workers.addresses[0].rpartition(":")
    if workers.index == 0:
        return _gather(int(port), workers.count, end)
    hello = f"keras_resnet {workers.index}/{workers.count}\n".encode()
    while time.monotonic() < end:
        if _report(host.strip("[]"), int(port), hello, end):
            return True
        time.sleep(PAUSE)
    return False


def _gather(port: int, count: int, end: float) -> bool:
    """Waits, as the chief, for all others to report, and lets them go on together."""
    known = {f"keras_resnet {n}/{count}\n".encode() for n in range(1, count)}
    links: dict[bytes, socket.socket] = {}
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
    with listener:
        listener.settimeout(PAUSE)
        try:
            while len(links) < len(known):
                if time.monotonic() > end:
                    return False
                hello, link = _accept(listener)
                if link is not None and hello in known:
                    links[hello] = link
                elif link is not None:
                    link.close()
                # One that reported may have ended since.
                links = {name: one for name, one in links.items() if _is_open(one)}
            for link in links.values():
                link.sendall(GO)
                link.settimeout(5)
                link.recv(1)  # They close first, so that the port is free at once.
            return True
        finally:
            for link in links.values():
                link.close()


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


def _report(host: str, port: int, hello: bytes, end: float) -> bool:
    """Tells the chief that this worker is here; whether it said that all are."""
    try:
        with socket.create_connection((host, port), timeout=PAUSE + 5) as link:
            link.sendall(hello)
            link.settimeout(PAUSE)
            while time.monotonic() < end:
                try:
                    return link.recv(100) == GO
                except TimeoutError:
                    continue
    except OSError:  # The chief isn't there yet.
        pass
    return False
