"""Tables of detectors: precision of blood cells' and speed beside torchvision's."""

import json

from benchmarks.catalogue import markdown
from benchmarks.circumstances import (
    RESULTS,
    beside_torch,
    installed,
    load,
    machine,
)
from keras_resnet.runs.record import read_record

BCCD = {  # The variants of `benchmarks/bccd.py`.
    "scratch": "ResNet-18, random weights",
    "context": "the same with global context",
    "fine_tuned": "ResNet-18-D, from `imagenette_fast`",
    "same_backbone": "ResNet-18-D, random weights",
}
BCCD_CLASSES = ("RBC", "WBC", "Platelets")


def bccd():
    """Detectors of blood cells over seeds, and what each improvement changes."""
    folder = RESULTS / "bccd"
    tested = [
        json.loads(path.read_text()) for path in sorted(folder.glob("test_*.json"))
    ]
    parts = [bccd_runs(folder), *map(bccd_changes, tested)]
    return "\n".join(filter(None, parts)) or "Not measured yet.\n"


def bccd_runs(folder):
    """Each detector as it was trained, from the records."""
    rows = []
    for variant, label in BCCD.items():
        for path in sorted(folder.glob(f"{variant}_*seed*.json")):
            record = read_record(path)
            found = record["test"]
            by_class = {
                one["name"]: one["average_precision"] for one in found["by_class"]
            }
            rows.append(
                (
                    label,
                    record["seed"],
                    f"{record['steps']:,}",
                    f"{record['validation']['average_precision']:.1f}",
                    f"{found['average_precision']:.1f}",
                    *(f"{by_class[name]:.1f}" for name in BCCD_CLASSES),
                    f"{record['wall_seconds'] / 60:.0f}",
                )
            )
    if not rows:
        return ""
    head = [
        "`bccd`",
        "seed",
        "updates",
        "validation AP@.5",
        "test AP@.5",
        *BCCD_CLASSES,
        "minutes",
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"Final weights, percent, VOC's rule of the area, {found['n']} test images; "
        "nothing was selected on them. Each was trained on one core beside other work, "
        f"which the minutes hold. `benchmarks/bccd.py`. {installed(record)}.\n"
    )


def bccd_changes(result):
    """What changes when the detectors from random weights are tested otherwise."""
    test = result["test"]
    own = {name: of for name, of in test.items() if name.startswith("scratch, ")}
    rows = []
    for name, found in test.items():
        if name.split(",")[0] in BCCD:
            continue
        of_seed = name.rpartition(", ")[2]
        base = own.get(f"scratch, {of_seed}")
        bases = [base] if base else list(own.values())
        changes = (
            f"{found[rule]:.1f} ({found[rule] - max(one[rule] for one in bases):+.1f})"
            for rule in ("voc", "ap50", "ap75", "ap")
        )
        rows.append((name, *changes, f"{found['seconds'] / found['images']:.2f}"))
    if not rows:
        return ""
    head = ("tested by", "AP@.5", "COCO's AP@.5", "AP@.75", "AP", "s per image")
    return (
        f"{markdown(head, rows)}\n"
        "In brackets: the difference to the same detector as it was trained, of ensembles "
        f"to the better of their members. {machine(result)}. Other work was on the same "
        "cores: the seconds are rough.\n"
    )


def detection():
    """Faster R-CNN beside torchvision's."""
    if not (RESULTS / "detection.json").exists():
        return "Not measured yet.\n"
    result = load("detection")
    tasks = [task for task in ("training", "inference") if task in result]
    head, sentences = ["`fasterrcnn_resnet50_fpn`"], []
    for task in tasks:
        of = result[task]
        images = "one image" if of["images"] == 1 else f"{of['images']} images"
        size = f"{images} of {of['height']}×{of['width']}"
        head += [f"{task}, {size}, s", "peak memory, GiB"]
        sentences.append(
            f"In {task} our better setting, {of['best']['ours']}, is "
            f"{of['times_as_fast']:.2f} × as fast as their better one, "
            f"{of['best']['theirs']} ({of['rounds']} rounds)."
        )
    rows = [
        [name]
        + [
            text
            for task in tasks
            for text in (
                spread_of_rounds(result[task], name),
                f"{result[task]['peak_gib'][name]:.1f}",
            )
        ]
        for name in result[tasks[0]]["seconds"]
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"{' '.join(sentences)} Required {result['goals']['required']:g} ×, wanted "
        f"{result['goals']['wanted']:g} ×. Medians of interleaved rounds, with their "
        f"extremes, and {result['threads']} threads, `benchmarks/detection.py`; an update, "
        f"and the detection on an image. {circumstances(result, tasks)}."
        + (f" {result['note']}" if "note" in result else "")
        + "\n"
    )


def circumstances(result, tasks):
    """On what it was measured: said for each task where they differ."""
    said = [beside_torch(result[task]) for task in tasks]
    if len(set(said)) == 1:
        return said[0]
    return "; ".join(f"{task}: {one}" for task, one in zip(tasks, said, strict=True))


def spread_of_rounds(task, name):
    """The median of a variant's rounds, the shortest and the longest."""
    rounds = task["seconds_by_round"][name]
    return f"{task['seconds'][name]:.2f} ({min(rounds):.2f}–{max(rounds):.2f})"
