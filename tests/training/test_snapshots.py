"""When weights are kept along a training, and how they are read."""

import numpy as np
import pytest

from keras_resnet.training.snapshots import (
    SNAPSHOTS,
    read_snapshot,
    snapshot_updates,
    snapshots_in,
    space,
    write_snapshot,
)
from tests.helpers.tiny_model import tiny_model


@pytest.mark.parametrize(
    ("count", "steps", "expected"),
    [
        (2, 780, [0, 780]),
        (3, 780, [0, 390, 780]),
        (4, 10, [0, 3, 7, 10]),
        (11, 10, list(range(11))),
        (2, 1, [0, 1]),
    ],
)
def test_they_are_spread_evenly(count, steps, expected):
    assert snapshot_updates(count, steps) == expected


def test_none_is_kept_twice():
    for steps in (1, 7, 50):
        for count in range(2, steps + 2):
            updates = snapshot_updates(count, steps)
            assert len(set(updates)) == count
            gaps = np.diff(updates)
            assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("count", [1, 12])
def test_so_many_there_cant_be(count):
    with pytest.raises(ValueError, match="from 2, .* to 11, .*Received: snapshots="):
        snapshot_updates(count, 10)


def test_weights_are_seen_between_executions_alone():
    assert snapshot_updates(6, 100, every=10) == [0, 20, 40, 60, 80, 100]
    with pytest.raises(ValueError, match="such that snapshots - 1 divides 10"):
        snapshot_updates(5, 100, every=10)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / SNAPSHOTS / "update_00000010.npz"
    write_snapshot(path, [np.ones(3, "float32"), np.zeros((2, 2), "float32")])
    assert [weight.shape for weight in read_snapshot(path)] == [(3,), (2, 2)]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="update_00000010.npz must hold weights"):
        read_snapshot(path)
    with pytest.raises(FileNotFoundError):
        read_snapshot(path.with_name("update_00000011.npz"))


def test_they_are_found_in_the_order_of_training(tmp_path):
    assert snapshots_in(tmp_path) == {}
    for name in ("update_100000000.npz", "update_99999999.npz", "update_x.npz"):
        write_snapshot(tmp_path / SNAPSHOTS / name, [np.ones(1)])
    assert list(snapshots_in(tmp_path)) == [99_999_999, 100_000_000]


def test_a_plan_tells_the_space():
    network = tiny_model()  # 64 numbers of 4 bytes.
    assert space(network, []) == []
    (line,) = space(network, [0, 5, 10])
    assert line.startswith("snapshots 3 sets of weights, 256 bytes each, 768 bytes in")
    assert line.endswith("about every 5 updates")
