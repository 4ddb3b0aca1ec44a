"""Environment and fixtures that every test module shares."""

import atexit
import functools
import importlib.util
import os
import pathlib
import shutil
import tempfile
import traceback

import pytest

from tests.helpers.other_packages import link_all_but, run_beside
from tests.helpers.shards import (  # noqa: F401
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_report_header,
)
from tests.helpers.torchvision_operators import stand_in_for_cuda

pytest_plugins = ["tests.helpers.skipped"]

# Before TensorFlow is imported: oneDNN of TF 2.21 corrupts memory in strided 1x1
# convolutions of few channels and odd batches, and answers empty batches wrongly.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What is tested here is what CPUs do, by defaults that no user's files change.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras_resnet_tests_")
JOBS = ("TF_CONFIG", "SLURM_", "KERAS_RESNET_WORKER")
for name in [name for name in os.environ if name.startswith(JOBS)]:
    del os.environ[name]  # Else training would look for the other workers of a job.

REPOSITORY = pathlib.Path(__file__).parents[1]
os.chdir(REPOSITORY)  # Where processes of tests find `tests`.
atexit.register(shutil.rmtree, os.environ["KERAS_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real images that developers share, beside the checkout."""
    path = pathlib.Path(
        os.environ.get("KERAS_RESNET_SHARED_DATA", REPOSITORY.parent / "shared/data")
    )
    if not path.is_dir():
        pytest.skip(
            f"needs the developers' shared images at {path}: "
            "set KERAS_RESNET_SHARED_DATA to their folder"
        )
    return path


@pytest.fixture(scope="session")
def without_tensorflow(tmp_path_factory):
    """A function of backend, code and folder that runs code beside all but TensorFlow."""
    packages = tmp_path_factory.mktemp("packages")
    link_all_but(("tensorflow", "keras_resnet"), packages)
    return functools.partial(run_beside, packages)


@pytest.fixture
def never_autotuned(monkeypatch):
    """Lets the package iterate over no data set whose autotuning is on.

    Those that a test itself iterates over are not meant. Gives the list of the others.
    """
    tensorflow = pytest.importorskip("tensorflow")
    package = str(REPOSITORY / "keras_resnet")
    begin = tensorflow.data.Dataset.__iter__
    iterated = []

    def noted(dataset):
        files = [frame.filename for frame in traceback.extract_stack()]
        if any(file.startswith(package) for file in files):
            iterated.append(dataset)
            assert dataset.options().autotune.enabled is False
        return begin(dataset)

    monkeypatch.setattr(tensorflow.data.Dataset, "__iter__", noted)
    return iterated


@pytest.fixture
def keras_is_told():
    """A function after which Keras is as a user's ``keras.json`` and variables can be."""
    keras = pytest.importorskip("keras")
    from keras_resnet.devices.precision import computing_in

    def tell():
        keras.config.set_floatx("float16")
        keras.config.set_dtype_policy("float16")
        keras.config.set_epsilon(1e-3)
        keras.config.set_image_data_format("channels_first")
        keras.config.set_max_epochs(1)
        keras.config.set_max_steps_per_epoch(1)

    with computing_in("float32"):  # Puts all of them back.
        yield tell


# --- Packages that a test compares with, or is skipped ----------------------------


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch", reason="needs PyTorch: see CONTRIBUTING.md")


@pytest.fixture(scope="session")
def references(torch):
    return importlib.import_module("tests.helpers.torch_references")


@pytest.fixture(scope="session")
def torchvision(references, tmp_path_factory):
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision: see CONTRIBUTING.md")
    stand_in_for_cuda(tmp_path_factory.mktemp("cuda"))
    return references.import_torchvision()


@pytest.fixture(scope="session")
def torchvision_operators(torchvision):
    """It with operators such as `ops.nms`, which need its compiled library."""
    if not torchvision.extension._has_ops():
        pytest.skip("needs a torchvision whose operators can be loaded")
    return torchvision


@pytest.fixture(scope="session")
def timm(torchvision):  # Which timm imports.
    return pytest.importorskip("timm", reason="needs timm: see CONTRIBUTING.md")


@pytest.fixture(scope="session")
def keras_hub():
    return pytest.importorskip(
        "keras_hub", reason="needs KerasHub: see CONTRIBUTING.md"
    )
