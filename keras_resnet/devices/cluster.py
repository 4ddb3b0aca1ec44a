"""Finds the processes that train together, one for each host or GPU.

The environment names them in one of these ways; without any, a process trains alone.

- ``TF_CONFIG``, as TensorFlow, Kubeflow and Vertex AI write it.
- ``KERAS_RESNET_WORKERS``: ``host:port,host:port,...``; this process's number among them,
  from 0, is ``KERAS_RESNET_WORKER`` or an Indexed Job's ``JOB_COMPLETION_INDEX``.
- ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES``, ``JAX_PROCESS_ID``, on JAX alone.
- SLURM's variables in a step of ``srun`` with several tasks, where none of those is set.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keras_resnet.devices import slurm

TF_CONFIG = (
    '{"cluster": {"worker": ["host:port", ...]}, '
    '"task": {"type": "worker", "index": 0}}'
)
CHIEFS = ("chief", "master")  # Two names of one job; its task is the first worker.
EVALUATOR = (
    "This process is the evaluator of TF_CONFIG's cluster, and there is nothing for it to "
    "do: the chief measures. The chief and the workers train without it."
)
ALONE = (
    " SLURM started these tasks in one step, so they train one network together. To train "
    "each alone, give each one address of its own, KERAS_RESNET_WORKERS=localhost:1 (see "
    "docs/distributed.md)."
)
WAIT: str = "10m"  # How long to wait for the other workers.
WAITING: str = "waiting for workers"  # The thread that does.


@dataclass(frozen=True)
class Workers:
    """The processes that train together.

    Attributes:
        addresses: ``host:port`` of each, or of the first alone.
        count: Number of processes.
        index: Number of this process among them, from 0; the first is the chief.
        gpus: Value that CUDA_VISIBLE_DEVICES must get in this process; `None` if it is
            right as it is.
        evaluator: Whether this process is a cluster's evaluator, which doesn't train.
        advice: A sentence for errors: how to train each process alone, where SLURM
            named them; otherwise empty.
    """

    addresses: tuple[str, ...] = ()
    count: int = 1
    index: int = 0
    gpus: str | None = None
    evaluator: bool = False
    advice: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"A worker's number must be from 0 to {self.count - 1}, the workers "
                f"being {self.count}. Received: {self.index}."
            )
        form = all(map(_is_address, self.addresses))
        if not form or len(set(self.addresses)) < len(self.addresses):
            raise ValueError(
                "Each worker must have an address of its own in the form host:port, the "
                f"port from 1 to 65535. Received: {', '.join(self.addresses)}."
            )


def _is_address(text: str) -> bool:
    match = re.fullmatch(r"\S+:(\d{1,5})", text)
    return match is not None and 1 <= int(match[1]) <= 65_535


def find_workers(environment: Mapping[str, str] | None = None) -> Workers:
    """Finds the workers that the environment names.

    Args:
        environment: Variables; the process's own by default.

    Returns:
        The workers; a count of 1 where the environment names no others.

    Raises:
        ValueError: If variables are missing, malformed, or contradict each other.
    """
    environment = os.environ if environment is None else environment
    ways = {
        "TF_CONFIG": _of_tf_config,
        "KERAS_RESNET_WORKERS": _of_list,
        "JAX_COORDINATOR_ADDRESS": _of_jax,
    }
    for name, needed in [
        ("KERAS_RESNET_WORKER", "KERAS_RESNET_WORKERS"),
        ("JAX_NUM_PROCESSES", "JAX_COORDINATOR_ADDRESS"),
        ("JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"),
    ]:
        if environment.get(name) and not environment.get(needed):
            raise ValueError(
                f"{needed} must be set where {name} is. Received: {name}="
                f"{environment[name]} alone. See docs/distributed.md, or unset it."
            )
    found = {
        name: of(environment) for name, of in ways.items() if environment.get(name)
    }
    if len({(one.count, one.index) for one in found.values()}) > 1:
        said = [f"{name}: {one.index} of {one.count}" for name, one in found.items()]
        raise ValueError(
            "The environment must name the workers in one way. Received, as this one's "
            f"number and how many there are: {'; '.join(said)}. Unset all but one."
        )
    # `srun` alone sets it: the script of `sbatch` has the other variables too.
    if not found and "SLURM_STEP_NUM_TASKS" in environment:
        return _of_slurm(environment)
    return next(iter(found.values()), Workers())


def _number(environment: Mapping[str, str], *names: str) -> int:
    for name in names:
        if name in environment:
            if not environment[name].isdecimal():
                raise ValueError(
                    f"{name} must be a whole number, not negative. Received: "
                    f"{environment[name]!r}."
                )
            return int(environment[name])
    raise ValueError(
        f"{' or '.join(names)} must be set in the environment where several workers "
        "are. Received: nothing. See docs/distributed.md."
    )


def _of_tf_config(environment: Mapping[str, str]) -> Workers:
    text = environment["TF_CONFIG"]
    wrong = ValueError(f"TF_CONFIG must be JSON like {TF_CONFIG}. Received: {text}.")
    try:
        config = json.loads(text)
        cluster, task = (
            {} if config.get(part) is None else config[part]
            for part in ("cluster", "task")
        )
        # Clouds also name jobs without processes.
        jobs = {job: ones for job, ones in cluster.items() if ones not in (None, [])}
        kind, index = str(task.get("type")), str(task.get("index"))
    except (AttributeError, TypeError, ValueError) as error:
        raise wrong from error
    if not all(
        isinstance(ones, list) and all(isinstance(one, str) for one in ones)
        for ones in jobs.values()
    ):
        raise wrong
    _check_jobs(jobs, kind)
    if kind == "evaluator":
        return Workers(evaluator=True)
    chiefs = [one for job in CHIEFS for one in jobs.get(job, ())]
    others = jobs.get("worker", [])
    if not chiefs and not others:
        return Workers()
    own = jobs.get(kind, [])
    if not index.isdecimal() or int(index) >= len(own):
        raise ValueError(
            "The task of TF_CONFIG must be a chief or a worker of its cluster, under the "
            f"name that it has there, with its number from 0. Received: {json.dumps(task)} "
            f"in a cluster with {len(chiefs)} chiefs and {len(others)} workers."
        )
    if len(chiefs + others) == 1:
        return Workers()
    before = len(chiefs) if kind == "worker" else 0
    return Workers((*chiefs, *others), len(chiefs + others), before + int(index))


def _check_jobs(jobs: Mapping[str, list[str]], kind: str) -> None:
    """Raises `ValueError` unless the jobs of TF_CONFIG can train together."""
    if "ps" in (*jobs, kind):
        raise ValueError(
            "Parameter servers (the job 'ps' of TF_CONFIG) can't take part: all workers "
            "update together and exchange their gradients themselves. Start the job "
            f"without them. Received: {sorted(jobs)}, this process being a {kind!r}."
        )
    if unknown := jobs.keys() - {*CHIEFS, "worker", "evaluator"}:
        raise ValueError(
            "The cluster of TF_CONFIG must have no jobs but 'chief' (or 'master'), "
            f"'worker' and 'evaluator'. Received: {sorted(unknown)}."
        )
    if sum(len(jobs.get(job, ())) for job in CHIEFS) > 1:
        raise ValueError(
            "The cluster of TF_CONFIG must have one chief, called 'chief' or 'master'. "
            f"Received: {', '.join(f'{job}: {jobs.get(job, [])}' for job in CHIEFS)}."
        )


def _of_list(environment: Mapping[str, str]) -> Workers:
    addresses = tuple(environment["KERAS_RESNET_WORKERS"].replace(" ", "").split(","))
    if len(addresses) == 1:
        return Workers()
    index = _number(environment, "KERAS_RESNET_WORKER", "JOB_COMPLETION_INDEX")
    return Workers(addresses, len(addresses), index)


def _of_jax(environment: Mapping[str, str]) -> Workers:
    return Workers(
        (environment["JAX_COORDINATOR_ADDRESS"],),
        _number(environment, "JAX_NUM_PROCESSES"),
        _number(environment, "JAX_PROCESS_ID"),
    )


def _of_slurm(environment: Mapping[str, str]) -> Workers:
    count = _number(environment, "SLURM_STEP_NUM_TASKS")
    if count == 1:
        return Workers()
    index = _number(environment, "SLURM_PROCID")
    addresses = slurm.addresses(environment)
    if len(addresses) != count:
        raise ValueError(
            "SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE must name a place for each "
            f"of the step's {count} tasks. Received: {', '.join(addresses)}."
        )
    return Workers(addresses, count, index, slurm.gpus(environment), advice=ALONE)
