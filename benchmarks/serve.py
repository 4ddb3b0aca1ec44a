"""Latency of `keras-resnet serve` under many clients at once.

    python -m benchmarks.serve FOLDER_OF_JPEG_FILES [--network resnet18] [--seconds 60]

Starts the server as its own process on loopback with a network of random weights (the
time does not depend on them), and lets 64 clients, threads of another process, send one
JPEG file each as soon as the answer to the last one came. Writes results/serve.json:
requests answered and lost, images per second, the median and the 99th percentile of the
latency, and the share of time that the machine's cores were idle before the server was
started. Seconds in the server's queue are most of it: with 64 clients that never rest,
latency is 64 divided by the throughput. Where that is under 2.2 images/s, requests take
over the server's 30 s and are lost.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import http.client
import json
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

RESULTS = pathlib.Path(__file__).parent / "results" / "serve.json"


def load(url, files, *, clients, seconds):
    """Lets clients ask for a time.

    Args:
        url: Of a model's ``:predict`` on this machine.
        files: Bytes of image files, of which each request gets one in turn.
        clients: Threads, each with one connection and one request at a time.
        seconds: For which they go on.

    Returns:
        A dictionary: clients, answered, lost (errors and broken connections),
        images_per_second, p50_ms, p99_ms.
    """
    bodies = [
        json.dumps({"instances": [{"b64": base64.b64encode(file).decode()}]}).encode()
        for file in files
    ]
    parts = urllib.parse.urlsplit(url)
    begin = time.perf_counter()

    def client(index):
        times, lost = [], 0
        link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        while time.perf_counter() < begin + seconds:
            start = time.perf_counter()
            body = bodies[(index + len(times)) % len(bodies)]
            try:
                link.request("POST", parts.path, body)
                response = link.getresponse()
                good = "predictions" in json.loads(response.read())
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


def write_run(folder, network):
    """A network of random weights as `keras-resnet convert` would leave it."""
    import keras

    from keras_resnet import applications
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.preprocessing import default_preprocessing

    keras.utils.set_random_seed(0)
    model = applications.create(network)
    model.save(folder / "model.keras")
    source = {
        "network": network,
        "classes": [f"class {i}" for i in range(model.output_shape[-1])],
        "preprocessing": asdict(default_preprocessing(ARCHITECTURES[network])),
    }
    (folder / "source.json").write_text(json.dumps(source))


@contextlib.contextmanager
def served(folder, *options):
    """A server of a run in its own process; yields the address of `predict`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "keras_resnet", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, "--name", "net", "--port", str(port), *options]
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
        yield f"http://127.0.0.1:{port}/v1/models/net:predict"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


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


def main():
    """Runs the benchmark and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    found = sorted(options.folder.glob("*.JPEG"))[:200]
    files = [path.read_bytes() for path in found]
    free = idle()
    with tempfile.TemporaryDirectory() as folder:
        write_run(pathlib.Path(folder), options.network)
        with served(folder) as url:
            load(url, files, clients=2, seconds=5)  # Warm.
            result = load(url, files, clients=options.clients, seconds=options.seconds)

    from keras_resnet.runs import environment

    result = {
        "date": time.strftime("%Y-%m-%d"),
        **environment.describe(),
        "network": options.network,
        "files": len(files),
        "idle_before": free,
        "niceness": os.nice(0),
        **result,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
