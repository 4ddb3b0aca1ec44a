"""Serves a classifier over HTTP as TensorFlow Serving does, by LitServe.

Three processes: one reads and answers requests, one (or more) decodes and computes, and
one passes on between them. Only the second imports TensorFlow. Why LitServe, and what it
lacks: docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from multiprocessing import active_children
from typing import Any

from fastapi import Request, Response
from litserve import LitServer
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, ResponseBufferItem, WorkerSetupStatus
from starlette.requests import ClientDisconnect

from keras_resnet.serving import rest
from keras_resnet.serving.rest import Refused, RequestLimits
from keras_resnet.serving.worker import Loop, Reply, Servable, Worker

HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # Those that LitServe takes.
STOP = (signal.SIGINT, signal.SIGTERM)
VERSION = 1
# TensorFlow Serving's, whose paths ignore case (model_servers/http_rest_api_handler.cc).
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?:predict", re.I)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?", re.I)
METRICS = ("/monitoring/prometheus/metrics", "/metrics")


def serve(
    load: Callable[[], Servable],
    *,
    name: str,
    host: str = "127.0.0.1",
    port: int = 8501,
    max_batch: int = 32,
    batch_timeout: float = 0.01,
    workers: int = 1,
    limits: RequestLimits | None = None,
) -> None:
    """Serves a classifier until SIGINT or SIGTERM.

    Args:
        load: Function without arguments that gives a `worker.Servable`. It is sent to
            the workers by pickle, and called there.
        name: Of the model, in the paths.
        host: ``"127.0.0.1"``, ``"0.0.0.0"`` or ``"::"``.
        port: From 1024 to 65535.
        max_batch: Images computed at once at most.
        batch_timeout: Maximum wait of a batch's first request for others, in seconds.
        workers: Processes that compute, each with a model of its own.
        limits: `RequestLimits`.

    Raises:
        OSError: If the port is in use.
        RuntimeError: If a worker could not load the model; it has said why.
        ValueError: If an argument is out of range.
    """
    _check(name, host, port, max_batch, batch_timeout, workers)
    _check_port(host, port)
    api = Worker(
        load=load,
        max_batch_size=max_batch,
        batch_timeout=batch_timeout,
        loop=Loop(),
        spec=TensorFlowServing(name, limits or RequestLimits()),
    )
    server = _Server(
        api,
        accelerator="cpu",  # A label: the framework finds its GPUs itself.
        workers_per_device=workers,
        timeout=False,  # Ours, since LitServe's can't be pickled (0.2.19).
        restart_workers=True,
        disable_openapi_url=True,
    )
    shown = f"[{host}]" if ":" in host else host
    server.address = f"http://{shown}:{port}{api.api_path}"
    before = {number: signal.signal(number, server.stop) for number in STOP}
    try:
        server.run(
            host=host,
            port=port,
            num_api_servers=1,
            log_level="warning",
            generate_client_file=False,
            http="h11",  # Bounds the size of headers, httptools does not.
            ws="none",
        )
    except KeyboardInterrupt:  # While the workers load.
        pass
    finally:
        for child in active_children():
            child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


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


class TensorFlowServing(LitSpec):
    """The paths and answers of TensorFlow Serving's REST API.

    Lives in the process that reads requests; a copy goes to each worker.
    """

    def __init__(self, name: str, limits: RequestLimits) -> None:
        super().__init__()
        self.name: str = name
        self.limits: RequestLimits = limits
        self.api_path: str = f"/v1/models/{name}:predict"
        self.pending: int = 0  # Bytes.
        self.late: bool = False  # Whether the last answer did not come in time.
        self.metrics: Any = None  # `_Metrics`, made where it is used.
        every = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
        self.add_endpoint("/v1/{path:path}", self.respond, every)
        for path in METRICS:
            self.add_endpoint(path, self.show_metrics, ["GET"])

    def decode_request(
        self, request: Any, context_kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Passes a query on, in the worker: `Worker.batch` decodes a whole batch."""
        return request

    def encode_response(
        self, output: Any, context_kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Passes a `Reply` on, in the worker, as it is."""
        return output

    async def respond(self, request: Request) -> Response:
        """Answers whatever begins with ``/v1/``."""
        begin = time.perf_counter()
        try:
            reply = await self._reply(request)
        except Refused as refused:
            reply = Reply(refused.status, rest.error(refused.message))
        except ClientDisconnect:
            reply = Reply(499, rest.error("The client went away."))
        except Exception:
            logging.exception("A request failed.")
            reply = Reply(500, rest.error("The server failed; its log says why."))
        _metrics(self).count(reply, time.perf_counter() - begin)
        return Response(reply.body, reply.status, media_type="application/json")

    async def show_metrics(self) -> Response:
        """Gives Prometheus its text."""
        import prometheus_client

        text = prometheus_client.generate_latest(_metrics(self).registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def _reply(self, request):
        method, path = request.method, request.scope["path"]
        if method == "POST" and (match := PREDICT.fullmatch(path)):
            self._find(*match.groups())
            return await self._predict(request)
        if method == "GET" and (match := STATUS.fullmatch(path)):
            self._find(*match.groups())
            return Reply(200, rest.status(VERSION, "AVAILABLE"))
        raise Refused(400, f"Malformed request: {method} {path}")

    def _find(self, name, version):
        """Raises `Refused` if there is no such model or version."""
        if name != self.name or int(version or VERSION) != VERSION:
            which = f"Specific({name}, {version})" if version else f"Latest({name})"
            raise Refused(404, f"Servable not found for request: {which}")

    async def _predict(self, request):
        limits = self.limits
        length = request.headers.get("content-length", "")
        # Of a body sent in chunks nobody knows the length before its end.
        size = int(length) if length.isdecimal() else limits.body
        if size > limits.body:
            await _discard(request, limits)
            raise _too_long(limits)
        if self.pending + size > limits.pending:
            await _discard(request, limits)
            raise Refused(
                503,
                f"Requests of {self.pending} bytes wait already: try again in a while.",
            )
        if self.late and self.request_queue.qsize():
            # What was given up still lies in the queue, and no more may join it.
            await _discard(request, limits)
            raise Refused(503, "The model is behind: try again in a while.")
        self.pending += size
        try:
            # Not in a thread: the parser would hold all others up there as well, and
            # one after the other is what bounds its memory.
            query = rest.parse(await _read(request, limits), limits)
            return await self._ask(query)
        finally:
            self.pending -= size

    async def _ask(self, query):
        """Sends a query to a worker and waits for its reply."""
        uid, event = uuid.uuid4().hex, asyncio.Event()
        self.response_buffer[uid] = ResponseBufferItem(event=event)
        seconds = self.limits.seconds
        try:
            expires = time.monotonic() + seconds
            self.request_queue.put((self.response_queue_id, uid, expires, query))
            await asyncio.wait_for(event.wait(), seconds)
            reply, state = self.response_buffer[uid].response
            self.late = False
        except TimeoutError:
            self.late = True
            raise Refused(504, f"There was no answer in {seconds:g} s.") from None
        finally:
            del self.response_buffer[uid]
        if state != LitAPIStatus.OK:
            raise Refused(500, "The worker failed; its log says why.")
        return reply


class _Metrics:
    """What Prometheus is told, counted in the process that reads requests."""

    def __init__(self):
        import prometheus_client as prometheus

        self.registry = prometheus.CollectorRegistry()
        name = "keras_resnet"
        self.requests = prometheus.Counter(
            f"{name}_requests", "Requests by status", ["status"], registry=self.registry
        )
        self.images = prometheus.Counter(
            f"{name}_images", "Images answered", registry=self.registry
        )
        self.seconds = prometheus.Histogram(
            f"{name}_request_seconds",
            "Seconds from a request's header to its answer",
            registry=self.registry,
        )
        self.batches = prometheus.Histogram(
            f"{name}_batch_images",
            "Images that were computed at once",
            buckets=[2**power for power in range(11)],
            registry=self.registry,
        )

    def count(self, reply, seconds):
        """Adds a reply."""
        self.requests.labels(reply.status).inc()
        self.images.inc(reply.images)
        self.seconds.observe(seconds)
        if reply.batch:
            self.batches.observe(reply.batch)


def _metrics(spec):
    # Made where it is used: it holds locks, which can't be sent to the workers.
    spec.metrics = spec.metrics or _Metrics()
    return spec.metrics


async def _read(request, limits):
    """The body, within its limits of size and time."""
    chunks, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limits.body:
                    raise _too_long(limits)
    except TimeoutError:
        raise Refused(408, f"The body took over {limits.seconds:g} s.") from None
    return b"".join(chunks)


async def _discard(request, limits):
    """Reads on, so that clients that send first and listen then hear the answer."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > 4 * limits.body:
                    return


def _too_long(limits):
    return Refused(
        413,
        f"A body may have {limits.body} bytes. Send the images in several requests.",
    )


def _check(name, host, port, max_batch, batch_timeout, workers):
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
            f"s, `workers` 1 or more. Received: max_batch={max_batch}, "
            f"batch_timeout={batch_timeout}, workers={workers}."
        )


def _check_port(host, port):
    """Raises `OSError` if the port can't be had (uvicorn would exit by itself)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                error.errno,
                f"Port {port} of {host} can't be had ({error.strerror}): stop what uses "
                "it, or choose another one with --port.",
            ) from None
