"""A detector trained by plain `fit` on two devices, and with XLA, equals one device's."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import pytest

from keras_resnet.detection.checks import check_replicas

pytest.importorskip("tensorflow")


def result(other):
    process = subprocess.run(
        [sys.executable, "-m", "tests.helpers.two_detectors", other],
        capture_output=True,
        text=True,
        timeout=3600,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.exhaustive
@pytest.mark.multiprocess
@pytest.mark.parametrize("other", ["two", "xla"])  # XLA compiles for minutes.
def test_the_same_is_learned(other):
    found = result(other)
    assert found["learned"] > 1e-3
    assert found["losses"] < 1e-5 * found["first_loss"]
    assert found["weights"] < 1e-5
    assert found["boxes"] < 1e-2  # Pixels.
    if other == "two":
        assert "XLA can't compile a detector" in found["xla_refused"]
        assert "global_clipnorm=1.0, 2 devices" in found["clipping_refused"]


@pytest.mark.parametrize(
    ("xla", "optimizer", "message"),
    [
        (True, keras.optimizers.SGD(), "jit_compile=True, 2 devices"),
        (False, keras.optimizers.SGD(clipnorm=2.0), "clipnorm=2.0, 2 devices"),
        (
            False,
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(clipvalue=3.0)),
            "clipvalue=3.0, 2 devices",
        ),
    ],
)
@pytest.mark.parametrize("replicas", [1, 2])
def test_several_devices_need_neither_xla_nor_clipping(
    replicas, xla, optimizer, message
):
    model = SimpleNamespace(
        distribute_strategy=SimpleNamespace(num_replicas_in_sync=replicas),
        jit_compile=xla,
        optimizer=optimizer,
    )
    if replicas == 1:
        check_replicas(model)
    else:
        with pytest.raises(ValueError, match=message):
            check_replicas(model)
