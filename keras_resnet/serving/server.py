"""Serves a classifier or detector over HTTP as TensorFlow Serving does, by LitServe.

Three processes: one reads and answers requests, one (or more) decodes and computes, and
one passes on between them. Only the second imports TensorFlow. Why LitServe, and what it
lacks: docs/decisions/0011.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import active_children

from litserve import LitServer
from litserve.utils import WorkerSetupStatus
from starlette.middleware.cors import CORSMiddleware

from keras_resnet.serving.connections import bounded_headers
from keras_resnet.serving.endpoints import Endpoints
from keras_resnet.serving.inference_answers import JSON_LENGTH
from keras_resnet.serving.queries import RequestLimits
from keras_resnet.serving.servables import AnyServable
from keras_resnet.serving.worker import Loop, Worker

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # Those that LitServe takes.
STOP = (signal.SIGINT, signal.SIGTERM)


def serve(
    load: Callable[[], AnyServable],
    *,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8501,
    max_batch: int = 32,
    batch_timeout: float = 0.01,
    workers: int = 1,
    limits: RequestLimits | None = None,
    cors: Sequence[str] = (),
) -> None:
    """Serves a classifier or a detector until SIGINT or SIGTERM.

    Handlers that the program has for these come back afterwards, and its processes of
    `multiprocessing` that were there before live on.

    Args:
        load: Function without arguments that gives a `servables.Servable`, or of a
            detector a `servables.DetectorServable`. It is sent to the workers by pickle,
            and called there.
        name: Of the model, in the paths.
        host: ``"127.0.0.1"``, ``"0.0.0.0"`` or ``"::"``.
        port: From 1024 to 65535.
        max_batch: Images computed at once at most.
        batch_timeout: Maximum wait of a batch's first request for others, in seconds.
        workers: Processes that compute, each with a model of its own.
        limits: `RequestLimits`.
        cors: Origins whose web pages browsers may let ask, such as
            ``"https://example.org"``; ``"*"`` are all of them.

    Raises:
        OSError: If the port is in use.
        RuntimeError: If a worker could not load the model; it has said why.
        ValueError: If an argument is out of range.
    """
    limits = limits or RequestLimits()
    _check(name, host, port, max_batch, batch_timeout, workers, limits.drain)
    for origin in cors:
        _check_origin(origin)
    _check_port(host, port)
    api = Worker(
        load=load,
        max_batch_size=max_batch,
        batch_timeout=batch_timeout,
        loop=Loop(),
        spec=Endpoints(name, limits),
    )
    server = _Server(
        api,
        accelerator="cpu",  # A label: the framework finds its GPUs itself.
        workers_per_device=workers,
        timeout=False,  # Ours, since LitServe's can't be pickled (0.2.19).
        restart_workers=True,
        disable_openapi_url=True,
        middlewares=[_answers_pages_of(cors)] if cors else None,
    )
    server.uvicorn_graceful_timeout = limits.drain
    shown = f"[{host}]" if ":" in host else host
    server.address = f"http://{shown}:{port}{api.api_path}"
    others = set(active_children())
    # Also those that are ignored, since uvicorn in its process takes them as well.
    before = {number: signal.signal(number, server.stop) for number in STOP}
    try:
        server.run(
            host=host,
            port=port,
            num_api_servers=1,
            log_level="warning",
            generate_client_file=False,
            # h11 bounds the size of headers, httptools does not.
            http=bounded_headers(limits.header_seconds),
            ws="none",
        )
    except KeyboardInterrupt:  # While the workers load.
        pass
    finally:
        for child in set(active_children()) - others:
            child.kill()
        for number, handler in before.items():
            # `None` is one that was set in C, which Python can't set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Server(LitServer):
    """LitServer that ends by SIGINT and SIGTERM, and says when it is ready."""

    address = ""
    is_ready = False

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.pid = os.getpid()

    def launch_inference_worker(self, lit_api):
        if not hasattr(signal, "pthread_sigmask"):  # Windows.
            return super().launch_inference_worker(lit_api)
        # Processes inherit that a signal is held back; here it waits, and is not lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().launch_inference_worker(lit_api)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start_server(self, port, servers, log_level, sockets, *args, **options):
        sockets = [_ListeningSocket(each) for each in sockets]
        return super()._start_server(
            port, servers, log_level, sockets, *args, **options
        )

    def verify_worker_status(self):
        # LitServe's own would wait forever for a worker that died.
        while WorkerSetupStatus.READY not in self.workers_setup_status.values():
            if not all(worker.is_alive() for worker in self.inference_workers):
                raise RuntimeError(
                    "The model could not be loaded: the worker's message is above."
                )
            time.sleep(0.05)
        self.is_ready = True
        print(f"Serving {self.address} (Ctrl-C stops)", flush=True)

    def stop(self, number, frame):
        """Ends `run`; for `signal.signal`."""
        if os.getpid() != self.pid:  # In a fork, which uvicorn ends.
            return
        for each in STOP:
            signal.signal(each, signal.SIG_IGN)
        logging.getLogger("litserve").setLevel(logging.CRITICAL)  # Of all that ends.
        if not self.is_ready:
            raise KeyboardInterrupt
        # `run` waits for this event, by a connection that only this thread uses.
        threading.Thread(target=self._shutdown_event.set).start()


class _ListeningSocket(socket.socket):
    """A socket that refuses connections once it is closed, whoever else has it.

    uvicorn closes it before it lets running requests end. The processes beside it, which
    inherited the socket, would keep it open: new clients would be let in, and wait in vain.
    """

    def __init__(self, other):
        # uvloop closes by the number, and tells this object afterwards.
        self.kept = other.dup()
        super().__init__(fileno=other.detach())

    def close(self):
        """As asyncio ends its servers."""
        self._refuse()
        super().close()

    def detach(self):
        """As uvloop ends its servers."""
        self._refuse()
        return super().detach()

    def _refuse(self):
        # It is closed already, or the system ends no listening so.
        with contextlib.suppress(OSError):
            self.kept.shutdown(socket.SHUT_RDWR)
        self.kept.close()


def _check(name, host, port, max_batch, batch_timeout, workers, drain):
    """Raises `ValueError` if an argument of `serve` is out of range."""
    if not re.fullmatch(r"[^/:\s]+", name):
        raise ValueError(
            "`name` (--name) must have no spaces, slashes or colons. "
            f"Received: name={name!r}."
        )
    if host not in HOSTS:
        raise ValueError(
            f"`host` (--host) must be one of {', '.join(HOSTS)}. Received: host={host!r}."
        )
    if not 1024 <= port <= 65535:
        raise ValueError(
            f"`port` (--port) must be from 1024 to 65535. Received: port={port}."
        )
    if max_batch < 1 or not 0 <= batch_timeout < 3600 or workers < 1:
        raise ValueError(
            "`max_batch` (--max-batch) must be 1 or more, `batch_timeout` from 0 to 3600 "
            "s, `workers` 1 or more. Received: "
            f"max_batch={max_batch}, batch_timeout={batch_timeout}, workers={workers}."
        )
    if not 1 <= drain <= 3600:
        raise ValueError(
            f"`drain` (--drain) must be from 1 to 3600 s. Received: drain={drain:g} s."
        )


def _answers_pages_of(origins):
    """What tells browsers that pages of these origins may ask and read the answers."""
    options = {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["*"],
        "expose_headers": [JSON_LENGTH],
    }
    return CORSMiddleware, options


def _check_origin(origin):
    """Raises `ValueError` if no browser would call a page's origin so."""
    # In lower case, without the scheme's own port, a path or a slash at the end.
    form = r"(?!http://.*:80$|https://.*:443$)[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+"
    if origin not in ("*", "null") and not re.fullmatch(form, origin):
        raise ValueError(
            "`cors` (--cors) must be an origin as browsers send it, such as "
            "https://example.org or http://localhost:3000, or * for all. Received: "
            f"{origin!r}."
        )


def _check_port(host, port):
    """Raises `OSError` if the port isn't free (uvicorn would exit by itself)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                error.errno,
                f"The server can't listen at port {port} of {host} ({error.strerror}). "
                "Stop the program that uses it, or choose another port with --port.",
            ) from None
