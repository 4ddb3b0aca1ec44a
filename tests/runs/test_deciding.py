"""What several workers compare before they train."""

import json
import pathlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.recipes import RECIPES
from keras_resnet.devices import agreement
from keras_resnet.devices.find import Devices
from keras_resnet.runs import deciding
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import settle
from tests.helpers.environments import SLURM
from tests.helpers.worker_processes import processes

ONE = Devices("cpu", ("cpu:0",))
OWN = {"network": "resnet20", "steps": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The same photographs in two places, as two hosts have them."""
    folder = tmp_path_factory.mktemp("hosts")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "a" / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (8, 8, 3), "uint8")
            path = folder / "a" / "photos" / name / f"{number}.png"
            Image.fromarray(pixels).save(path)
    shutil.copytree(folder / "a", folder / "b")
    return folder


def compared(one, other):
    """The names of what differs between two workers."""
    both = [one, json.loads(json.dumps(other))]  # As it comes from there.
    return [text.partition(":")[0] for text in agreement.differences(both)]


def asked(**options):
    return deciding.of_request(TrainRequest(**options))


@pytest.mark.parametrize(
    ("one", "other", "differing"),
    [
        ({"learning_rate": 0.1}, {"learning_rate": 0.05}, ["learning_rate"]),
        ({"seed": 1}, {"seed": 2}, ["seed"]),
        ({"steps": 9}, {"epochs": 2}, ["steps", "epochs"]),
        ({"precision": "auto"}, {"precision": "float32"}, ["precision"]),
        (
            {"changes": {"schedule.learning_rate": 0.1, "batch_size": 8}},
            {"changes": {"schedule.learning_rate": 0.2, "batch_size": 8}},
            ["changes.schedule.learning_rate"],
        ),
        ({}, {"recipe": "resnet20_cifar10"}, ["recipe"]),
        ({}, {"recipe": replace(RECIPES["quickstart"], name="mine")}, ["recipe"]),
        # What each host may have of its own.
        ({"recipe": "/a/mine.toml"}, {"recipe": pathlib.Path("/b/mine.toml")}, []),
        ({"recipe": "/a/mine.toml"}, {"recipe": "/a/other.toml"}, ["recipe"]),
        (
            {"data": "a", "weights": "a", "teacher": "a", "output_dir": "a"},
            {"data": "b", "weights": "b", "teacher": "b", "output_dir": "b"},
            [],
        ),
        ({"log": "tensorboard", "wait": "1h"}, {"verbose": 0, "data_dir": "b"}, []),
    ],
)
def test_options_are_compared_before_the_data_is_read(one, other, differing):
    own = {"network": "resnet20"} if "data" in one else {}
    assert compared(asked(**own, **one), asked(**own, **other)) == differing


def test_versions_are_compared(monkeypatch):
    here = asked()
    assert compared(here, asked()) == []
    monkeypatch.setattr("keras.__version__", "3.0.0")
    monkeypatch.setattr(deciding, "__version__", "0.0.1")
    found = compared(here, asked())
    assert found == ["version of keras_resnet", "version of Keras"]
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    assert "backend" in compared(here, asked())


def test_tasks_of_slurm_have_one_output_folder(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert compared(asked(output_dir="a"), asked(output_dir="b")) == ["output_dir"]


def job_of(folder, **options):
    return settle(TrainRequest(data=folder, **OWN, **options), ONE)


@pytest.fixture(scope="module")
def job(copies):
    return job_of(copies / "a" / "photos")


def test_equal_copies_of_the_data_agree_wherever_they_lie(copies, job):
    other = job_of(copies / "b" / "photos")
    assert compared(deciding.of_job(job), deciding.of_job(other)) == []


def test_copies_of_the_data_that_differ_by_an_image_do_not(copies, job, tmp_path):
    shutil.copytree(copies / "b", tmp_path / "b")
    (tmp_path / "b" / "photos" / "dog" / "11.png").unlink()
    other = job_of(tmp_path / "b" / "photos")
    found = compared(deciding.of_job(job), deciding.of_job(other))
    assert {"training images", "fingerprint of the data"} <= set(found)


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"precision": "mixed_bfloat16"}, ["precision"]),
        ({"xla": True}, ["xla"]),
        ({"name": "other"}, ["name"]),
    ],
)
def test_what_auto_means_is_compared(job, changes, differing):
    other = replace(job, **changes)
    assert compared(deciding.of_job(job), deciding.of_job(other)) == differing


def test_names_of_classes_and_the_network_are_compared(job):
    splits = replace(job.splits, class_names=("cat", "wolf"))
    other = replace(job, splits=splits, spec=replace(job.spec, zero_gamma=True))
    found = compared(deciding.of_job(job), deciding.of_job(other))
    assert found == ["network.zero_gamma", "classes[1]"]


@pytest.mark.parametrize("option", ["weights", "teacher"])
def test_files_of_weights_are_compared_by_what_they_hold(job, tmp_path, option):
    def settled_with(name, content):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").write_bytes(content)
        request = replace(job.request, **{option: str(tmp_path / name)})
        found = replace(job, request=request, contents=request.contents())
        return deciding.of_job(found)

    first = settled_with("a", b"weights")
    assert compared(first, settled_with("b", b"weights")) == []
    assert compared(first, settled_with("c", b"others")) == [option]


def test_sources_of_weights_are_compared_by_their_names(job):
    found = [
        deciding.of_job(replace(job, request=replace(job.request, weights=source)))
        for source in ("timm:a", "timm:b")
    ]
    assert compared(*found) == ["weights"]


def test_recipes_are_compared_by_what_their_files_say(job):
    recipe = replace(job.recipe, weight_decay=0.5)
    other = replace(job, recipe=recipe)
    assert compared(deciding.of_job(job), deciding.of_job(other)) == ["weight_decay"]


# The chief's lock comes late, which decides nothing.
COMMAND = """
import sys, time
from keras_resnet.__main__ import main
from keras_resnet.runs import folder

lock = folder.lock_folder
folder.lock_folder = lambda place: (time.sleep(5), lock(place))[1]
sys.exit(main(["train", *sys.argv[1:]]))
"""


def refused(backend, out, *own):
    """What two workers say that were started with different options, and must end."""
    pytest.importorskip(backend)
    arguments = ["-c", COMMAND, "--output-dir", str(out), "--steps", "2"]
    started = processes(backend, out, arguments, own=own)
    try:
        codes = [process.wait(300) for process in started]
    finally:
        for process in started:
            process.kill()
    logs = [(out.parent / f"{out.name}.{worker}.log").read_text() for worker in (0, 1)]
    assert codes == [2, 2], logs
    assert not out.exists()
    first, second = (log.splitlines()[-1] for log in logs)
    assert first == second
    return first


def exhaustive(backend):
    return pytest.param(backend, marks=pytest.mark.exhaustive)


@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["jax", exhaustive("tensorflow")])
def test_workers_with_other_rates_all_end_before_they_train(tmp_path, backend):
    own = (["--learning-rate", "0.1"], ["--learning-rate", "0.05"])
    said = refused(backend, tmp_path / "runs", *own)
    assert "learning_rate: worker 0 has 0.1, worker 1 has 0.05." in said


@pytest.mark.multiprocess
@pytest.mark.parametrize("backend", ["tensorflow", exhaustive("jax")])
def test_workers_with_other_images_all_end_before_they_train(tmp_path, copies, backend):
    shutil.copytree(copies / "b", tmp_path / "b")
    (tmp_path / "b" / "photos" / "dog" / "11.png").unlink()
    folders = [str(place / "photos") for place in (copies / "a", tmp_path / "b")]
    options = ["--network", "resnet20", "--batch-size", "4", "--data"]
    said = refused(
        backend, tmp_path / "runs", *([*options, folder] for folder in folders)
    )
    assert "training images: worker 0 has " in said
    assert "fingerprint of the data: worker 0 has " in said
