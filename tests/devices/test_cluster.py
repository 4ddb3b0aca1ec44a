"""How the environment names several workers."""

import json

import pytest

from keras_resnet.devices import slurm
from keras_resnet.devices.cluster import Workers, find_workers
from tests.helpers.environments import SLURM, TF_CONFIG, TWO_A_NODE

KUBEFLOW = {
    "cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]},
    "task": {"type": "worker", "index": 1},
}
ALONE = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
# As AI Platform and SageMaker write it.
MASTER = {
    "cluster": {"master": ["a:1"], "worker": ["b:2"], "ps": [], "evaluator": None},
    "task": {"type": "master", "index": "0", "trial": ""},
    "environment": "cloud",
}
WITH_EVALUATOR = {
    "cluster": {"chief": ["a:1"], "worker": ["b:2"], "evaluator": ["c:3"]},
    "task": {"type": "worker", "index": 0},
}
SLURM_ADDRESSES = ("n8:12056", "n9:12056", "n10:12056", "n11:12056")


def of(config, job):
    """A cluster's `TF_CONFIG` for the first process of another job."""
    return {**config, "task": {"type": job, "index": 0}}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Workers()),
        ({"TF_CONFIG": json.dumps(TF_CONFIG)}, Workers(("a:1", "b:2"), 2, 1)),
        ({"TF_CONFIG": json.dumps(KUBEFLOW)}, Workers(("a:1", "b:2", "c:3"), 3, 2)),
        ({"TF_CONFIG": json.dumps(ALONE)}, Workers()),
        ({"TF_CONFIG": "{}"}, Workers()),
        ({"TF_CONFIG": json.dumps(MASTER)}, Workers(("a:1", "b:2"), 2, 0)),
        (
            {"TF_CONFIG": json.dumps(of(MASTER, "worker"))},
            Workers(("a:1", "b:2"), 2, 1),
        ),
        (
            {
                "TF_CONFIG": '{"cluster": {"master": ["a:1"], "worker": []}, '
                '"task": {"type": "master", "index": 0}}'
            },
            Workers(),
        ),
        (
            {
                "TF_CONFIG": '{"cluster": {"worker": []}, '
                '"task": {"type": "worker", "index": 0}}'
            },
            Workers(),
        ),
        ({"TF_CONFIG": '{"cluster": null, "task": null}'}, Workers()),
        ({"TF_CONFIG": json.dumps(WITH_EVALUATOR)}, Workers(("a:1", "b:2"), 2, 1)),
        (
            {"TF_CONFIG": json.dumps(of(WITH_EVALUATOR, "chief"))},
            Workers(("a:1", "b:2"), 2, 0),
        ),
        (
            {"TF_CONFIG": json.dumps(of(WITH_EVALUATOR, "evaluator"))},
            Workers(evaluator=True),
        ),
        # TensorFlow's own convention: an evaluator that the cluster doesn't list.
        (
            {"TF_CONFIG": json.dumps(of(TF_CONFIG, "evaluator"))},
            Workers(evaluator=True),
        ),
        (
            {"KERAS_RESNET_WORKERS": "a:1, b:2", "JOB_COMPLETION_INDEX": "1"},
            Workers(("a:1", "b:2"), 2, 1),
        ),
        (
            {"KERAS_RESNET_WORKERS": "a:1,b:2", "KERAS_RESNET_WORKER": "0"},
            Workers(("a:1", "b:2"), 2, 0),
        ),
        ({"KERAS_RESNET_WORKERS": "a:1"}, Workers()),
        (SLURM, Workers(SLURM_ADDRESSES, 4, 3)),
        ({"SLURM_STEP_NUM_TASKS": "1"}, Workers()),
        ({**SLURM, "KERAS_RESNET_WORKERS": "a:1"}, Workers()),
        ({"TF_CONFIG": "", "KERAS_RESNET_WORKERS": ""}, Workers()),
        (
            {
                "TF_CONFIG": json.dumps(TF_CONFIG),
                "KERAS_RESNET_WORKERS": "a:1,b:2",
                "KERAS_RESNET_WORKER": "1",
            },
            Workers(("a:1", "b:2"), 2, 1),
        ),
        # The script of `sbatch`, outside of `srun`.
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, Workers()),
        (
            {
                "JAX_COORDINATOR_ADDRESS": "a:1",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": "1",
            },
            Workers(("a:1",), 2, 1),
        ),
    ],
)
def test_the_environment_names_the_workers(environment, expected):
    assert find_workers(environment) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KERAS_RESNET_WORKERS": "a:1,b:2"}, "KERAS_RESNET_WORKER or JOB_COMPL"),
        (
            {"KERAS_RESNET_WORKERS": "a:1,b:2", "KERAS_RESNET_WORKER": "2"},
            "must be from 0 to 1",
        ),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, "JAX_NUM_PROCESSES must be set"),
        (
            {"TF_CONFIG": json.dumps({"cluster": {"ps": ["a:1"], "worker": ["b:1"]}})},
            r"Parameter servers \(the job 'ps' of TF_CONFIG\) can't take part",
        ),
        ({"TF_CONFIG": json.dumps(of(TF_CONFIG, "ps"))}, "Parameter servers.*a 'ps'"),
        (
            {"TF_CONFIG": json.dumps({"cluster": {"tpu": ["a:1"], "ps": []}})},
            r"no jobs but 'chief' \(or 'master'\), .*Received: \['tpu'\]",
        ),
        (
            {
                "TF_CONFIG": json.dumps(
                    {"cluster": {"chief": ["a:1"], "master": ["b:1"]}}
                )
            },
            "must have one chief.*chief: .'a:1'., master: .'b:1'.",
        ),
        (
            {"TF_CONFIG": json.dumps({**TF_CONFIG, "task": {}})},
            "must be a chief or a w",
        ),
        *(
            ({"TF_CONFIG": text}, "TF_CONFIG must be JSON like .*Received: ")
            for text in [
                "not json",
                "[]",
                "3",
                '{"cluster": []}',
                '{"cluster": {"worker": "a:1"}}',
                '{"cluster": {"worker": [1, 2]}}',
                '{"cluster": {"worker": ["a:1", "b:2"]}, "task": "worker"}',
            ]
        ),
        *(
            (
                {"TF_CONFIG": json.dumps({**TF_CONFIG, "task": task})},
                "must be a chief or",
            )
            for task in [
                {"type": "worker", "index": None},
                {"type": "worker", "index": 2},
                {"type": "worker", "index": -1},
                {"type": "chief", "index": 0},
                {"type": "master", "index": 0},
            ]
        ),
        (
            {"KERAS_RESNET_WORKERS": "a:1,b:2", "KERAS_RESNET_WORKER": "one"},
            "KERAS_RESNET_WORKER must be a whole number.*'one'",
        ),
        ({"KERAS_RESNET_WORKERS": "a,b", "KERAS_RESNET_WORKER": "0"}, "form host:port"),
        *(
            (
                {"KERAS_RESNET_WORKERS": f"a:1,b:{port}", "KERAS_RESNET_WORKER": "0"},
                "port from 1 to 65535",
            )
            for port in ("99999", "65536", "0", "123456")
        ),
        (
            {"KERAS_RESNET_WORKERS": "a:1,a:1", "KERAS_RESNET_WORKER": "0"},
            "address of its own",
        ),
        ({"KERAS_RESNET_WORKER": "1"}, "KERAS_RESNET_WORKERS must be set where"),
        ({"JAX_PROCESS_ID": "1"}, "JAX_COORDINATOR_ADDRESS must be set where"),
        (
            {
                "TF_CONFIG": json.dumps(ALONE),
                "KERAS_RESNET_WORKERS": "a:1,b:2",
                "KERAS_RESNET_WORKER": "1",
            },
            "in one way.*TF_CONFIG: 0 of 1; KERAS_RESNET_WORKERS: 1 of 2",
        ),
        (
            {**SLURM, "SLURM_STEP_NUM_TASKS": "x"},
            "SLURM_STEP_NUM_TASKS must be a whole",
        ),
        ({**SLURM, "SLURM_JOB_ID": "x"}, "SLURM_JOB_ID must be as `srun`.*'x'"),
        *(
            ({**SLURM, "SLURM_STEP_NODELIST": nodes}, "SLURM_STEP_NODELIST must be as")
            for nodes in ["n[8-x]", "n[8-11", "n8-11]", "n[8-", "n[]", ""]
        ),
        *(
            ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": tasks}, "TASKS_PER_NODE must be as")
            for tasks in ["1(x4", "1x4)", "1(x", "1,", ""]
        ),
        (
            {**SLURM, "SLURM_STEP_NODELIST": "n8"},
            "must name a place for each .* 4 tasks",
        ),
        (
            {name: value for name, value in SLURM.items() if "PER_NODE" not in name},
            "SLURM_STEP_TASKS_PER_NODE must be as.*None",
        ),
    ],
)
def test_an_environment_that_makes_no_sense_is_an_error(environment, message):
    with pytest.raises(ValueError, match=message):
        find_workers(environment)


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, None),  # Alone on its node.
        ({**TWO_A_NODE, "SLURM_LOCALID": "1"}, "6,7"),
        ({**TWO_A_NODE, "SLURM_LOCALID": "0"}, "4,5"),
        ({**TWO_A_NODE, "SLURM_GPUS_PER_TASK": "4"}, None),
        ({**TWO_A_NODE, "SLURM_TRES_PER_TASK": "cpu=2,gres/gpu=4"}, None),
        ({**TWO_A_NODE, "SLURM_TRES_PER_TASK": "cpu=6"}, "4,5"),
        ({**TWO_A_NODE, "CUDA_VISIBLE_DEVICES": "0"}, None),
        ({**TWO_A_NODE, "CUDA_VISIBLE_DEVICES": ""}, None),
    ],
)
def test_tasks_of_a_node_share_its_gpus(environment, gpus):
    assert find_workers({**SLURM, **environment}).gpus == gpus


@pytest.mark.parametrize(
    ("nodes", "tasks", "expected"),
    [
        ("m5", "2", ["m5:12056", "m5:12057"]),
        ("n[09-10,12],m", "1(x3),2", "n09 n10 n12 m m:12057".split()),
        ("r[1-2]n[3,4]", "1(x4)", "r1n3 r1n4 r2n3 r2n4".split()),
    ],
)
def test_slurm_names_hosts_and_ports(nodes, tasks, expected):
    found = slurm.addresses(
        {**SLURM, "SLURM_STEP_NODELIST": nodes, "SLURM_STEP_TASKS_PER_NODE": tasks}
    )
    expected = [name if ":" in name else f"{name}:12056" for name in expected]
    assert found == tuple(expected)
