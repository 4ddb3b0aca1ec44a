"""Requests that no server should fall over, for tests and benchmarks."""

import base64
import functools
import io
import json
import random
import struct

import numpy as np

from tests.helpers.open_inference import request_of_files
from tests.helpers.pictures import (
    b64,
    gif_header,
    jpeg_header,
    picture,
    png_header,
)


def _noise(size):
    from PIL import Image

    pixels = np.random.default_rng(0).normal(128, 80, size[::-1])
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))


@functools.cache
def many_scans(format_="JPEG"):
    """A progressive JPEG of 512 scans; as an MPO, one with a second picture behind."""
    noise = _noise((60, 50))
    file = io.BytesIO()
    more = {"save_all": True, "append_images": [noise]} if format_ == "MPO" else {}
    noise.save(file, format_, progressive=True, **more)
    data = file.getvalue()
    start = data.rindex(b"\xff\xda", 0, data.index(b"\xff\xd9"))
    end = data.index(b"\xff\xd9")
    return data[:start] + data[start:end] * 512 + data[end:]


@functools.cache
def real_picture(format_, mode, size=(60, 50)):
    """An image with detail, so that cutting and changing its bytes matters."""
    from PIL import Image

    noise = _noise(size)
    file = io.BytesIO()
    if mode == "I;16":
        noise = Image.frombytes(
            "I;16", size, noise.resize((size[0] * 2, size[1])).tobytes()
        )
    else:
        noise = noise.convert(mode)
    options = (
        {"save_all": True, "append_images": [noise] * 3} if format_ == "GIF" else {}
    )
    noise.save(file, format_, **options)
    return file.getvalue()


FILES = [
    ("JPEG", "RGB"),
    ("JPEG", "L"),
    ("JPEG", "CMYK"),
    ("PNG", "RGB"),
    ("PNG", "RGBA"),
    ("PNG", "P"),
    ("PNG", "LA"),
    ("PNG", "1"),
    ("PNG", "I;16"),
    ("GIF", "P"),
    ("WEBP", "RGB"),
    ("WEBP", "RGBA"),
    ("BMP", "RGB"),
    ("BMP", "P"),
    ("BMP", "1"),
]


def changed(file, chance):
    """A file with some of its bytes changed."""
    data = bytearray(file)
    for _ in range(chance.choice((1, 3, 20))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def bad_bytes(chance):
    """Bytes that are no image, or one of a rare kind, and what they are."""
    kind = chance.randrange(8)
    file = real_picture(*chance.choice(FILES))
    if kind == 0:
        return "truncated", file[: chance.randrange(len(file))]
    if kind == 1:
        return "changed", changed(file, chance)
    if kind == 2:
        scans = many_scans, functools.partial(many_scans, "MPO")
        return "rare", chance.choice(scans)() if chance.random() < 0.1 else file
    if kind == 3:
        return "random bytes", chance.randbytes(chance.choice((0, 1, 9, 300, 20_000)))
    if kind == 4:
        sizes = chance.choice(((0, 0), (20_000, 20_000), (65_500, 65_500), (0, 9)))
        return "header", chance.choice((png_header, jpeg_header, gif_header_of))(*sizes)
    if kind == 5:
        frames = [(chance.randrange(70), chance.randrange(70)) for _ in range(5)]
        return "GIF", gif_header(*frames)
    if kind == 6:
        start = chance.choice((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"))
        return "random behind a magic number", start + chance.randbytes(200)
    head = bytearray(picture("BMP"))
    struct.pack_into("<ii", head, 18, chance.choice((-5, 2**31 - 1, 30)), -(2**31))
    return "BMP of strange sizes", bytes(head)


def gif_header_of(width, height):
    return gif_header((width, height))


def bad_body(chance):
    """The body of a `predict` request that is wrong or odd, and what it is."""
    kind = chance.randrange(10)
    if kind < 6:
        name, file = bad_bytes(chance)
        form = chance.randrange(3)
        document = (
            {"instances": [b64(file)]},
            {"inputs": {"image_bytes": [b64(file)]}},
            {
                "instances": [
                    {"image_bytes": b64(picture())},
                    {"image_bytes": b64(file)},
                ]
            },
        )[form]
        return name, json.dumps(document).encode()
    if kind == 6:
        good = json.dumps({"instances": [b64(picture())]}).encode()
        return "invalid JSON", chance.choice(
            (
                good[: chance.randrange(len(good))],
                b"",
                b"[" * 50_000,
                b'{"instances": ' + b"7" * 9000 + b"}",
                b"\xff\xfe" + good,
                changed(good, chance),
                b'{"a": ' * 20_000,
                b"[" + b"[]," * 100_000 + b"[]]",
            )
        )
    if kind == 7:
        text = base64.b64encode(picture()).decode()
        wrong = chance.choice(
            ("*" + text, text[:-3] + "=", "äöü", "=", text + "A", "A")
        )
        return "wrong base64", json.dumps({"instances": [{"b64": wrong}]}).encode()
    if kind == 8:
        wrong = chance.choice(
            (
                1.5,
                [[1]],
                [[[1.5]]],
                [[["a"]]],
                [[[300]]],
                [[[-1]]],
                [[[1e999]]],
                None,
                {},
                [[[1, 2, 3]] * 7] * 9,
                [[[0] * 3] * 3, [[0] * 3] * 2],
                [[[10**40]]],
                [[["a" * 100_000, *[""] * 1000]]],
            )
        )
        document = {"signature_name": "images", "instances": [wrong]}
        return "wrong dtype or shape", json.dumps(document).encode()
    document = chance.choice(
        (
            {"signature_name": "nix", "instances": [b64(picture())]},
            {"signature_name": ["images"], "instances": [1]},
            {"instances": [b64(picture())], "inputs": []},
            {"instances": [[b64(picture())]]},
            {"instances": [b64(picture())] * 5000},
            {"inputs": [[]]},
            {"inputs": None},
            {},
            [],
            None,
            "instances",
        )
    )
    return "wrong document", json.dumps(document).encode()


def bad_bodies(count, seed=0):
    """Yields pairs of what it is and a body, always the same ones; some are huge."""
    chance = random.Random(seed)
    for number in range(count):
        yield ("huge", b" " * (17 * 2**20)) if number % 200 == 7 else bad_body(chance)


def bad_binary_request(chance):
    """A request that holds bytes beside JSON, wrong or odd: path, body and headers."""
    name, file = bad_bytes(chance)
    kind = chance.randrange(8)
    if kind < 3:
        types = "image/jpeg", "application/octet-stream", "image/", "application/json"
        return name, ":predict", file, {"Content-Type": chance.choice(types)}
    document, binary = request_of_files([picture(), file][chance.randrange(2) :])
    text = json.dumps(document).encode()
    length = str(len(text))
    if kind == 4:
        name = "wrong length of JSON"
        length = chance.choice(("0", "-1", "", "1e9", "9" * 400, "7", str(10**9)))
    if kind == 5:
        name = "wrong binary data"
        binary = chance.choice(
            (
                binary[:-1],
                b"",
                b"\xff" * 9,
                binary + b"\x00" * 4,
                changed(binary, chance),
            )
        )
    if kind == 6:
        name = "wrong JSON before binary data"
        text = changed(text, chance)
    if kind == 7:
        name = "wrong shape"
        shape = chance.choice(([], [-1], [10**30], [2, 2], "1", None, [[1]], [1.0]))
        tensor = {**document["inputs"][0], "shape": shape}
        pixels = {**tensor, "name": "images", "datatype": "UINT8"}
        text = json.dumps({"inputs": [chance.choice((tensor, pixels))]}).encode()
        length = str(len(text))
    headers = {"Inference-Header-Content-Length": length}
    return name, "/infer", text + binary, headers


def bad_binary_requests(count, seed=0):
    """Yields what it is, the end of its path, a body and headers; always the same ones."""
    chance = random.Random(seed)
    for _ in range(count):
        yield bad_binary_request(chance)
