"""Connections that wait for a request's headers: in uvicorn, without a model."""

import socket
import threading
import time

import pytest

uvicorn = pytest.importorskip("uvicorn")

from keras_resnet.serving.connections import bounded_headers  # noqa: E402

SECONDS = 0.4
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


async def answer(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    head = {"status": 200, "headers": [(b"content-length", b"2")]}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port():
    config = uvicorn.Config(
        answer,
        port=0,
        http=bounded_headers(SECONDS),
        lifespan="off",
        log_level="error",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def link(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        yield opened


def seconds_until_closed(link):
    begin = time.monotonic()
    try:
        assert link.recv(100) == b""
    except ConnectionResetError:
        pass
    return time.monotonic() - begin


@pytest.mark.parametrize("sent", [b"", b"P", REQUEST[:-2]])
def test_headers_that_do_not_come_close_the_connection(link, sent):
    link.sendall(sent)
    assert SECONDS / 2 < seconds_until_closed(link) < 10 * SECONDS


def test_headers_that_trickle_get_no_more_time(link):
    begin = time.monotonic()
    try:
        for byte in REQUEST[:-2]:
            link.sendall(bytes([byte]))
            time.sleep(SECONDS / 8)
    except OSError:
        pass
    assert time.monotonic() - begin < 4 * SECONDS


def test_the_headers_of_a_further_request_are_bounded_too(link):
    link.sendall(REQUEST + b"{}")
    assert b" 200 " in link.recv(1000)
    link.sendall(REQUEST[:20])
    assert seconds_until_closed(link) < 10 * SECONDS


def test_a_body_may_take_longer_than_headers(link):
    link.sendall(REQUEST + b"{")
    time.sleep(2 * SECONDS)
    link.sendall(b"}")
    assert b" 200 " in link.recv(1000)
