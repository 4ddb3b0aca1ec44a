"""What all workers must have the same, compared before the first update."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_resnet.devices.cluster import Workers
from keras_resnet.devices.links import Links, WorkerFailed, WorkerLost

MOST = 5  # Differences that a message names.
LONGEST = 200  # Letters of a value in a message.

_links: Links | None = None
_advice = ""


def begin(links: Links, workers: Workers) -> None:
    """Has this process speak with the others until `failures_told` is left."""
    global _links, _advice
    _links, _advice = links, workers.advice


def end() -> None:
    """Closes the connections: from now on the framework's own are used."""
    global _links
    if _links is not None:
        _links.close()
    _links = None


def gathered(value: Any) -> list[Any]:
    """The values of all workers, in their order; every worker must call it.

    Args:
        value: This worker's, of JSON's types.

    Returns:
        The values; ``value`` alone where one process trains.

    Raises:
        ValueError: If another worker can't begin, since its input or files are wrong.
        WorkerLost: If another worker can't begin for another reason, or has ended.
    """
    if _links is None:
        return [value]
    try:
        return _links.exchange(value)
    except WorkerFailed as failed:
        end()  # The others know.
        message = f"Worker {failed.worker} can't begin: {failed.message}"
        kind = ValueError if failed.by_input else WorkerLost
        raise kind(message) from failed


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Tells the other workers of an error that ends this one before it trains."""
    try:
        yield
    except Exception as error:
        if _links is not None:
            by_input = isinstance(
                error, ValueError | FileNotFoundError | FileExistsError
            )
            _links.fail(str(error), by_input)
        raise
    finally:
        end()


def must_agree(values: Mapping[str, Any]) -> None:
    """Raises the same `ValueError` on all workers unless all have the same values.

    Args:
        values: This worker's, of JSON's types, by names for the message.
    """
    found = differences(gathered(values))
    if not found:
        return
    end()  # The others know.
    more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    raise ValueError(
        "All workers must train the same, with the same data and versions. Received: "
        f"{'; '.join(found[:MOST])}{more}.{_advice}"
    )


def must_see(folder: str, seen: bool) -> None:
    """Raises the same `ValueError` on all workers unless all see the chief's folder.

    Args:
        folder: Where this worker looks for it; of the chief, where it is.
        seen: Whether it is there.
    """
    answers = gathered([folder, seen])
    blind = [
        f"worker {number} looks in {place}"
        for number, (place, there) in enumerate(answers)
        if not there
    ]
    if not blind:
        return
    end()  # The others know.
    raise ValueError(
        "All workers must see the folder where the chief writes: give them an "
        "--output-dir on a file system that they share. Received: the chief writes in "
        f"{answers[0][0]}, which isn't there where {', '.join(blind)}.{_advice}"
    )


def differences(everyone: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between workers, such as "learning_rate: worker 0 has 0.1, worker 1 …".

    Args:
        everyone: The values of each worker by their names; nested ones are named as
            "schedule.at[0]".
    """
    everyone = [_flat(values) for values in everyone]
    names = dict.fromkeys(name for values in everyone for name in values)
    return [
        f"{name}: {', '.join(_said_by(name, everyone))}"
        for name in names
        if any(values.get(name) != everyone[0].get(name) for values in everyone)
    ]


def _said_by(name: str, everyone: Sequence[Mapping[str, Any]]) -> list[str]:
    """The values of one name, each with the workers that have it."""
    owners: dict[str, list[str]] = {}
    for number, values in enumerate(everyone):
        said = repr(values.get(name))
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
        owners.setdefault(said, []).append(str(number))
    return [
        f"worker {ones[0]} has {said}"
        if len(ones) == 1
        else f"workers {', '.join(ones[:-1])} and {ones[-1]} have {said}"
        for said, ones in owners.items()
    ]


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """Nested values by dotted names, so that a message names what differs alone."""
    if isinstance(values, dict) and values:
        parts = [(f"{name}.{key}" if name else key, one) for key, one in values.items()]
    elif isinstance(values, list | tuple) and values:
        parts = [(f"{name}[{index}]", one) for index, one in enumerate(values)]
    else:
        return {name: values}
    return {key: one for part in parts for key, one in _flat(part[1], part[0]).items()}
