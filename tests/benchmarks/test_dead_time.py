"""What the watcher of dead time sees of programs that stand still, and of phases."""

import pathlib
import sys

import pytest

from benchmarks import dead_time

if not pathlib.Path("/proc/self/stat").exists():
    pytest.skip("processor times are read from /proc", allow_module_level=True)
BUSY = "import time; end = time.time() + {}\nwhile time.time() < end: pass\n"


@pytest.mark.slow
def test_a_program_that_stands_still_is_seen_to_its_end():
    seconds, dead = dead_time.watch(
        [sys.executable, "-c", BUSY.format(1.5) + "time.sleep(2)"]
    )
    assert sum(end - begin for begin, end in dead) == pytest.approx(2, abs=0.8)
    assert dead[-1][1] == pytest.approx(seconds, abs=0.3)


@pytest.mark.slow
def test_a_program_that_computes_is_never_dead():
    _, dead = dead_time.watch([sys.executable, "-c", BUSY.format(2)])
    assert not dead


def test_dead_time_is_told_by_phase():
    record = {
        "phase_seconds": {
            "data": 1.0,
            "network": 2.0,
            "first_update": 3.0,
            "updates": 10.0,
            "pictures": 2.0,
            "measuring": 1.0,
        }
    }
    # The record is written 23 s after the start, so its phases began after 4 s.
    phases = dead_time.by_phase(record, 23.0, 24.0, [(0.0, 1.0), (6.0, 8.0)])
    assert phases["start"] == (4.0, 1.0)
    assert phases["network"] == (2.0, 1.0)
    assert phases["first_update + updates + validation + checkpoints"] == (13.0, 1.0)
    assert phases["pictures + measuring"] == (3.0, 0)
    assert phases["end"] == (1.0, 0)
