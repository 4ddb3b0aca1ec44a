"""Tables of many images: packed in shards to train from, and predicted by Ray Data."""

from benchmarks.catalogue import markdown
from benchmarks.circumstances import load, machine
from benchmarks.many_images import ONE, RAY

FORMATS = {"array_record": "ArrayRecord", "tfrecord": "TFRecord"}


def shards():
    """A million small images in each format of shards."""
    result = load("shards")
    rows = [
        (
            name,
            f"{of['mib']:,}",
            f"{of['first']['seconds_to_load']:.0f}",
            f"{of['whole']['seconds_to_load']:.1f}",
            f"{of['whole']['seconds_to_first_batch']:.1f}",
            f"{of['whole']['images_per_second']:,}",
            f"{of['whole']['mib_at_first_batch']:,}, {of['whole']['mib_at_most']:,}",
            f"{of['middle']['seconds_to_first_batch']:.1f}",
            "yes" if of["same"] else "no",
        )
        for key, name in FORMATS.items()
        for of in [result[key]]
    ]
    head = [
        "format",
        "MiB",
        "s to load it for the first time",
        "and again",
        "s to the first batch",
        "images/s",
        "MiB of memory, then and at most",
        "s to a batch in the middle",
        "the same batches from there on",
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"{result['images']:,} images of 4×4 pixels in 16 shards, batches of "
        f"{result['batch_size']}, over the end of an epoch. Loading for the first time "
        "decodes every image once, to find damaged ones. `benchmarks/shards.py`. "
        f"{machine(result)}.\n"
    )


def predicted():
    """Photographs answered by Ray Data and by one process."""
    result = load("many_images")
    rows = [
        (
            name,
            f"{of['images']:,}",
            f"{of['seconds']:.0f}",
            f"{of['images_per_second']:.1f}",
            f"{of['images_per_second_once_it_runs']:.1f}",
        )
        for name in (ONE, RAY)
        for of in [result["ways"][name]]
    ]
    ours, theirs = (
        result["ways"][name]["images_per_second_once_it_runs"] for name in (ONE, RAY)
    )
    rounds = len(next(iter(result["ways"][ONE]["rounds"].values())))
    head = [
        f"`{result['network']}` as a SavedModel",
        "photographs",
        "s from start to end",
        "images/s",
        "images/s once it runs",
    ]
    return (
        f"{markdown(head, rows)}\n"
        f"Two workers of Ray Data to one process, once they run: {theirs / ours:.2f} × on "
        f"the same cores. Medians of {rounds} rounds in turns, each file answered once; "
        "the last column is of the files beyond the first tenth. "
        f"`benchmarks/many_images.py`. {machine(result)}, Ray "
        f"{result['versions']['ray']}.\n"
    )
