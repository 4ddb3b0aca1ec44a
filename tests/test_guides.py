"""The guides' scripts, run as a reader would."""

import os
import subprocess
import sys

import pytest

from tests.helpers.guides import GUIDES, scripts


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("tensorflow", marks=pytest.mark.slow),
        *(pytest.param(b, marks=pytest.mark.exhaustive) for b in ("jax", "torch")),
    ],
)
def test_the_pieces_in_a_script_of_ones_own(tmp_path, backend):
    pytest.importorskip(backend)
    code = scripts("your_own_loop.md")[0]
    path = [str(GUIDES.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:keras_resnet", "-c", code],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "update 6/6" in done.stdout
    assert "update 12/12" not in done.stdout  # The second optimizer counts anew.
    for name in ("first", "second"):
        lines = (tmp_path / name / "history.csv").read_text().splitlines()
        assert lines[0] == "step,epoch,loss,accuracy,learning_rate,images_per_second"
        rates = [float(line.split(",")[4]) for line in lines[1:]]
        assert rates[0] == pytest.approx(0.01)
        # Warm-up lasts; whether noise has come to a plateau is chance.
        least = 0.01 if name == "first" else 0.001
        assert least - 1e-6 < rates[1] < 0.0100001
    assert (tmp_path / "own.keras").exists()
