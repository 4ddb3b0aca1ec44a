"""Variables of launchers whose processes don't train together here: a warning names them.

`devices.cluster` reads how a user, TensorFlow, JAX and SLURM name workers. Others, such as
torchrun and mpirun, start several processes too, and each would train the whole job alone.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping

# By these a user says what is meant, so there is nothing to warn of.
NAMING = ("TF_CONFIG", "KERAS_RESNET_WORKERS", "JAX_COORDINATOR_ADDRESS")


def _hosts_of_vertex(text: str) -> int:
    return sum(len(pool) for pool in json.loads(text)["cluster"].values())


# From a variable to a function of its value: how many processes were started.
LAUNCHERS: dict[str, Callable[[str], int]] = {
    "WORLD_SIZE": int,  # torchrun
    "OMPI_COMM_WORLD_SIZE": int,  # mpirun of Open MPI
    "PMI_SIZE": int,  # mpirun of MPICH and Intel
    "SM_HOSTS": lambda text: len(json.loads(text)),  # SageMaker
    "CLUSTER_SPEC": _hosts_of_vertex,  # Vertex AI
    "JOB_COMPLETION_INDEX": lambda text: 2,  # Kubernetes, which doesn't tell how many.
}


def warn_of_unread(environment: Mapping[str, str] | None = None) -> None:
    """Warns that others were started too, and this process trains alone.

    Args:
        environment: Variables, in which `cluster.find_workers` found no others; the
            process's own by default.
    """
    environment = os.environ if environment is None else environment
    if any(environment.get(name) for name in NAMING):
        return
    for name, count in LAUNCHERS.items():
        if name in environment and _several(count, environment[name]):
            warnings.warn(
                f"{name}={environment[name]} is set, as where several processes are "
                "started to train together, but that variable doesn't name the workers: "
                "this process trains alone. To train together, set KERAS_RESNET_WORKERS "
                "(see docs/distributed.md). If alone is right, set "
                "KERAS_RESNET_WORKERS=localhost:1, and this isn't said.",
                stacklevel=3,
            )
            return


def _several(count: Callable[[str], int], text: str) -> bool:
    try:
        return count(text) > 1
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # Somebody else's variable.
        return False
