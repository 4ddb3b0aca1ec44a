"""Reads the bodies of requests, packed or not, within the limits of size and time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import zlib

from fastapi import Request

from keras_resnet.serving.queries import Refused, RequestLimits


def is_gzip(request: Request) -> bool:
    """Whether a request's body comes packed, by its ``Content-Encoding``.

    Raises:
        Refused: With status 415 if it is packed in another way than by gzip.
    """
    given = ",".join(request.headers.getlist("content-encoding")).lower()
    codings = [one.strip() for one in given.split(",")]
    codings = [one for one in codings if one not in ("", "identity")]
    if codings in ([], ["gzip"], ["x-gzip"]):
        return bool(codings)
    raise Refused(
        415,
        "A body may be packed by gzip, once. Received: 'Content-Encoding: "
        f"{given[:80]}'. Send it with gzip, or as it is.",
    )


def is_file(request: Request, body: bytes) -> bool:
    """Whether a body is an image file itself, by its ``Content-Type``.

    JSON that was sent as ``application/octet-stream`` stays JSON: no image begins so.
    """
    given = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if given == "application/octet-stream":
        return not body.lstrip().startswith(b"{")
    return given.startswith("image/")


async def read(request: Request, limits: RequestLimits) -> bytes:
    """Reads a body as it was sent.

    Raises:
        Refused: With status 413 if it is too long, 408 if it takes too much time.
    """
    chunks, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limits.body:
                    raise too_long(limits)
    except TimeoutError:
        raise Refused(408, f"The body took over {limits.seconds:g} s.") from None
    return b"".join(chunks)


def unpack(body: bytes, limits: RequestLimits) -> bytes:
    """Unpacks a body that was packed by gzip, and no more of it than the limit allows.

    A kilobyte may unpack to a megabyte. It ends at the first byte beyond the limit.

    Raises:
        Refused: With status 413 if more comes out than a body may have, 400 if the body is
            no whole gzip file.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unpacked = file.read(limits.body + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(400, f"The body can't be unpacked by gzip: {error}") from None
    if len(unpacked) > limits.body:
        raise too_long(limits)
    return unpacked


async def discard(request: Request, limits: RequestLimits) -> None:
    """Reads on, so that clients that send first and listen then hear the answer."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > 4 * limits.body:
                    return


def too_long(limits: RequestLimits) -> Refused:
    """The answer to a body that is too long, as it was sent or unpacked."""
    return Refused(
        413,
        f"A body may have {limits.body} bytes, unpacked too. Send the images in several "
        "requests.",
    )
