"""`--skipped-before` runs what an earlier run skipped, and nothing else."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

MODULES = {
    "test_module.py": """
        import pytest
        pytest.importorskip("installed_later")
        def test_in_module(): pass
    """,
    "test_single.py": """
        import os, pytest
        def test_passes(): pass
        @pytest.mark.xfail
        def test_fails(): assert False
        def test_single():
            pytest.importorskip("installed_later")
    """,
}


def run(folder, *options):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "-p",
            "tests.helpers.skipped",
            *options,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{REPOSITORY}"},
        capture_output=True,
        text=True,
    )
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    return {line.rpartition("::")[2] for line in passed}, done.stdout + done.stderr


@pytest.mark.slow
def test_what_was_skipped_is_run_later(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = all")
    (tmp_path / "all").mkdir()
    for name, text in MODULES.items():
        lines = [line.removeprefix(" " * 8) for line in text.splitlines()]
        (tmp_path / "all" / name).write_text("\n".join(lines))
    assert "there was none" in run(tmp_path, "--skipped-before")[1]
    assert run(tmp_path)[0] == {"test_passes"}
    (tmp_path / "installed_later.py").touch()
    # A run of a part, or by marker, notes nothing.
    run(tmp_path, "all/test_single.py")
    run(tmp_path, "-m", "slow")
    assert run(tmp_path, "--skipped-before")[0] == {"test_in_module", "test_single"}
