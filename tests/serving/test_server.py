"""`keras-resnet serve` as its own process on loopback, by real requests."""

import base64
import concurrent.futures
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_resnet
from tests.helpers import serve_stub
from tests.helpers.bad_requests import bad_binary_requests, bad_bodies
from tests.helpers.open_inference import read_tensors, request_of_files
from tests.helpers.pictures import b64, picture
from tests.helpers.serve_stub import KILL, SLOW

pytest.importorskip("litserve")
server_module = pytest.importorskip("keras_resnet.serving.server")
pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="servers start with TensorFlow"
    ),
]
REPOSITORY = pathlib.Path(__file__).parents[2]
PAGE = "https://example.org"  # Whose web pages may ask the stub.
START = 300  # Seconds until it must answer, of a machine that does much else.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running server and what a client does with it."""

    def __init__(self, process, port, name, log):
        self.process, self.port, self.name, self.log = process, port, name, log

    def ask(self, method, path, body=None, headers=(), timeout=60):
        """Sends a request; returns status and body."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(link):
            link.request(method, path, body, dict(headers))
            response = link.getresponse()
            return response.status, response.read()

    def predict(self, body, **options):
        """Sends a `predict` request; returns status and parsed body."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/v1/models/{self.name}:predict"
        status, answer = self.ask("POST", path, body, **options)
        return status, json.loads(answer)

    def is_ready(self):
        with contextlib.suppress(OSError):
            return self.ask("GET", "/health")[0] == 200
        return False

    def wait(self):
        end = time.monotonic() + START
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(self.log.read_text())
            time.sleep(0.2)

    def family(self):
        """The process and its descendants that still run, by their ids."""
        ids = [self.process.pid]
        for parent in ids:
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                    ids += map(int, (task / "children").read_text().split())
        return [i for i in ids if running(i)]

    def memory(self):
        """Resident bytes of all its processes."""
        pages = 0
        for i in self.family():
            with contextlib.suppress(OSError):
                pages += int(pathlib.Path(f"/proc/{i}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name):
        status, text = self.ask("GET", "/monitoring/prometheus/metrics")
        assert status == 200
        found = re.search(rf"^{re.escape(name)} (\S+)$", text.decode(), re.M)
        return float(found[1]) if found else 0.0


def running(process_id):
    with contextlib.suppress(OSError):
        state = pathlib.Path(f"/proc/{process_id}/stat").read_text().rsplit(")")[1]
        return state.split()[0] != "Z"
    return False


@contextlib.contextmanager
def started(folder, name, *command):
    """Starts a server; stops it by SIGTERM, after which nothing may be left of it."""
    port = free_port()
    command = [part.replace("PORT", str(port)) for part in command]
    log = folder / "log.txt"
    # As a user starts it, who sees what TensorFlow logs, too.
    own = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**own, "PYTHONPATH": str(REPOSITORY)},
        )
    server = Server(process, port, name, log)
    try:
        server.wait()
        server.began = log.read_text()
        yield server
        if process.poll() is None:
            stop(server)
    finally:
        for each in server.family():
            os.kill(each, signal.SIGKILL)
        process.wait()


def stop(server):
    family = server.family()
    assert len(family) >= 4
    server.process.terminate()
    assert server.process.wait(120) == 0, server.log.read_text()
    wait_for_end(family)
    assert "Traceback" not in server.log.read_text()


def wait_for_end(family):
    """Python's tracker of resources ends a little after its parent."""
    end = time.monotonic() + 30
    while left := [each for each in family if running(each)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stub")
    command = ("tests.helpers.serve_stub", "PORT", "30", PAGE)
    with started(folder, "stub", *command) as server:
        yield server


def solid(colour, extra=b""):
    """A file of one colour; PNG readers pass over what follows."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(file, "PNG")
    return file.getvalue() + extra


def test_answers_are_those_of_tensorflow_serving(stub):
    body = {"instances": [b64(solid("red")), b64(solid("blue"))]}
    status, answer = stub.predict(body)
    assert status == 200
    assert [row["classes"][0] for row in answer["predictions"]] == ["red", "blue"]
    status, answer = stub.predict({"inputs": [b64(solid("lime"))]})
    assert answer["outputs"]["classes"][0][0] == "grün"
    pixels = np.full((2, 8, 8, 3), 9).tolist()
    body = {"signature_name": "images", "instances": pixels}
    assert len(stub.predict(body)[1]["predictions"]) == 2
    # As `curl -d` sends it, and to a version.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = json.dumps({"instances": [b64(solid("red"))]})
    status, _ = stub.ask("POST", "/v1/models/stub/versions/1:predict", body, form)
    assert status == 200
    assert stub.predict({"inputs": []}) == (
        200,
        {"outputs": {"classes": [], "probabilities": [], "scores": []}},
    )


def test_files_come_as_they_are_and_as_tensors(stub):
    path, raw = "/v1/models/stub:predict", {"Content-Type": "image/png"}
    status, body = stub.ask("POST", path, solid("blue"), raw)
    assert status == 200
    assert json.loads(body)["predictions"][0]["classes"][0] == "blue"
    assert stub.ask("POST", path, solid("blue")[:-30], raw)[0] == 400

    outputs = [{"name": "classes"}]
    files = [solid("red"), solid("lime")]
    document, binary = request_of_files(files, outputs=outputs)
    text = json.dumps(document).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    path = "/v2/models/stub/infer"
    status, body = stub.ask("POST", path, text + binary, length)
    assert status == 200
    assert read_tensors(body)["classes"][:, 0].tolist() == ["red", "grün"]
    document["outputs"] = [{"name": "nix"}]
    text = json.dumps(document).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    status, body = stub.ask("POST", path, text + binary, length)
    assert status == 400 and "no output 'nix'" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models/stub", 200, "AVAILABLE"),
        ("GET", "/v1/models/stub/versions/1", 200, "AVAILABLE"),
        ("GET", "/v1/models/other", 404, "Servable not found"),
        ("GET", "/v1/models/stub/versions/2", 404, "Specific(stub, 2)"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found"),
        ("POST", "/v1/models/stub/versions/7:predict", 404, "Servable not found"),
        ("GET", "/v1/models/stub:predict", 400, "Malformed request"),
        ("POST", "/v1/models/stub:classify", 400, "Malformed request"),
        ("DELETE", "/v1/models/stub", 400, "Malformed request"),
        ("GET", "/v1/models/stub/versions/" + "9" * 5000, 400, "Malformed request"),
        ("GET", "/health", 200, "ok"),
        ("GET", "/health/live", 200, "ok"),
        ("GET", "/health/ready", 200, "ok"),
        ("GET", "/metrics", 200, "keras_resnet_requests_total"),
        ("GET", "/v2", 200, "binary_tensor_data"),
        ("GET", "/v2/health/live", 200, "true"),
        ("GET", "/v2/health/ready", 200, "true"),
        ("GET", "/v2/models/stub/ready", 200, "true"),
        ("GET", "/v2/models/stub", 200, '"shape": [-1, 8, 8, 3]'),
        ("GET", "/v2/models/other", 404, "Servable not found"),
        ("GET", "/v2/models/stub/infer", 400, "Malformed request"),
    ],
)
def test_paths(stub, method, path, status, text):
    got = stub.ask(method, path)
    assert got[0] == status
    assert text in got[1].decode()


def test_one_bad_image_fails_its_own_request_and_not_the_batch(stub):
    before = stub.metric("keras_resnet_batch_images_count")
    good = {"instances": [b64(solid("blue", SLOW))]}
    bad = {"instances": [b64(solid("red")), b64(solid("red")[:-30] + SLOW)]}
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(stub.predict, [good, bad, good] * 4))
    assert [status for status, _ in answers] == [200, 400, 200] * 4
    assert "Image 1 can't be decoded" in answers[1][1]["error"]
    assert answers[0][1]["predictions"][0]["classes"][0] == "blue"
    # Eight images in fewer than eight batches: they were computed together.
    assert stub.metric("keras_resnet_batch_images_count") - before < 8


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"instances": [b64(solid("red"))] * 9}, 400, "may hold 8 images"),
        ({"instances": [b64(picture(size=(1025, 1024)))]}, 400, "may have 1048576"),
        (b" " * (2**20 + 1), 413, "A body may have 1048576 bytes"),
        (b" " * 2**23, 413, "A body may have 1048576 bytes"),
    ],
)
def test_limits(stub, body, status, text):
    got = stub.predict(body)
    assert got[0] == status
    assert text in got[1]["error"]


def test_a_body_in_chunks_has_limits_too(stub):
    link = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
    path = "/v1/models/stub:predict"
    with contextlib.closing(link):
        parts = iter([b"[" + b" " * 2**19] * 3)
        link.request("POST", path, parts, encode_chunked=True)
        assert link.getresponse().status == 413
    with contextlib.closing(link):
        text = json.dumps({"instances": [b64(solid("red"))]}).encode()
        link.request("POST", path, iter([text[:50], text[50:]]), encode_chunked=True)
        assert link.getresponse().status == 200


def test_packed_bodies_and_pages_of_other_origins(stub):
    body = json.dumps({"instances": [b64(solid("red"))]}).encode()
    packed = {"Content-Encoding": "gzip"}
    assert stub.predict(gzip.compress(body), headers=packed) == stub.predict(body)
    bomb = gzip.compress(bytes(2**26))
    assert stub.predict(bomb, headers=packed)[0] == 413
    assert stub.predict(body, headers={"Content-Encoding": "br"})[0] == 415
    path = "/v1/models/stub:predict"
    for origin, allowed in ((PAGE, PAGE), ("https://other.org", None)):
        link = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
        ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for method, headers in (("OPTIONS", ask), ("POST", {"Origin": origin})):
            with contextlib.closing(link):
                link.request(method, path, body, headers)
                answer = link.getresponse()
                found = answer.getheader("Access-Control-Allow-Origin")
                assert found == allowed
                assert answer.status == (200 if allowed or method == "POST" else 400)


def test_a_body_that_never_comes_gets_an_answer(stub):
    head = b"POST /v1/models/stub:predict HTTP/1.1\r\nHost: x\r\n"
    head += b"Content-Length: 900\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", stub.port), timeout=60) as link:
        link.sendall(head)
        assert b" 408 " in link.recv(1000)


def test_headers_that_never_come_leave_room_for_others(stub):
    half = [socket.create_connection(("127.0.0.1", stub.port)) for _ in range(50)]
    for link in half:
        link.sendall(b"POST /v1/models/stub:predict HTTP/1.1\r\nHost: x\r\n")
    assert stub.predict({"instances": [b64(solid("red"))]})[0] == 200
    for link in half:
        with link, contextlib.suppress(ConnectionResetError):
            link.settimeout(60)
            assert link.recv(100) == b""


def test_too_many_that_wait_are_told_so(stub):
    """Of 2 MiB that may wait; each of these has nearly 1 MiB."""
    spaces = b" " * (2**20 - 1000)
    body = spaces + json.dumps({"instances": [b64(solid("red", SLOW))]}).encode()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(stub.predict, [body] * 8))
    statuses = {status for status, _ in answers}
    assert statuses == {200, 503}
    assert stub.predict({"instances": [b64(solid("red"))]})[0] == 200  # Room again.


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"POST /v1/models/stub:predict HTTP/1.1\r\nContent-Length: -4\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"a" * 200_000 + b"\r\n\r\n",
        os.urandom(3000) + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_does_no_harm(stub, data):
    with socket.create_connection(("127.0.0.1", stub.port), timeout=60) as link:
        with contextlib.suppress(OSError):  # It may close before it has all.
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            assert link.recv(100)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")
    assert stub.predict({"instances": [b64(solid("red"))]})[0] == 200


def test_a_worker_that_dies_is_started_again(stub):
    ready = set()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(stub.predict, {"instances": [b64(solid("red", KILL))]})
        while not asked.done():
            ready.add(stub.ask("GET", "/health/ready")[0])
            assert stub.ask("GET", "/health/live")[0] == 200
            time.sleep(0.05)
    assert ready == {200, 503}
    status, answer = asked.result()
    assert status == 504
    assert "There was no answer in 8 s" in answer["error"]
    stub.wait()
    end = time.monotonic() + START
    while (got := stub.predict({"instances": [b64(solid("lime"))]}))[0] == 504:
        assert time.monotonic() < end
    assert got[1]["predictions"][0]["classes"][0] == "grün"


class Child:
    """A process of the program's own, or of the server's."""

    def __init__(self):
        self.killed = False

    def kill(self):
        self.killed = True


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_handlers_and_processes_of_the_program_stay(monkeypatch, handler):
    own, ours = Child(), Child()
    found = {}
    monkeypatch.setattr(server_module, "active_children", lambda: children)

    def run(self, **options):
        children.append(ours)
        found["in it"] = signal.getsignal(signal.SIGTERM)

    monkeypatch.setattr(server_module._Server, "run", run)
    children = [own]
    before = signal.signal(signal.SIGTERM, handler)
    try:
        server_module.serve(serve_stub.load, name="stub", port=free_port())
        assert signal.getsignal(signal.SIGTERM) == handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found["in it"] != handler
    assert ours.killed and not own.killed


def test_ctrl_c_ends_it_and_its_children(tmp_path):
    with started(tmp_path, "stub", "tests.helpers.serve_stub", "PORT", "30") as server:
        family = server.family()
        assert len(family) >= 4
        for each in family:  # As a terminal does it.
            os.kill(each, signal.SIGINT)
        assert server.process.wait(120) == 0
        wait_for_end(family)
        text = server.log.read_text()
        assert "Traceback" not in text
        assert text.startswith("Serving http://127.0.0.1:")


def refused_within_seconds(server):
    """New clients must not be let in to wait: load balancers ask whether it is ready."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        try:
            server.ask("GET", "/health/ready", timeout=0.5)
        except ConnectionRefusedError:
            return
        except OSError:  # It was let in just before.
            time.sleep(0.05)
    raise AssertionError("new connections are not refused")


@pytest.mark.parametrize(("drain", "answered"), [(30, True), (1, False)])
def test_running_requests_have_so_long_to_end(tmp_path, drain, answered):
    command = ("tests.helpers.serve_stub", "PORT", str(drain))
    with started(tmp_path, "stub", *command) as server:
        body = {"instances": [b64(solid("red", 30 * SLOW))]}  # Takes 6 s.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = pool.submit(server.predict, body)
            time.sleep(1)
            assert not asked.done()
            server.process.terminate()
            refused_within_seconds(server)
            assert not (answered and asked.done())
            assert server.process.wait(60) == 0
        good = asked.exception() is None and asked.result()[0] == 200
        assert good == answered


def test_ctrl_c_while_it_loads(tmp_path):
    log = tmp_path / "log.txt"
    command = [sys.executable, "-m", "tests.helpers.serve_stub", str(free_port()), "30"]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT
        )
    server = Server(process, 0, "stub", log)
    try:
        while len(server.family()) < 4:  # Itself, manager, tracker, worker.
            assert process.poll() is None
            time.sleep(0.01)
        family = server.family()
        for each in family:
            os.kill(each, signal.SIGINT)
        assert process.wait(120) == 0
        wait_for_end(family)
        assert "Traceback" not in log.read_text()
    finally:
        for each in server.family():
            os.kill(each, signal.SIGKILL)


def command_line(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "keras_resnet", "serve", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=START,
        **options,
    )


def test_a_port_in_use_is_one_line(stub, tmp_path):
    done = command_line(str(tmp_path), "--port", str(stub.port), "--name", "x")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Stop the program that uses it, or choose another port" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "example.org"], "`host` (--host) must be one of 127.0.0.1"),
        (["--port", "80"], "`port` (--port) must be from 1024 to 65535"),
        (["--max-batch", "0"], "`max_batch` (--max-batch) must be 1 or more"),
        (["--batch-timeout", "inf"], "`batch_timeout` from 0 to 3600"),
        (["--drain", "500ms"], "`drain` (--drain) must be a positive length of time"),
        (["--drain", "30"], "such as 90s, 10m or 2h. Received: drain='30'"),
        (["--drain", "0.5s"], "`drain` (--drain) must be from 1 to 3600 s"),
        (["--drain", "600h"], "must be from 1 to 3600 s. Received: drain=2.16e+06 s"),
        (["--name", "a/b"], "`name` (--name) must have no spaces"),
        (["--cors", "example.org"], "`cors` (--cors) must be an origin"),
    ],
)
def test_wrong_options_are_one_line(options, message, capsys, tmp_path):
    from keras_resnet.__main__ import main

    assert main(["serve", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("words", "seconds"), [([], 30), (["--drain", "2m"], 120)])
def test_the_time_to_drain_comes_to_the_server(words, seconds, monkeypatch, tmp_path):
    from keras_resnet.__main__ import main

    given = {}
    monkeypatch.setattr(
        server_module, "serve", lambda *_, **options: given.update(options)
    )
    monkeypatch.setattr("keras_resnet.cli.serving.to_serve", lambda run: tmp_path)
    assert main(["serve", str(tmp_path), *words]) == 0
    assert given["limits"].drain == seconds


def test_a_folder_without_a_run_says_so(tmp_path):
    done = command_line(str(tmp_path), "--port", str(free_port()), "--name", "x")
    assert done.returncode == 1
    assert "must hold a finished run" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def resnet(tmp_path_factory, request):
    """A server of ResNet-20 for photographs, and its run."""
    from dataclasses import asdict

    from keras_resnet import applications
    from keras_resnet.config.preprocessing import Preprocessing

    keras.utils.set_random_seed(0)
    prepare = Preprocessing(
        channels=3,
        resize=36,
        size=(32, 32),
        mean=(125.0, 123.0, 114.0),
        std=(63.0, 62.0, 67.0),
    )
    folder = tmp_path_factory.mktemp("run")
    model = applications.create("resnet20", classes=10)
    # Not the equal answers of a net that is not trained.
    head = model.layers[-1]
    head.set_weights([7 * weight for weight in head.get_weights()])
    model.save(folder / "model.keras")
    source = {
        "network": "resnet20",
        "classes": [f"class {i}" for i in range(10)],
        "preprocessing": asdict(prepare),
        "source": "none",
    }
    (folder / "source.json").write_text(json.dumps(source))
    command = ("keras_resnet", "serve", str(folder), "--port", "PORT", "--name", "net")
    with started(folder, "net", *command) as server:
        yield server, keras_resnet.load(folder)


def photographs(shared_data):
    return sorted((shared_data / "imagenet_samples").glob("*.JPEG"))


def check(answer, expected):
    """An answer's best classes and probabilities are those of `Run.predict`."""
    got = answer["predictions"][0]
    np.testing.assert_allclose(
        got["probabilities"], [share for _, share in expected], atol=1e-4
    )
    by_name = dict(expected)
    for name, share in zip(got["classes"], got["probabilities"], strict=True):
        assert by_name[name] == pytest.approx(share, abs=1e-4)


def request_for(path):
    file = base64.b64encode(path.read_bytes()).decode()
    return {"instances": [{"image_bytes": {"b64": file}}]}


def test_it_starts_with_one_line(resnet):
    server, _ = resnet
    address = f"http://127.0.0.1:{server.port}/v1/models/net:predict"
    assert server.began == f"Serving {address} (Ctrl-C stops)\n"


def test_photographs_get_the_answers_of_the_run(resnet, shared_data):
    server, run = resnet
    paths = photographs(shared_data)
    assert len(paths) == 200
    expected = run.predict(paths, top=5)
    assert len({answer[0][0] for answer in expected}) > 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.predict, map(request_for, paths)))
    for (status, answer), right in zip(answers, expected, strict=True):
        assert status == 200
        check(answer, right)


def test_malformed_requests_do_no_harm(resnet, shared_data):
    """2,000 of them; each gets a client's error or an answer, good ones theirs.

    After 200 of them, which warm it up, the server may grow by 200 MiB: of bodies of
    16 MiB eight are sent at once.
    """
    server, run = resnet
    good = photographs(shared_data)[0]
    expected = run.predict([good], top=5)[0]
    wanted = request_for(good)

    def ask(numbered):
        number, (name, body) = numbered
        if number % 20 == 0:
            status, answer = server.predict(wanted)
            assert status == 200
            check(answer, expected)
        status, answer = server.predict(body)
        return name, status, answer

    bodies = list(bad_bodies(2000))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, enumerate(bodies[:200])))
        before = server.memory()
        answers = list(pool.map(ask, enumerate(bodies)))
        growth = server.memory() - before
    wrong = [
        a for a in answers if a[1] not in ((413,) if a[0] == "huge" else (200, 400))
    ]
    assert not wrong, wrong[:3]
    refused = [answer for _, status, answer in answers if status != 200]
    assert all(set(answer) == {"error"} for answer in refused)
    assert len(refused) > 1000
    assert any(status == 200 for name, status, _ in answers if name == "rare")
    print(f"{len(refused)} refused, memory grew by {growth / 2**20:.0f} MiB")
    assert growth < 200 * 2**20
    assert "Traceback" not in server.log.read_text()


def test_malformed_binary_requests_do_no_harm(resnet, shared_data):
    """500 of them; each gets a client's error or an answer, good ones theirs."""
    server, run = resnet
    good = photographs(shared_data)[0]
    expected = run.predict([good], top=5)[0]
    start = f"/v1/models/{server.name}", f"/v2/models/{server.name}"

    def ask(numbered):
        number, (name, end, body, headers) = numbered
        if number % 20 == 0:
            jpeg = {"Content-Type": "image/jpeg"}
            path = f"{start[0]}:predict"
            status, answer = server.ask("POST", path, good.read_bytes(), jpeg)
            assert status == 200
            check(json.loads(answer), expected)
        path = start[end == "/infer"] + end
        status, answer = server.ask("POST", path, body, headers)
        return name, status, json.loads(answer)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, enumerate(bad_binary_requests(500))))
    wrong = [answer for answer in answers if answer[1] not in (200, 400)]
    assert not wrong, wrong[:3]
    refused = [answer for _, status, answer in answers if status == 400]
    assert all(set(answer) == {"error"} for answer in refused)
    assert 250 < len(refused) < 500
    assert "Traceback" not in server.log.read_text()


def test_many_clients_lose_nothing(resnet, shared_data):
    from benchmarks import serve as benchmark

    server, _ = resnet
    files = [path.read_bytes() for path in photographs(shared_data)[:40]]
    address = f"http://127.0.0.1:{server.port}"
    for way in benchmark.WAYS:
        result = benchmark.load(address, files, clients=64, seconds=8, way=way)
        print(result)
        assert result["lost"] == 0
        assert result["answered"] >= 64  # Each client once at least.
