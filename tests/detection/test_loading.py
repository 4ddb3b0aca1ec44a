"""A saved detector is loaded by a program that imports the package and Keras alone."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.helpers.small_detectors import small_detector

CODE = """
import sys, {first}, {second}
model = keras.saving.load_model(sys.argv[1])
print(type(model).__name__, model.spec.name, model.class_names, model.compiled)
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "order", [("keras", "keras_resnet"), ("keras_resnet", "keras")]
)
def test_by_importing_the_package_alone(order, tmp_path):
    detector = small_detector()
    detector.class_names = ("a", "b", "c")
    detector.compile("sgd")
    detector.save(tmp_path / "detector.keras")
    code = CODE.format(first=order[0], second=order[1])
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "detector.keras"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("\n")[-2:] == [
        "FasterRCNN small ('a', 'b', 'c') True",
        "",
    ], done.stderr
