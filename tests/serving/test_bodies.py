"""Bodies that come packed, and pages of other origins, by the server's own functions."""

import asyncio
import gzip
import json
import zlib

import pytest

pytest.importorskip("litserve")

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from keras_resnet.cli.parser import parser
from keras_resnet.serving import bodies, server
from keras_resnet.serving.endpoints import Endpoints
from keras_resnet.serving.queries import RequestLimits
from keras_resnet.serving.worker import Reply
from tests.helpers.pictures import picture

BODY = json.dumps({"signature_name": "images", "inputs": [[[[1]]]]}).encode()
LIMITS = RequestLimits(body=2**16, pending=2**17)


def asked(
    spec,
    body,
    *codings,
    chunks=1,
    pending=0,
    method="POST",
    path="/v1/models/net:predict",
    **given,
):
    """What a served model answers to a body with these ``Content-Encoding`` headers."""
    step = -(-len(body) // chunks) or 1
    parts = [body[i : i + step] for i in range(0, len(body), step)] or [b""]

    async def receive():
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    headers = [(b"content-length", str(len(body)).encode())] if chunks == 1 else []
    headers += [(b"content-encoding", coding.encode()) for coding in codings]
    headers += [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    answer = asyncio.run(spec.respond(Request(scope, receive)))
    assert spec.pending == pending  # As before.
    return answer


@pytest.fixture
def spec(monkeypatch):
    """A server's side that answers how many bytes it would have wait."""
    pytest.importorskip("prometheus_client")
    spec = Endpoints("net", LIMITS)

    async def answer(query):
        return Reply(200, str(spec.pending).encode())

    monkeypatch.setattr(spec, "_ask", answer)
    return spec


@pytest.mark.parametrize(
    ("codings", "pack"),
    [
        ((), bytes),
        (("identity",), bytes),
        (("",), bytes),
        (("gzip",), gzip.compress),
        (("GZip",), gzip.compress),
        (("x-gzip",), gzip.compress),
        (("identity", "gzip"), gzip.compress),
        # As `cat a.gz b.gz` makes it.
        (("gzip",), lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    ],
)
@pytest.mark.parametrize("chunks", [1, 3])
def test_a_packed_body_is_answered_as_the_plain_one(spec, codings, pack, chunks):
    got = asked(spec, pack(BODY), *codings, chunks=chunks)
    assert (got.status_code, got.body) == (200, str(len(BODY)).encode())


@pytest.mark.parametrize(
    "codings", [("br",), ("deflate",), ("zstd",), ("gzip, gzip",), ("gzip", "br")]
)
def test_other_packings_are_refused_by_what_would_do(spec, codings):
    got = asked(spec, zlib.compress(BODY), *codings)
    assert got.status_code == 415
    assert "packed by gzip" in json.loads(got.body)["error"]
    assert got.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "body",
    [BODY, b"", gzip.compress(BODY)[:-1], gzip.compress(BODY)[:-8] + bytes(8)],
    ids=["plain", "empty", "cut off", "other checksum"],
)
def test_what_is_no_whole_gzip_file_is_said_to_be_none(spec, body):
    got = asked(spec, body, "gzip")
    if not body:  # As of an empty body that isn't packed.
        assert (got.status_code, got.body) == (400, asked(spec, body).body)
        return
    assert got.status_code == 400
    assert "can't be unpacked by gzip" in json.loads(got.body)["error"]


def test_a_body_of_the_limit_passes_unpacked_and_no_more(spec):
    spaces = LIMITS.body - len(BODY)
    assert asked(spec, gzip.compress(b" " * spaces + BODY), "gzip").status_code == 200
    got = asked(spec, gzip.compress(b" " * (spaces + 1) + BODY), "gzip")
    assert got.status_code == 413
    assert "65536 bytes, unpacked too" in json.loads(got.body)["error"]


def test_no_more_is_unpacked_than_the_limit(monkeypatch):
    unpacked = []

    class Counted(gzip.GzipFile):
        def read(self, size=-1):
            unpacked.append(size)
            return super().read(size)

    monkeypatch.setattr(bodies.gzip, "GzipFile", Counted)
    bomb = gzip.compress(bytes(50 * LIMITS.body))
    with pytest.raises(bodies.Refused) as refused:
        bodies.unpack(bomb, LIMITS)
    assert refused.value.status == 413
    assert unpacked == [LIMITS.body + 1]


def test_a_packed_body_takes_the_room_of_the_largest(spec):
    """It may become as large, and what waits has a limit together."""
    spec.pending = held = LIMITS.pending - LIMITS.body + 1
    assert asked(spec, BODY, pending=held).status_code == 200
    assert asked(spec, gzip.compress(BODY), "gzip", pending=held).status_code == 503


# --- Image files as they are ----------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("image/png", picture(), 200),
        ("Image/JPEG; q=1", picture(), 200),  # What it is, its own bytes say.
        ("application/octet-stream", picture(), 200),
        ("application/octet-stream", b" " + BODY, 200),
        ("application/json", picture(), 400),
        ("image/png", BODY, 400),
        ("image/png", b"", 400),
        ("application/octet-stream", b"\x00" * 99, 400),
        ("image/png", picture(size=(300, 300))[:-40], 200),  # The worker refuses it.
    ],
)
def test_a_body_may_be_an_image_file(spec, content_type, body, status):
    got = asked(spec, body, content_type=content_type)
    assert got.status_code == status
    if status == 400:
        message = json.loads(got.body)["error"]
        assert ("JPEG, PNG" in message) == (content_type != "application/json")


def test_an_image_file_may_come_packed(spec):
    got = asked(spec, gzip.compress(picture()), "gzip", content_type="image/png")
    assert got.status_code == 200


# --- Pages of other origins ----------------------------------------------------------


def preflight(origins, origin, **headers):
    """Status and headers that a browser gets before it sends a page's request."""
    given = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,content-encoding",
    } | headers
    sent = []

    async def send(message):
        sent.append(message)

    async def application(scope, receive, send):
        raise AssertionError("A preflight request is the middleware's.")

    kind, options = server._answers_pages_of(origins)
    assert kind is CORSMiddleware
    scope = {
        "type": "http",
        "method": "OPTIONS",
        "path": "/v1/models/net:predict",
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    asyncio.run(kind(application, **options)(scope, None, send))
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found


def test_a_page_of_an_origin_that_is_let_in_may_ask():
    status, found = preflight(["https://a.org", "http://b"], "http://b")
    assert status == 200
    assert found["access-control-allow-origin"] == "http://b"
    assert "POST" in found["access-control-allow-methods"]
    assert found["access-control-allow-headers"] == "content-type,content-encoding"
    assert preflight(["*"], "https://any.where")[0] == 200
    # Without it a page can't tell the JSON of a binary answer from its data.
    _, options = server._answers_pages_of(["http://b"])
    assert options["expose_headers"] == ["Inference-Header-Content-Length"]
    status, found = preflight(["https://a.org"], "https://other.org")
    assert status == 400
    assert "access-control-allow-origin" not in found


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://a.org", "http://localhost:3000", "http://[::1]:8"]
)
def test_origins(origin):
    server._check_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "a.org",
        "https://a.org/",
        "https://A.org",
        "https://a.org:443",
        "http://a.org:80",
        "https://a.org/page",
        "https://*.a.org?",
        "",
    ],
)
def test_what_no_browser_calls_an_origin_is_refused(origin):
    with pytest.raises(ValueError, match="as browsers send it, .* Received: '"):
        server.serve(None, name="net", cors=[origin])


def test_no_page_may_ask_unless_its_origin_is_named(spec):
    assert parser().parse_args(["serve", "run"]).cors == []
    got = asked(spec, b"", method="OPTIONS")
    assert got.status_code == 400
    assert "access-control-allow-origin" not in got.headers
