"""Environment and fixtures that every test module shares."""

import os
import pathlib

# Before TensorFlow is imported: oneDNN of TF 2.21 corrupts memory in strided 1x1
# convolutions of few channels and odd batches, and answers empty batches wrongly.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]


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
