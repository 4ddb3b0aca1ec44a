"""Connections of the server, none of which may wait for ever for a request's headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def bounded_headers(seconds: float) -> Callable[..., asyncio.Protocol]:
    """uvicorn's connections, each closed unless a request's headers come in time.

    Args:
        seconds: From the connection, or from the first byte of a further request, to the
            end of the request's headers.

    Returns:
        What `uvicorn.Config` takes as ``http``.
    """
    return partial(_BoundedHeaders, seconds=seconds)


class _BoundedHeaders(H11Protocol):
    """A connection that doesn't wait for ever for a request's headers.

    uvicorn bounds how long a connection may be idle after an answer. One that sends
    nothing, or half of its headers, it would keep for ever, and with as many of them as
    the process may have open files the server answers nobody. Bodies have a limit of
    their own in `endpoints`.
    """

    def __init__(self, *, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.seconds: float = seconds
        self.closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Waits no longer once the headers are whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the limit of a connection that is gone."""
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.closing is None:  # Not anew with each byte.
            self.closing = self.loop.call_later(self.seconds, self.transport.abort)

    def _stop(self) -> None:
        if self.closing is not None:
            self.closing.cancel()
            self.closing = None
