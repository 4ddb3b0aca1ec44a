"""The run of another user, in whose folder nothing may be written: a real process."""

import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

from keras_resnet.data import sources
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.exhaustive
TRAINED = REPOSITORY / "saved_models/quickstart_seed0"
NOBODY = "65534"
# May read all that root may, as this environment may lie in root's home.
AS_NOBODY = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]


@pytest.fixture
def user():
    """How a command begins that must not write what root, or this user, may only read."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    if subprocess.run([*AS_NOBODY, "true"], capture_output=True).returncode:
        pytest.skip("another user's rights can't be taken here")
    return AS_NOBODY


def test_a_run_that_may_only_be_read(tmp_path_factory, user):
    place = tmp_path_factory.mktemp("shared")
    for parent in (place, place.parent):
        parent.chmod(0o755)
    run, out = place / "quickstart_seed0", place / "out"
    run.mkdir()
    for name in ("record.json", "settings.json", "history.csv", "model.keras"):
        shutil.copy(TRAINED / name, run)
    image = place / "image.png"
    keras.utils.save_img(image, sources.load("fashion_mini").test.images[0])
    out.mkdir()
    out.chmod(0o777)
    run.chmod(0o555)
    before = sorted(run.iterdir())
    commands = [
        ["predict", str(run), str(image)],
        ["evaluate", str(run), "--split", "validation"],
        ["analyze", str(run), "responses", "--images", "8"],
        ["report", str(run)],
        ["report", str(run), "--seconds", "0", "--output", str(out / "r.html")],
        ["export", str(run)],
        ["train", "--output-dir", str(place)],
    ]
    words = [sys.executable, "-m", "tests.helpers.commands", json.dumps(commands)]
    done = subprocess.run(
        [*user, *words],
        cwd=REPOSITORY,
        env=os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("= ")]
    assert codes == [f"= {code}" for code in (0, 0, 0, 1, 0, 1, 0)], done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert done.stderr.count("isn't kept in") == 2  # A result each.
    assert done.stderr.count("`output` (--output) can't be written") == 2
    assert "top-1 error" in done.stdout and "is finished" in done.stdout
    assert (out / "r.html").stat().st_size > 10_000
    assert sorted(run.iterdir()) == before
