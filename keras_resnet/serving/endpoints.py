"""The paths of the server: TensorFlow Serving's REST API and the Open Inference Protocol.

For LitServe's server. What the bodies look like is in `rest`, `open_inference` and
`inference_answers`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import time
import uuid
from typing import Any

from fastapi import Request, Response
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, ResponseBufferItem, WorkerSetupStatus
from starlette.requests import ClientDisconnect

from keras_resnet.serving import bodies, inference_answers, open_inference, rest
from keras_resnet.serving.queries import VERSION, Query, Refused, RequestLimits
from keras_resnet.serving.worker import Reply

# TensorFlow Serving's, whose paths ignore case (model_servers/http_rest_api_handler.cc).
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?:predict", re.I)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?", re.I)
# The Open Inference Protocol's.
MODEL = r"/v2/models/([^/:]+)(?:/versions/(\d{1,18}))?"
METADATA, READY, INFER = (re.compile(MODEL + end) for end in ("", "/ready", "/infer"))
METRICS = ("/monitoring/prometheus/metrics", "/metrics")


class Endpoints(LitSpec):
    """The paths and answers of the server.

    Lives in the process that reads requests; a copy goes to each worker.
    """

    def __init__(self, name: str, limits: RequestLimits) -> None:
        super().__init__()
        self.name: str = name
        self.limits: RequestLimits = limits
        self.api_path: str = f"/v1/models/{name}:predict"
        self.pending: int = 0  # Bytes.
        self.late: bool = False  # Whether the last answer did not come in time.
        self.metadata: Reply | None = None  # What was answered of the model's tensors.
        self.metrics: Any = None  # `_Metrics`, made where it is used.
        every = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
        for path in ("/v1/{path:path}", "/v2", "/v2/{path:path}"):
            self.add_endpoint(path, self.respond, every)
        self.add_endpoint("/health/live", self.live, ["GET"])
        self.add_endpoint("/health/ready", self.ready, ["GET"])
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
        """Answers whatever begins with ``/v1/`` or ``/v2``."""
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
        if request.method == "POST" or reply.status >= 400:  # Not what only probes.
            _metrics(self).count(reply, time.perf_counter() - begin)
        headers = dict(reply.headers)
        if reply.status == 415:  # Which packing would do, as RFC 9110 wants it.
            headers["Accept-Encoding"] = "gzip"
        return Response(
            reply.body, reply.status, headers, media_type="application/json"
        )

    async def live(self) -> Response:
        """Says that the server answers at all."""
        return Response("ok", media_type="text/plain")

    async def ready(self) -> Response:
        """Says whether it can compute, by one worker at least.

        LitServe's own ``/health`` asks for all workers.
        """
        if self.is_ready():
            return await self.live()
        return Response("not ready", 503, media_type="text/plain")

    def is_ready(self) -> bool:
        """Whether one worker at least has the model loaded."""
        states = self._server.workers_setup_status.values() if self._server else ()
        return WorkerSetupStatus.READY in states

    async def show_metrics(self) -> Response:
        """Gives Prometheus its text."""
        import prometheus_client

        text = prometheus_client.generate_latest(_metrics(self).registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def _reply(self, request):
        method, path = request.method, request.scope["path"]
        if path.startswith("/v2"):
            return await self._reply_v2(request, method, path)
        if method == "POST" and (match := PREDICT.fullmatch(path)):
            self._find(*match.groups())
            return await self._predict(request, functools.partial(self._read, request))
        if method == "GET" and (match := STATUS.fullmatch(path)):
            self._find(*match.groups())
            return Reply(200, rest.status(VERSION, "AVAILABLE"))
        raise Refused(400, f"Malformed request: {method} {path}")

    async def _reply_v2(self, request, method, path):
        if method == "POST" and (match := INFER.fullmatch(path)):
            self._find(*match.groups())
            length = request.headers.get(inference_answers.JSON_LENGTH)
            return await self._predict(
                request,
                lambda body: open_inference.parse(body, length, self.limits, self.name),
            )
        if method == "GET" and path in ("/v2", "/v2/"):
            return Reply(200, inference_answers.server_metadata())
        if method == "GET" and path == "/v2/health/live":
            return Reply(200, b'{"live": true}')
        if method == "GET" and path == "/v2/health/ready":
            return self._readiness({})
        if method == "GET" and (match := READY.fullmatch(path)):
            self._find(*match.groups())
            return self._readiness({"name": self.name})
        if method == "GET" and (match := METADATA.fullmatch(path)):
            self._find(*match.groups())
            return await self._metadata()
        raise Refused(400, f"Malformed request: {method} {path}")

    async def _metadata(self):
        """Asks a worker once what the model takes and gives."""
        if self.metadata is None:
            self._check_room(0)
            write = functools.partial(inference_answers.metadata, model=self.name)
            reply = await self._ask(Query([], write, asks_for_tensors=True))
            if reply.status != 200:
                return reply
            self.metadata = reply
        return self.metadata

    def _readiness(self, names):
        ready = self.is_ready()
        return Reply(
            200 if ready else 503, json.dumps({**names, "ready": ready}).encode()
        )

    def _read(self, request, body):
        """Parses a body of `predict`: JSON, or an image file as it is."""
        if bodies.is_file(request, body):
            return rest.of_file(body, self.limits)
        return rest.parse(body, self.limits)

    def _find(self, name, version):
        """Raises `Refused` if there is no such model or version."""
        if name != self.name or int(version or VERSION) != VERSION:
            which = f"Specific({name}, {version})" if version else f"Latest({name})"
            raise Refused(404, f"Servable not found for request: {which}")

    async def _predict(self, request, parse):
        """Reads a body within the limits and has what ``parse`` makes of it answered."""
        limits = self.limits
        length = request.headers.get("content-length", "")
        # Of a body in chunks, and of one that is packed, nobody knows the size before its
        # end.
        sent = int(length) if length.isdecimal() else limits.body
        try:
            size = limits.body if bodies.is_gzip(request) else sent
            if sent > limits.body:
                raise bodies.too_long(limits)
            self._check_room(size)
        except Refused:
            await bodies.discard(request, limits)
            raise
        self.pending += size
        try:
            body = await bodies.read(request, limits)
            if bodies.is_gzip(request):
                body = bodies.unpack(body, limits)
            self.pending += len(body) - size
            size = len(body)
            # Not in a thread: the parser would hold all others up there as well, and
            # one after the other is what bounds its memory.
            return await self._ask(parse(body))
        finally:
            self.pending -= size

    def _check_room(self, size):
        """Raises `Refused` if a body of this size would have to wait for too long."""
        if self.pending + size > self.limits.pending:
            raise Refused(
                503,
                f"Requests of {self.pending} bytes wait already: try again in a while.",
            )
        if self.late and self.request_queue.qsize():
            # What was given up still lies in the queue, and no more may join it.
            raise Refused(503, "The model is behind: try again in a while.")

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
