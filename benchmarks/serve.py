"""`keras-resnet serve` under many clients, beside a plain loop of the same form.

    python -m benchmarks.serve FOLDER_OF_JPEG_FILES [--only keras saved_model …]

A network of random weights (the time does not depend on them) is served as a run, by
Keras, and in each form that can be exported. For each, three ways take turns: a loop in
one process that decodes files in batches on all cores and computes them, 64 clients of
the server that send a file in base64 in JSON, and 64 that send it as a binary tensor and
get binary tensors. Loop and server stay loaded, are on the same cores and read the same
files. Clients are threads of another process, on the same cores too; each sends a file as
soon as the answer to its last one came. So latency is 64 divided by the throughput, and
where that is under 2.2 images/s, requests take over the server's 30 s and are lost.

Writes results/serve.json after each form, and keeps what it holds of the others: images
per second, how many times the loop's (the goal is 0.9), requests answered and lost, median
and 99th percentile of the latency, every round, and the share of time that the machine's
cores were idle before the form was loaded. Needs `keras-residual[serve,export]`.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import functools
import http.client
import itertools
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import asdict

import numpy as np

from benchmarks import serving

RESULTS = pathlib.Path(__file__).parent / "results" / "serve.json"
MODEL = "net"  # Its name in paths.
KERAS = "keras"
FORMS = (KERAS, *serving.FORMS)
BATCH = 32  # Of the loop and of the server.
GOAL = 0.9  # Of the loop's speed.


# --- Clients --------------------------------------------------------------------------


def in_json(file):
    """Path, body and headers of a request that holds a file in base64."""
    body = json.dumps({"instances": [{"b64": base64.b64encode(file).decode()}]})
    return f"/v1/models/{MODEL}:predict", body.encode(), {}


def in_binary(file):
    """Those of one that holds it as a binary tensor, and wants such an answer."""
    data = len(file).to_bytes(4, "little") + file
    tensor = {"name": "image_bytes", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(data)}
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    text = json.dumps(document).encode()
    length = {"Inference-Header-Content-Length": str(len(text))}
    return f"/v2/models/{MODEL}/infer", text + data, length


WAYS = {"json": in_json, "binary": in_binary}


def is_good(response):
    """Whether a response holds an answer; reads it."""
    body = response.read()
    length = response.getheader("Inference-Header-Content-Length")
    document = json.loads(body[: int(length)] if length else body)
    return response.status == 200 and (
        "predictions" in document or "outputs" in document
    )


def load(address, files, *, clients, seconds, way="json"):
    """Lets clients ask for a time.

    Args:
        address: Of a server on this machine, ``http://host:port``.
        files: Bytes of image files, of which each request gets one in turn.
        clients: Threads, each with one connection and one request at a time.
        seconds: For which they go on.
        way: Key of `WAYS`.

    Returns:
        A dictionary: clients, answered, lost (errors and broken connections),
        images_per_second, p50_ms, p99_ms.
    """
    requests = [WAYS[way](file) for file in files]
    parts = urllib.parse.urlsplit(address)
    begin = time.perf_counter()

    def client(index):
        times, lost = [], 0
        link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        while time.perf_counter() < begin + seconds:
            start = time.perf_counter()
            path, body, headers = requests[(index + len(times)) % len(requests)]
            try:
                link.request("POST", path, body, headers)
                good = is_good(link.getresponse())
            except (OSError, http.client.HTTPException, ValueError):
                good = False
                link.close()
            if good:
                times.append(time.perf_counter() - start)
            else:
                lost += 1
        link.close()
        return times, lost

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(client, range(clients)))
    elapsed = time.perf_counter() - begin
    times = sorted(1000 * t for times, _ in results for t in times)
    hundredths = statistics.quantiles(times, n=100) if len(times) > 1 else [0] * 99
    return {
        "clients": clients,
        "answered": len(times),
        "lost": sum(lost for _, lost in results),
        "seconds": round(elapsed, 1),
        "images_per_second": round(len(times) / elapsed, 1),
        "p50_ms": round(hundredths[49]),
        "p99_ms": round(hundredths[98]),
    }


# --- What is served, and the loop beside it --------------------------------------------


def write_run(model, folder, network, prepare):
    """A network as `keras-resnet convert` would leave it."""
    folder.mkdir()
    model.save(folder / "model.keras")
    source = {
        "network": network,
        "classes": [f"class {i}" for i in range(model.output_shape[-1])],
        "preprocessing": asdict(prepare),
    }
    (folder / "source.json").write_text(json.dumps(source))


@contextlib.contextmanager
def served(folder, *options):
    """A server of a run or an export in its own process; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "keras_resnet", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--name", MODEL, "--port", str(port), *options]
    )
    link = http.client.HTTPConnection("127.0.0.1", port)
    try:
        while True:
            with contextlib.suppress(OSError), contextlib.closing(link):
                link.request("GET", "/health")
                if link.getresponse().status == 200:
                    break
            if process.poll() is not None:
                raise RuntimeError("The server did not start; it says why above.")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@functools.cache
def _servable(folder):
    """What the server's worker would load."""
    from keras_resnet.runs.servable import servable

    return servable(folder)


def loop(folder, files, seconds):
    """Images per second of a plain loop, without a server."""
    from keras_resnet.devices import limits

    served = _servable(folder)
    turn = itertools.cycle(files)
    with concurrent.futures.ThreadPoolExecutor(limits.cores()) as pool:

        def batch():
            some = list(itertools.islice(turn, BATCH))
            served.scores(np.stack(list(pool.map(served.prepare, some))))

        batch()  # The first one compiles.
        count, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds or not count:
            batch()
            count += BATCH
    return round(count / elapsed, 1)


@contextlib.contextmanager
def looped(folder, files):
    """`loop` in a process of its own; yields a function of seconds."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        yield lambda seconds: pool.submit(loop, str(folder), files, seconds).result()


def idle(seconds=5):
    """The share of the cores' time in which they had nothing to do (Linux)."""

    def jiffies():
        line = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        numbers = list(map(int, line))
        return numbers[3] + numbers[4], sum(numbers)

    before = jiffies()
    time.sleep(seconds)
    after = jiffies()
    return round((after[0] - before[0]) / (after[1] - before[1]), 2)


# --- Rounds ---------------------------------------------------------------------------


def measure(folder, files, options):
    """Times the loop and the server in turns; returns the rounds."""
    server = served(folder, "--max-batch", str(BATCH))
    with server as address, looped(folder, files) as by_loop:
        ask = functools.partial(load, address, files)
        by_loop(0)  # Warm.
        for way in WAYS:
            ask(clients=2, seconds=min(5, options.seconds), way=way)
        rounds = []
        for _ in range(options.rounds):
            timed = {"loop": by_loop(options.seconds)}
            for way in WAYS:
                timed[way] = ask(
                    clients=options.clients, seconds=options.seconds, way=way
                )
            rounds.append(timed)
            print(json.dumps(timed), flush=True)
    return rounds


def summary(rounds):
    """What the rounds of a form say together.

    Speeds, ratios and medians of the latency are medians over the rounds, the 99th
    percentile is that of the slowest round.
    """
    result = {"loop": statistics.median(each["loop"] for each in rounds)}
    for way in WAYS:
        of = [each[way] for each in rounds]
        ratios = [each[way]["images_per_second"] / each["loop"] for each in rounds]
        result[way] = {
            "images_per_second": statistics.median(
                one["images_per_second"] for one in of
            ),
            "ratio_to_loop": round(statistics.median(ratios), 3),
            "answered": sum(one["answered"] for one in of),
            "lost": sum(one["lost"] for one in of),
            "p50_ms": statistics.median(one["p50_ms"] for one in of),
            "p99_ms": max(one["p99_ms"] for one in of),
        }
    return {**result, "rounds": rounds}


def keep(form, result):
    """Writes a form's result beside those of others."""
    forms = json.loads(RESULTS.read_text())["forms"] if RESULTS.exists() else {}
    forms[form] = result
    forms = {name: forms[name] for name in FORMS if name in forms}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"goal": GOAL, "forms": forms}, indent=2) + "\n")


def main(arguments=None):
    """Runs the benchmark and writes its results, form by form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30, help="of each turn (30)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=FORMS, metavar="FORM")
    options = parser.parse_args(arguments)
    # Before TensorFlow is imported, as the command line sets it.
    os.environ.setdefault(serving.ONEDNN, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    from keras_resnet import applications
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.preprocessing import default_preprocessing
    from keras_resnet.runs import environment

    found = sorted(options.folder.glob("*.JPEG"))[:200]
    files = [path.read_bytes() for path in found]
    keras.utils.set_random_seed(0)
    model = applications.create(options.network)
    prepare = default_preprocessing(ARCHITECTURES[options.network])
    for form in options.only or FORMS:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / MODEL
            if form == KERAS:
                write_run(model, folder, options.network, prepare)
            else:
                serving.export(model, folder, form, prepare)
            described = {
                "date": time.strftime("%Y-%m-%d"),
                **environment.describe(),
                "network": options.network,
                "files": len(files),
                "clients": options.clients,
                "seconds": options.seconds,
                "idle_before": idle(),
                "niceness": os.nice(0),
            }
            rounds = measure(folder, files, options)
        keep(form, {**described, **summary(rounds)})


if __name__ == "__main__":
    main()
