"""An exported classifier beside the one it came from -> what changed, in numbers."""

import statistics
import time

import numpy as np

BATCH = 32


def answers(scores, images):
    """What a classifier answers, batch by batch.

    Args:
        scores: Function from uint8 images ``(N, H, W, C)`` to probabilities ``(N,
            classes)``.
        images: uint8 ``(n, H, W, C)``, at least one.

    Returns:
        Probabilities ``(n, classes)``.
    """
    starts = range(0, len(images), BATCH)
    return np.concatenate([scores(images[start : start + BATCH]) for start in starts])


def compare(exported, original, labels=None):
    """How far an exported classifier's answers are from the original's.

    Args:
        exported: Probabilities ``(n, classes)``.
        original: Those of the network as it was, for the same images.
        labels: Integers ``(n,)``, or `None`.

    Returns:
        A dict: ``images``, their number; ``max_difference`` of a probability;
        ``top1_agreement`` in percent; with labels, ``accuracy`` and
        ``original_accuracy`` in percent.
    """
    ours, theirs = exported.argmax(axis=1), original.argmax(axis=1)
    result = {
        "images": len(exported),
        "max_difference": float(np.abs(exported - original).max()),
        "top1_agreement": 100 * float(np.mean(ours == theirs)),
    }
    if labels is not None:
        result["accuracy"] = 100 * float(np.mean(ours == labels))
        result["original_accuracy"] = 100 * float(np.mean(theirs == labels))
    return result


def speeds(classifiers, images, *, rounds=3):
    """Images a second, taking turns, so that what else the machine does meets all.

    Args:
        classifiers: Dict from name to a function from images to probabilities.
        images: A batch, uint8 ``(N, H, W, C)``.
        rounds: Timed ones; their median counts. One more before warms up.

    Returns:
        Dict from name to images a second.
    """
    times = {name: [] for name in classifiers}
    for _ in range(rounds + 1):
        for name, scores in classifiers.items():
            started = time.perf_counter()
            scores(images)
            times[name].append(time.perf_counter() - started)
    return {
        name: len(images) / statistics.median(each[1:]) for name, each in times.items()
    }


def size(folder):
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def line(report):
    """A report in one line, for the console."""
    parts = [f"{report['format']} {report['precision']}"]
    parts.append(f"{report['bytes'] / 1e6:.1f} MB")
    parts.append(
        f"on {report['images']:,} images{'' if report['data'] else ' of noise'} at most "
        f"{report['max_difference']:.1e} from Keras, "
        f"{report['top1_agreement']:.1f} % the same class"
    )
    if "accuracy" in report:
        parts.append(
            f"accuracy {report['accuracy']:.2f} % "
            f"(Keras {report['original_accuracy']:.2f} %)"
        )
    elif report["data"]:
        parts.append("no accuracy, as these images have other classes")
    parts.append(
        f"{report['images_per_second']:,.0f} images/s, {report['speed_ratio']:.2f} times "
        "Keras's"
    )
    return "; ".join(parts)
