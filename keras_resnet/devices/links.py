"""Connections between workers that have met: each hears what all others say.

Used until the first update, from Python, so that signals are heard, and so that a worker
that can't begin tells the others why.
"""

import contextlib
import json
import selectors
import socket
from collections.abc import Mapping
from typing import Any

# Asks after 30 s of silence, then every 10 s, six times.
ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class WorkerLost(RuntimeError):
    """Another worker doesn't answer any more, so that this one can only end."""


class WorkerFailed(Exception):
    """Another worker can't begin to train.

    Attributes:
        worker: Its number.
        message: Its error's message.
        by_input: Whether its input or files were wrong, which is exit code 2.
    """

    def __init__(self, worker: int, message: str, by_input: bool) -> None:
        super().__init__(worker, message, by_input)
        self.worker = worker
        self.message = message
        self.by_input = by_input


class Links:
    """The connections of a worker: of the chief to all others, of another to the chief.

    Args:
        worker: Number of this worker; that of the chief is 0.
        links: The chief's connections by the other workers' numbers; another worker's
            one connection, to 0.
    """

    def __init__(self, worker: int, links: Mapping[int, socket.socket]) -> None:
        self.worker = worker
        self._links = dict(links)
        for link in self._links.values():
            link.settimeout(None)  # Python hears signals there.
            _notice_silence(link)
        self._files = {
            number: link.makefile("rwb") for number, link in self._links.items()
        }

    def exchange(self, value: Any) -> list[Any]:
        """The values of all workers, in their order; every worker must call it.

        Args:
            value: This worker's, of JSON's types.

        Raises:
            WorkerFailed: If another worker called `fail` instead.
            WorkerLost: If another worker has ended.
        """
        said = {"worker": self.worker, "value": value}
        answers = self._gather(said) if self.worker == 0 else self._ask(said)
        for answer in answers:
            if "failed" in answer:
                raise WorkerFailed(answer["worker"], *answer["failed"])
        return [answer["value"] for answer in answers]

    def fail(self, message: str, by_input: bool) -> None:
        """Tells the others, at their next `exchange`, that this worker can't begin."""
        said = {"worker": self.worker, "failed": [message, by_input]}
        for number in self._links:
            with contextlib.suppress(OSError):  # It has ended, too.
                self._write(number, [said] if self.worker == 0 else said)

    def close(self) -> None:
        """Closes the connections."""
        for number, link in self._links.items():
            with contextlib.suppress(OSError):
                self._files[number].close()
            link.close()

    def _gather(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """What all say, as the chief hears it, after it has told the others."""
        heard = {0: said}
        with selectors.DefaultSelector() as waiting:
            for number, link in self._links.items():
                waiting.register(link, selectors.EVENT_READ, number)
            while len(heard) <= len(self._links):
                for key, _ in waiting.select():
                    heard[key.data] = self._read(key.data)
                    waiting.unregister(key.fileobj)
                    if "failed" in heard[key.data]:  # The others needn't be waited for.
                        self._tell([heard[key.data]])
                        return [heard[key.data]]
        everyone = [heard[number] for number in sorted(heard)]
        self._tell(everyone)
        return everyone

    def _tell(self, everyone: list[dict[str, Any]]) -> None:
        for number in self._links:
            with contextlib.suppress(OSError):  # Its own words may be the failure.
                self._write(number, everyone)

    def _ask(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """What all say, as the chief passes it on."""
        # The chief may have failed and ended, and its words wait here.
        with contextlib.suppress(OSError):
            self._write(0, said)
        return self._read(0)

    def _write(self, number: int, said: Any) -> None:
        self._files[number].write(json.dumps(said).encode() + b"\n")
        self._files[number].flush()

    def _read(self, number: int) -> Any:
        try:
            line = self._files[number].readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise WorkerLost(
                f"Worker {number} has ended before training began. Its own output says "
                "why; start all of them again with the same command."
            )
        return json.loads(line)


def _notice_silence(link: socket.socket) -> None:
    """Has a connection fail after 90 s where the other host has lost its power."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in ALIVE.items():
        if hasattr(socket, name):  # Not on every system.
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
