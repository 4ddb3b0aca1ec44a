"""What is kept of the rounds in which loss landscapes are timed."""

import argparse
import pathlib

import numpy as np
import pytest

from benchmarks import landscape, speed_tables
from benchmarks.landscape import BETTER_LOOP, CLIP, LOOP, OURS

OPTIONS = argparse.Namespace(
    run=pathlib.Path("quickstart_seed0"), images=100, points=2, grid=3, batch_size=64
)
DESCRIBED = {
    "hardware": {"cores": 2, "cpu": "a CPU"},
    "versions": dict.fromkeys(("python", "keras", "tensorflow", "torch"), "1.0"),
}


def losses(of_ours, of_loop):
    """Those of a round, alike near the network."""
    surface = {OURS: of_ours, LOOP: of_loop, BETTER_LOOP: of_loop}
    return {
        "point": dict.fromkeys(surface, np.full((2, 2), 0.5)),
        "surface": {name: np.array([found]) for name, found in surface.items()},
    }


def test_medians_and_every_round_are_kept(tmp_path, monkeypatch):
    rounds = [
        {
            "point": {OURS: 0.1, LOOP: loop, BETTER_LOOP: 0.15},
            "surface": {OURS: 2.0, LOOP: 40 * loop, BETTER_LOOP: 6.0},
        }
        for loop in (0.2, 0.25, 0.7)
    ]
    alike = losses([0.5, CLIP, CLIP], [0.5, 12.0, np.nan])
    result = landscape.result_of(rounds, OPTIONS, DESCRIBED, alike)
    assert result["seconds_by_round"]["point"][LOOP] == [0.2, 0.25, 0.7]
    assert result["times_faster"]["point"] == {LOOP: 2.5, BETTER_LOOP: 1.5}
    assert result["times_faster"]["surface"] == {LOOP: 5.0, BETTER_LOOP: 3.0}
    assert result["share_at_or_above_clip"] == 0.667

    monkeypatch.setattr(speed_tables, "load", lambda name: result)
    monkeypatch.setattr(speed_tables, "RESULTS", tmp_path)
    (tmp_path / "landscape.json").touch()
    table = speed_tables.landscape()
    assert f"| {LOOP} | 0.25 | 10.0 |" in table and "2.50 ×" in table


def test_other_losses_are_no_comparison():
    with pytest.raises(SystemExit, match="within 0.001"):
        landscape.compared(losses([0.5, 9.0], [0.5, 9.1]))
