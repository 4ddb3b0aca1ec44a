"""Figures of surfaces, images and features show the numbers that they are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_resnet.analysis import landscape_plots, seeing_plots

pytest.importorskip("matplotlib")


def test_surfaces_share_their_levels_and_lines_go_through_the_middle(tmp_path, drawn):
    x = np.array([-1.0, 0.0, 1.0])
    loss = np.array([[10, 9, 10], [8, 0.05, 7], [10, 6, 10.0]])
    networks = {
        name: SimpleNamespace(x=x, y=x, loss=np.minimum(10, loss * scale), error=loss)
        for name, scale in (("_a", 1), ("b", 2))
    }
    for one in networks.values():
        one.clip = 10.0
    landscape_plots.surfaces(networks, tmp_path / "l.png", title="A run")
    first, second, _, mountain, _, below, error = drawn[0].axes
    assert mountain.name == "3d" and mountain.get_zlim() == (0, 10)
    assert mountain.get_title() == "_a"
    for one in networks.values():
        one.clip = None
    landscape_plots.surfaces(networks, tmp_path / "no_clip.png", title="A run")
    assert drawn[1].axes[3].get_zlim()[0] == 0
    levels = [axis.collections[0].levels for axis in (first, second)]
    np.testing.assert_allclose(levels, [np.arange(0.1, 10, 0.5)] * 2)
    np.testing.assert_array_equal(below.lines[0].get_ydata(), [8, 0.05, 7])
    np.testing.assert_array_equal(error.lines[1].get_ydata(), loss[1])
    for one in networks.values():
        one.y, one.loss, one.error = np.zeros(1), one.loss[1:2], one.error[1:2]
    landscape_plots.surfaces(networks, tmp_path / "l.svg", title="A line")
    assert len(drawn[2].axes) == 2


def test_the_way_of_the_weights_lies_over_the_contours(tmp_path, drawn):
    x, y = np.linspace(-1, 4, 5), np.linspace(-1, 2, 4)
    surface = SimpleNamespace(x=x, y=y, loss=np.hypot(x, y[:, None]))
    path = SimpleNamespace(
        updates=np.array([0, 500, 1000]),
        positions=np.array([[3.0, 1.0], [1.0, 1.0], [0.0, 0.0]]),
        explained=np.array([0.8, 0.15]),
    )
    networks, paths = {"_a": surface, "b": surface}, {"_a": path, "b": path}
    landscape_plots.trajectories(networks, paths, tmp_path / "t.svg", title="A run")
    axis = drawn[0].axes[0]
    _, way, start, end = axis.lines
    np.testing.assert_array_equal(np.transpose(way.get_data()), path.positions)
    assert (start.get_xdata().tolist(), start.get_markerfacecolor()) == ([3.0], "white")
    assert (end.get_xdata().tolist(), end.get_marker()) == ([0.0], "+")
    assert {"0", "500", "1,000"} <= {text.get_text() for text in axis.texts}
    assert axis.get_xlabel() == "first principal component (80 % of the variance)"
    assert [one.get_title() for one in drawn[0].axes[:2]] == ["_a", "b"]


def test_images_are_captioned_with_what_is_wrong(tmp_path, drawn):
    pixels, heat = np.zeros((2, 8, 8, 1), "uint8"), np.zeros((2, 8, 8))
    answers = ["cat", "dog"], ["cat", "cat"], np.array([0.9, 0.6])
    heats = {"Grad-CAM": heat, "occlusion": heat}
    filters = np.zeros((40, 3, 3, 1))
    path = tmp_path / "a.png"
    seeing_plots.attributions(pixels, heats, answers, filters, path, title="A run")
    assert "image, Grad-CAM, occlusion" in drawn[0].get_suptitle()
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == [
        "✓ cat 90%",
        "✗ dog 60%\ntrue: cat",
        "the filters of the first layer",
    ]
    first, _, below = drawn[0].axes
    assert first.images[0].get_array().shape == (8, 8 + 1 + 8 + 1 + 8, 3)
    assert below.images[0].get_array().shape == (2 * 4, 32 * 4, 3)
