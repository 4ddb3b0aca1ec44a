"""What the tables of results say alike: where and when, and means over seeds."""

import json
import pathlib
import statistics

RESULTS = pathlib.Path(__file__).parent / "results"


def load(name):
    """A benchmark's results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def machine(result):
    """The circumstances of a result, for a sentence under its table."""
    return f"{result['date']}, {installed(result)}"


def installed(record):
    """The same of a run's record, which has no date."""
    hardware, versions = record["hardware"], record["versions"]
    cores = "1 core" if hardware["cores"] == 1 else f"{hardware['cores']} cores"
    tensorflow = versions.get("tensorflow") or versions.get("tensorflow-cpu")
    return (
        f"{cores} of {hardware['cpu']}, Python {versions['python']}, "
        f"Keras {versions['keras']}, TensorFlow {tensorflow}"
    )


def beside_torch(result):
    """The same where PyTorch was timed as well."""
    return f"{machine(result)}, PyTorch {result['versions']['torch']}"


def on_gpu(result):
    """The same on a GPU, without TensorFlow."""
    versions, gpus = result["versions"], result["hardware"]["accelerators"]
    packages = {"keras": "Keras", "jax": "JAX", "torch": "PyTorch"}
    packages |= {name: name for name in ("torchvision", "timm")}
    found = [f"{text} {versions[n]}" for n, text in packages.items() if n in versions]
    device = " and ".join(dict.fromkeys(gpus)) or result["hardware"]["cpu"]
    return (
        f"{result['date']}, {device}, Python {versions['python']}, {', '.join(found)}"
    )


def spread(values, digits=2):
    """Mean ± sample standard deviation."""
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def spread_if_any(values):
    """Mean ± sample standard deviation; of one value itself."""
    return spread(values) if len(values) > 1 else f"{values[0]:.2f}"
