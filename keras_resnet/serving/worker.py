"""Computes answers in the server's workers, in batches of many clients' requests."""

from __future__ import annotations

import io
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import parent_process
from queue import Empty
from typing import Any

import numpy as np
from litserve import LitAPI
from litserve.loops.simple_loops import BatchedLoop
from PIL import Image

from keras_resnet.devices import limits
from keras_resnet.devices.host import plain_message
from keras_resnet.serving import rest
from keras_resnet.serving.queries import Query, Refused
from keras_resnet.serving.servables import AnyServable


@dataclass(frozen=True)
class Reply:
    """What a worker sends back for a request: a status of HTTP, and a body.

    Attributes:
        images: How many images the request held.
        batch: How many were computed at once; 0 in all replies but one of a batch.
        headers: Of HTTP, beyond those that each answer has.
    """

    status: int
    body: bytes
    images: int = 0
    batch: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Worker(LitAPI):
    """Answers the requests of a batch, in a worker."""

    def __init__(self, *, load: Callable[[], AnyServable], **options: Any) -> None:
        super().__init__(**options)
        self.load: Callable[[], AnyServable] = load

    def setup(self, device: str) -> None:
        """Loads the model; LitServe calls it in each worker."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            self.servable: AnyServable = self.load()
            if not self.servable.in_batches:
                self.max_batch_size: int = 1  # `Loop` gathers as many.
            self.servable.warm_up(_picture(), self.max_batch_size)
        except Exception as error:
            print(f"keras-resnet: {plain_message(error)}", file=sys.stderr, flush=True)
            logging.getLogger("litserve").setLevel(logging.CRITICAL)  # No traceback.
            raise
        self.pool: ThreadPoolExecutor = ThreadPoolExecutor(limits.cores())

    def batch(self, inputs: list[Query]) -> list[tuple[list[Any] | Reply, Query]]:
        """Prepares the images of queries.

        Args:
            inputs: Queries.

        Returns:
            For each its images, as the servable prepares them, or the `Reply` to one that
            can't be answered or needs no computation; and the query.
        """
        # All are begun before the first is waited for: most requests hold one image.
        begun = [self._begin(query) for query in inputs]
        return [
            (self._prepare(query, images), query)
            for query, images in zip(inputs, begun, strict=True)
        ]

    def predict(self, x: list[tuple[list[Any] | Reply, Query]]) -> list[Reply]:
        """Computes a `Reply` for each of the queries that `batch` prepared."""
        good = [images for images, _ in x if not isinstance(images, Reply)]
        if not good:
            return [reply for reply, _ in x]
        together = list(itertools.chain.from_iterable(good))
        try:
            columns = self._columns(together)
        except Exception as error:  # No memory on the GPU, and the like.
            logging.exception("The computation failed.")
            failed = Reply(
                500, rest.error(f"The computation failed: {plain_message(error)}")
            )
            return [i if isinstance(i, Reply) else failed for i, _ in x]
        replies, at, batch = [], 0, len(together)
        for images, query in x:
            if isinstance(images, Reply):
                replies.append(images)
                continue
            count = len(images)
            own = {name: values[at : at + count] for name, values in columns.items()}
            replies.append(_written(query, own, count, batch))
            at, batch = at + count, 0
        return replies

    def _columns(self, images):
        """What is answered for each image, by name, of batches one after the other."""
        size = self.max_batch_size
        starts = range(0, max(1, len(images)), size)
        parts = [self.servable.columns(images[at : at + size]) for at in starts]
        if len(parts) == 1:
            return parts[0]
        return {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }

    def _begin(self, query):
        """Has a query's files decoded in the pool, in their order; or its pixels."""
        files = query.images
        if not isinstance(files, list):
            return files
        return self.pool.map(self._decode, range(len(files)), files)

    def _prepare(self, query, images):
        try:
            if query.asks_for_tensors:
                return _written(query, self.servable.tensors)
            if isinstance(images, np.ndarray):
                return self.servable.prepare_pixels(images)
            return list(images)
        except Refused as refused:
            return Reply(refused.status, rest.error(refused.message))
        except Exception as error:
            logging.exception("Preparing an image failed.")
            return Reply(
                500, rest.error(f"Preparing an image failed: {plain_message(error)}")
            )

    def _decode(self, index, file):
        try:
            return self.servable.prepare(file)
        except ValueError as error:
            raise Refused(400, f"Image {index} can't be decoded: {error}") from None


class Loop(BatchedLoop):
    """LitServe's loop over batches, with another way to gather them.

    LitServe's asks its queue a thousand times a second, also when there is nothing to
    do, starts its time before the first request came, and counts requests, not images.
    """

    def get_batch_requests(
        self, lit_api: LitAPI, request_queue: Any, transport: Any
    ) -> tuple[list[Any], list[Any]]:
        """Waits for a request, and then ``batch_timeout`` for more of them."""
        batch, images, deadline = [], 0, None
        while images < lit_api.max_batch_size:
            try:
                if deadline is None:
                    item = request_queue.get()
                    deadline = time.monotonic() + lit_api.batch_timeout
                else:
                    item = request_queue.get(True, max(0, deadline - time.monotonic()))
            except Empty:
                break
            reader, uid, expires, query = item
            if time.monotonic() > expires:  # Nobody waits for it any more.
                continue
            batch.append((reader, uid, query))
            images += max(1, len(query.images))  # Those without any take time as well.
        return batch, []


def _written(query, answers, count=0, batch=0):
    """The reply to a query that was computed."""
    numbers = () if query.asks_for_tensors else answers.values()
    if not all(np.isfinite(v).all() for v in numbers if v.dtype.kind == "f"):
        message = "The network gave NaN or infinite numbers, which JSON doesn't have."
        return Reply(500, rest.error(message), 0, batch)
    try:
        written = query.write(answers)
    except Refused as refused:
        return Reply(refused.status, rest.error(refused.message), 0, batch)
    return Reply(200, written.body, count, batch, written.headers)


def _picture():
    """A small image file."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def _end_with_parent():
    """Ends a worker whose server was killed."""
    parent_process().join()
    os._exit(1)
