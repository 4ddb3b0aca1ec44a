"""Computes answers in the server's workers, in batches of many clients' requests."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from keras_resnet.serving.rest import Query, Refused


@dataclass(frozen=True)
class Servable:
    """A classifier, as it is served.

    Attributes:
        scores: Function from uint8 ``(n, *shape)`` to probabilities, float32
            ``(n, classes)``.
        prepare: Function from the bytes of an image file to uint8 of ``shape``; raises
            `ValueError` if they can't be decoded. Called in several threads.
        class_names: In the order of the scores.
        shape: Height, width and channels of the images.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    prepare: Callable[[bytes], np.ndarray]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Reply:
    """What a worker sends back for a request: a status of HTTP, and a body.

    Attributes:
        images: How many images the request held.
        batch: How many were computed at once; 0 in all replies but one of a batch.
    """

    status: int
    body: bytes
    images: int = 0
    batch: int = 0


class Worker(LitAPI):
    """Answers the requests of a batch, in a worker."""

    def __init__(self, *, load: Callable[[], Servable], **options: Any) -> None:
        super().__init__(**options)
        self.load: Callable[[], Servable] = load

    def setup(self, device: str) -> None:
        """Loads the model; LitServe calls it in each worker."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            self.classifier: Servable = self.load()
            # The first calls trace and compile; JAX does for each power of two.
            self.classifier.prepare(_picture())
            for power in range((self.max_batch_size - 1).bit_length() + 1):
                count = min(2**power, self.max_batch_size)
                black = np.zeros((count, *self.classifier.shape), np.uint8)
                self.classifier.scores(black)
        except Exception as error:
            print(f"keras-resnet: {plain_message(error)}", file=sys.stderr, flush=True)
            logging.getLogger("litserve").setLevel(logging.CRITICAL)  # No traceback.
            raise
        self.pool: ThreadPoolExecutor = ThreadPoolExecutor(limits.cores())

    def batch(self, inputs: list[Query]) -> list[tuple[np.ndarray | Reply, bool]]:
        """Prepares the images of queries.

        Args:
            inputs: Queries.

        Returns:
            For each its images, uint8 ``(n, *shape)``, or the `Reply` to one that can't
            be answered; and whether it came row by row.
        """
        return [self._prepare(query) for query in inputs]

    def predict(self, x: list[tuple[np.ndarray | Reply, bool]]) -> list[Reply]:
        """Computes a `Reply` for each of the queries that `batch` prepared."""
        good = [images for images, _ in x if not isinstance(images, Reply)]
        if not good:
            return [reply for reply, _ in x]
        together = np.concatenate(good)
        try:
            parts = [
                self.classifier.scores(together[at : at + self.max_batch_size])
                for at in range(0, len(together), self.max_batch_size)
            ]
        except Exception as error:  # No memory on the GPU, and the like.
            logging.exception("The computation failed.")
            failed = Reply(
                500, rest.error(f"The computation failed: {plain_message(error)}")
            )
            return [i if isinstance(i, Reply) else failed for i, _ in x]
        names = self.classifier.class_names
        scores = np.concatenate(parts) if parts else np.zeros((0, len(names)))
        replies, at, batch = [], 0, len(together)
        for images, rows in x:
            if isinstance(images, Reply):
                replies.append(images)
                continue
            count = len(images)
            body = rest.answer(scores[at : at + count], names, rows)
            replies.append(Reply(200, body, count, batch))
            at, batch = at + count, 0
        return replies

    def _prepare(self, query):
        shape = self.classifier.shape
        try:
            images = query.images
            if isinstance(images, list):
                prepared = list(self.pool.map(self._decode, range(len(images)), images))
                images = np.stack(prepared) if images else np.zeros((0, *shape), "u1")
            if images.shape[1:] != shape:
                raise Refused(
                    400,
                    f"'images' must be of shape {('n', *shape)}. Received: "
                    f"{images.shape}.",
                )
        except Refused as refused:
            return Reply(refused.status, rest.error(refused.message)), query.rows
        except Exception as error:
            logging.exception("Preparing an image failed.")
            return Reply(
                500, rest.error(f"Preparing an image failed: {plain_message(error)}")
            ), False
        return images, query.rows

    def _decode(self, index, file):
        try:
            return np.asarray(self.classifier.prepare(file))
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
            images += len(query.images)
        return batch, []


def _picture():
    """A small image file."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def _end_with_parent():
    """Ends a worker whose server was killed."""
    parent_process().join()
    os._exit(1)
