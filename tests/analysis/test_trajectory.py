"""Principal components of snapshots, beside NumPy's singular values."""

import numpy as np
import pytest

from keras_resnet.analysis.trajectory import project_trajectory

SHAPES = ((3, 3, 2, 4), (4,), (4, 5), (2,))


def snapshots(count=6, seed=0):
    """A walk whose steps become shorter; the last tensor is a seed's state."""
    random = np.random.default_rng(seed)
    steps = [
        [random.normal(0, 1 / (1 + n), shape) for shape in SHAPES] for n in range(count)
    ]
    walk = [np.cumsum([step[k] for step in steps], axis=0) for k in range(len(SHAPES))]
    dtypes = ("float32", "float32", "float32", "uint32")
    return [
        [np.abs(part[n]).astype(d) if d == "uint32" else part[n].astype(d)
         for part, d in zip(walk, dtypes, strict=True)]
        for n in range(count)
    ]  # fmt: skip


def flat(weights):
    return np.concatenate([weights[k].ravel().astype("float64") for k in (0, 2)])


def test_it_is_the_centred_pca_of_the_differences():
    given = snapshots()
    found = project_trajectory(given)
    matrix = np.stack([flat(one) - flat(given[-1]) for one in given])
    _, values, rows = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(
        found.explained, values[:2] ** 2 / np.sum(values**2), rtol=1e-6
    )
    for number, direction in enumerate(found.directions):
        assert [part.shape for part in direction] == [w.shape for w in given[0]]
        assert [part.dtype for part in direction] == [w.dtype for w in given[0]]
        assert not direction[1].any()
        assert not direction[3].any()
        component = flat(direction)
        sign = np.sign(component @ rows[number])
        np.testing.assert_allclose(component, sign * rows[number], atol=1e-6)
        np.testing.assert_allclose(
            found.positions[:, number], matrix @ component, atol=1e-5
        )
    np.testing.assert_allclose(found.positions[-1], 0, atol=1e-9)
    assert found.positions[np.abs(found.positions[:, 0]).argmax(), 0] > 0


def test_axes_hold_the_trajectory():
    found = project_trajectory(snapshots())
    x, y = found.axes(points=11, margin=0.1)
    for axis, positions in ((x, found.positions[:, 0]), (y, found.positions[:, 1])):
        assert len(axis) == 11
        extent = np.ptp(positions)
        assert np.ptp(axis) == pytest.approx(1.2 * extent)
        assert axis[0] == pytest.approx(positions.min() - 0.1 * extent)


def test_what_does_not_fit_is_refused():
    given = snapshots()
    with pytest.raises(ValueError, match=r"three moments or more. Received: 2"):
        project_trajectory(given[:2])
    with pytest.raises(ValueError, match="lie on a line"):
        project_trajectory([given[0]] * 3)
    straight = [[n * part for part in given[0]] for n in (1.0, 2.0, 3.5)]
    with pytest.raises(ValueError, match="lie on a line"):
        project_trajectory(straight)
    with pytest.raises(ValueError, match="shape"):
        project_trajectory([*given, [part.T for part in given[0]]])
    with pytest.raises(ValueError, match="finite"):
        project_trajectory([[part * np.nan for part in given[0]], *given])
