"""ResNet-50 training at 224x224 in bfloat16 on a GPU: ours beside torchvision's and timm's.

    python -m benchmarks.gpu [--seconds 540] [--batch-sizes 256 1024] [--rounds 5]
        [--variants NAME …] [--output DIR_OR_FILE]
    python -m benchmarks.gpu --dry-run

Ours: `resnet50_v1_5` by the recipe `resnet50_fb_imagenet`: the training step that Keras's
`fit` compiles on JAX, and that on PyTorch, which Keras doesn't compile by default; the
variant that does must be asked for. Theirs: resnet50 of torchvision and of timm under
`torch.compile`, channels last, autocast, cuDNN's fastest kernels sought. Random images lie
on the device, so that the network is what is timed. TensorFlow is not needed.

Each variant lives in a process of its own, and they take turns. In each round one update
gets the memory back and isn't timed; about 6,400 images are. Then a product of two matrices
of 8192x8192 in bfloat16 is timed: of the fastest one, speeds are given a share, 3 times the
multiply-adds of the forward pass, twice as many operations. A variant that fails is kept
with its error beside those that go on; where all fail, nothing is kept.

Writes medians, every round and memory to results/gpu.json after each batch size. Batch
sizes that are there are not done again, and after `--seconds` the script ends by itself. A
dry run is on the CPU, of ours on JAX with a small network on tiny images, and keeps nothing
without `--output`.
"""

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import time
from dataclasses import asdict

from benchmarks.gpu_variants import (
    DRY,
    FULL,
    OURS,
    PRODUCTS,
    USUAL,
    VARIANTS,
    is_ours,
)

RESULTS = pathlib.Path(__file__).parent / "results" / "gpu.json"
GOAL = 1.15  # Times as fast as the fastest of the others.
# A variant has failed that takes longer for its first update, on a GPU.
START_SECONDS = 200


# --- A variant's process ------------------------------------------------------------


def work(connection, kind, options, size, batch_size):
    """One variant in its process: does what it is asked to until it fails."""
    try:
        variant = kind(size, batch_size, **options)
        while True:
            task = connection.recv()
            connection.send(task(variant, size, batch_size))
            variant.rest()
    except Exception as error:
        lines = f"{type(error).__name__}: {error}".splitlines()
        connection.send({"error": lines[0][:500]})


def first(variant, size, batch_size):
    """Compiles and makes the first update."""
    started = time.perf_counter()
    variant.update()
    variant.wait()
    variant.multiply()
    return {"first_update_seconds": round(time.perf_counter() - started, 1)}


def a_round(variant, size, batch_size):
    """Images per second of some updates, and operations per second of some products."""
    variant.update()
    variant.wait()
    steps = max(1, size.images // batch_size)
    started = time.perf_counter()
    for _ in range(steps):
        variant.update()
    loss = variant.wait()
    images = steps * batch_size / (time.perf_counter() - started)
    started = time.perf_counter()
    variant.multiply()
    rate = PRODUCTS * 2 * size.matrix**3 / (time.perf_counter() - started)
    device, memory = variant.device(size.device)
    return {
        "images_per_second": round(images, 1),
        "matrix_rate": round(rate),
        "loss": loss,
        "device": device,
        "memory_bytes": memory,
    }


# --- The process that asks them -----------------------------------------------------


class OutOfTime(Exception):
    """The time that the script has is over."""


class Variants:
    """The processes of the variants that have not failed.

    Args:
        kinds: Rows of `VARIANTS`.
        size: A `Size`.
        batch_size: Images per update.
        deadline: Of the script, by `time.monotonic`.
    """

    def __init__(self, kinds, size, batch_size, deadline):
        self.deadline, self.errors = deadline, {}
        self.connections, self.processes = {}, {}
        context = multiprocessing.get_context("spawn")
        for name, of in kinds.items():
            self.connections[name], other = context.Pipe()
            self.processes[name] = context.Process(
                target=work, args=(other, *of, size, batch_size), daemon=True
            )
            self.processes[name].start()
            other.close()  # Else nobody hears of a process that was killed for memory.

    def ask(self, name, task, seconds=float("inf")):
        """What a variant answers; `None`, and the variant is left out, if it fails."""
        connection = self.connections[name]
        left = self.deadline - time.monotonic()
        try:
            connection.send(task)
            if connection.poll(max(0, min(left, seconds))):
                answer = connection.recv()
            elif left <= seconds:
                raise OutOfTime
            else:
                answer = {"error": f"not ready after {seconds} s"}
        except (EOFError, OSError):  # It may have said why before it was asked.
            answer = self.last_words(name)
        print(name, answer, flush=True)
        if "error" not in answer:
            return answer
        self.errors[name] = answer["error"]
        self.processes[name].kill()
        del self.connections[name]
        return None

    def last_words(self, name):
        """Why a process has ended."""
        with contextlib.suppress(EOFError, OSError):
            if self.connections[name].poll():
                return self.connections[name].recv()
        self.processes[name].join(5)
        code = self.processes[name].exitcode
        return {"error": f"its process ended with exit code {code}"}

    def end(self):
        """Ends all processes, which have nothing to save."""
        for process in self.processes.values():
            process.kill()
            process.join()


def measure(names, size, batch_size, rounds, deadline):
    """The answers of the variants' first updates and of their rounds, and their errors."""
    kinds = {name: VARIANTS[name] for name in names}
    variants = Variants(kinds, size, batch_size, deadline)
    firsts, answers = {}, {name: [] for name in names}
    try:
        # One after the other, since all look for the fastest kernels, by the clock.
        limit = START_SECONDS if size.device == "gpu" else float("inf")
        for name in names:
            firsts[name] = variants.ask(name, first, limit)
        longest = 0
        for _ in range(rounds):
            started = time.monotonic()
            if not variants.connections or started + longest > deadline:
                break
            for name in list(variants.connections):
                if answer := variants.ask(name, a_round):
                    answers[name].append(answer)
            longest = max(longest, time.monotonic() - started)
    except OutOfTime:
        print(f"Batch {batch_size}: the time is over.", flush=True)
    finally:
        variants.end()
    return firsts, answers, variants.errors


def result_of(firsts, answers, errors, size):
    """What is kept of a batch size; `None` where the variants had no whole round."""
    from keras_resnet.config.architectures import complexity

    whole = [len(of) for name, of in answers.items() if name not in errors]
    if not whole or not min(whole):
        return None
    operations = 2 * 3 * complexity()[size.network]["multiply_adds"]
    of_rounds = {
        name: {key: [one[key] for one in of] for key in of[0]}
        for name, of in answers.items()
        if of
    }
    fastest = max(statistics.median(of["matrix_rate"]) for of in of_rounds.values())
    rows = {}
    for name, of in of_rounds.items():
        speed = statistics.median(of["images_per_second"])
        rows[name] = firsts[name] | {
            "images_per_second": speed,
            "images_per_second_by_round": of["images_per_second"],
            "matrix_rate_by_round": of["matrix_rate"],
            "share_of_matrix_rate": round(operations * speed / fastest, 3),
            "memory_bytes": of["memory_bytes"][-1],
            "device": of["device"][-1],
            "loss": of["loss"][-1],
        }
    for name, error in errors.items():
        rows[name] = rows.get(name, {}) | {"error": error}
    return {"rounds": min(whole), "matrix_rate": fastest, "variants": rows} | ratios(
        rows
    )


def ratios(rows):
    """How many times as fast our variants are as the fastest of the others, if any."""
    speeds = {n: r["images_per_second"] for n, r in rows.items() if "error" not in r}
    others = [speed for name, speed in speeds.items() if not is_ours(name)]
    if not others:
        return {}
    mine = {name: speed for name, speed in speeds.items() if is_ours(name)}
    return {
        "times_as_fast": {n: round(speed / max(others), 3) for n, speed in mine.items()}
    }


def described(result):
    """A result with its circumstances."""
    from keras_resnet.runs import environment

    rows = result["variants"].values()
    names = dict.fromkeys(row["device"] for row in rows if "device" in row)
    about = environment.describe([name for name in names if name != "CPU"])
    for name in ("jaxlib", "torchvision", "timm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            about["versions"][name] = importlib.metadata.version(name)
    return {"date": time.strftime("%Y-%m-%d"), **about, **result}


def parsed(arguments):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(arguments)
    dry = options.dry_run
    options.batch_sizes = options.batch_sizes or ([2] if dry else [256, 1024])
    options.rounds = options.rounds or (2 if dry else 5)
    options.variants = options.variants or ([OURS] if dry else USUAL)
    if options.output is None and not dry:
        options.output = RESULTS
    elif options.output is not None and options.output.suffix != ".json":
        options.output = options.output / RESULTS.name
    return options


def main(arguments=None):
    """Times the variants at each batch size and writes what they came to."""
    deadline = time.monotonic()
    options = parsed(arguments)
    deadline += options.seconds
    size = DRY if options.dry_run else FULL
    if options.dry_run:
        os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"] = "-1", "cpu"
    path = options.output
    results = {"goal": GOAL, **asdict(size), "batches": {}}
    if path and path.exists():
        results = json.loads(path.read_text())
    done = 0
    for batch_size in options.batch_sizes:
        if str(batch_size) in results["batches"]:
            print(f"Batch {batch_size} is there.", flush=True)
            done += 1
            continue
        found = measure(options.variants, size, batch_size, options.rounds, deadline)
        result = result_of(*found, size)
        if result is None:
            print(f"Batch {batch_size}: nothing to keep.", flush=True)
            continue
        results["batches"][str(batch_size)] = described(result)
        print(json.dumps(result, indent=2), flush=True)
        done += 1
        if path:
            from keras_resnet.files import write_json

            write_json(path, results)
    return 0 if done == len(options.batch_sizes) else 1


if __name__ == "__main__":
    sys.exit(main())
