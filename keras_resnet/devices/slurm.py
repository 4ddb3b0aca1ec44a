"""Reads from SLURM's variables where the tasks of a step are, and which GPUs each has.

TensorFlow's `SlurmClusterResolver` sorts hosts as text, so that n10 comes before n8 and
gets another task's number, fails on hosts without nvidia-smi, and leaves only the GPUs
from 0 on; JAX takes one GPU for each process, also where a process has a host of its own.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any


def addresses(environment: Mapping[str, str]) -> tuple[str, ...]:
    """``host:port`` of each task of the step, in the order of SLURM_PROCID.

    Tasks fill one host after the other, which is SLURM's default. The port depends on
    the job, so that two jobs on one host don't take the same.

    Args:
        environment: Variables of the process.

    Raises:
        ValueError: If a variable is missing or not in SLURM's form.
    """
    port = 12_000 + 8 * (_read(environment, "SLURM_JOB_ID", int) % 4_096)
    hosts = _read(environment, "SLURM_STEP_NODELIST", _hosts)
    counts = _read(environment, "SLURM_STEP_TASKS_PER_NODE", _counts)
    return tuple(
        f"{host}:{port + task}"
        for host, count in zip(hosts, counts, strict=False)
        for task in range(count)
    )


def gpus(environment: Mapping[str, str]) -> str | None:
    """The GPUs of this task, as CUDA_VISIBLE_DEVICES names them.

    Args:
        environment: Variables of the process.

    Returns:
        The task's part, where several tasks of a host see the same GPUs; `None` where
        it may take all that it sees, as with ``--ntasks-per-node=1`` or
        ``--gpus-per-task``.
    """
    seen = [
        name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name
    ]
    tasks = max(_read(environment, "SLURM_STEP_TASKS_PER_NODE", _counts))
    # The second also tells of CPUs: "cpu=6" with --cpus-per-task.
    own = "SLURM_GPUS_PER_TASK" in environment or (
        "gpu" in environment.get("SLURM_TRES_PER_TASK", "")
    )
    each = len(seen) // tasks
    if tasks == 1 or own or each == 0:
        return None
    first = each * _read(environment, "SLURM_LOCALID", int)
    return ",".join(seen[first : first + each])


def _read(
    environment: Mapping[str, str], name: str, meaning: Callable[[Any], Any]
) -> Any:
    value = environment.get(name)
    try:
        return meaning(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be as `srun` sets it where several workers train in a step. "
            f"Received: {value!r}. Start them with `srun`, or name them yourself: see "
            "docs/distributed.md."
        ) from error


def _hosts(text: str) -> list[str]:
    """``n[08-10,12],m1`` as the names of hosts, in SLURM's order."""
    if not re.fullmatch(r"(?:[^\[\]]|\[[-\d,]+\])+", text):
        raise ValueError("Each [ must have its ], with numbers between them.")
    found = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        pieces = re.split(r"\[([^\]]*)\]", part)  # Every second one was in brackets.
        pieces[::2] = [[piece] for piece in pieces[::2]]
        pieces[1::2] = [_range(piece) for piece in pieces[1::2]]
        found += map("".join, itertools.product(*pieces))
    return found


def _range(text: str) -> list[str]:
    """``08-10,12`` as 08, 09, 10, 12."""
    numbers = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers += [
            f"{n:0{len(first)}}" for n in range(int(first), int(last or first) + 1)
        ]
    return numbers


def _counts(text: str) -> list[int]:
    """``2(x3),1`` as 2, 2, 2, 1."""
    counts = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError("Each part must be like 2 or 2(x3).")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
