"""Figures of analyses show the numbers that they are given, at their places."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_resnet.analysis import block_plots, network_plots

pytest.importorskip("matplotlib")


def heights(axis):
    """The heights of the bars by their place."""
    return {round(b.get_x() + b.get_width() / 2): b.get_height() for b in axis.patches}


def test_responses_are_in_order_and_sorted(tmp_path, drawn):
    values = np.array([0.3, 0.9, 0.5])
    whole = SimpleNamespace(
        deviation=values, after_norm=lambda: np.array([1, 1, 0]) > 0
    )
    path = tmp_path / "responses.svg"
    written = network_plots.layer_responses({"_$a": whole}, path, title="A run")
    assert written == path and path.read_text().startswith("<?xml")
    ordered, descending = drawn[0].axes
    line, own, hollow = ordered.lines
    np.testing.assert_array_equal(line.get_ydata(), values)
    np.testing.assert_array_equal(descending.lines[0].get_ydata(), [0.9, 0.5, 0.3])
    # What is measured without a batch norm is told apart in both.
    assert hollow.get_markerfacecolor() == "white" != own.get_markerfacecolor()
    assert hollow.get_xdata().tolist() == [3]
    assert descending.lines[2].get_xdata().tolist() == [2]
    assert ordered.get_legend().get_texts()[0].get_text() == "_$a"


def test_gradients_are_logarithmic_and_leave_zeros_out(tmp_path, drawn):
    kinds = {"convolutions": np.array([True, True, False])}
    first = SimpleNamespace(norms=np.array([1e3, 0.0, 1e-3]), **kinds)
    last = SimpleNamespace(norms=np.array([1.0, 2.0, 3.0]), **kinds)
    signal = SimpleNamespace(
        names=["a", "b", "c"],
        stages=np.array([1, 1, 2]),
        variance=np.array([1.0, 2.0, 1.5]),
        residual_variance=np.zeros(3),
    )
    norms = {"at initialisation": first, "trained": last}
    network_plots.gradient_norms(norms, signal, tmp_path / "g.png", title="A run")
    network_plots.gradient_norms(norms, None, tmp_path / "g.png", title="A plain net")
    upper, lower = drawn[0].axes
    assert upper.get_yscale() == lower.get_yscale() == "log"
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), [1e3, np.nan, 1e-3])
    assert upper.lines[1].get_xdata().tolist() == [3]  # The dense layer's.
    assert upper.lines[1].get_markerfacecolor() == "white"
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), signal.variance)
    assert lower.lines[2].get_xdata() == [2.5, 2.5]  # Between the stages.
    assert len(drawn[1].axes) == 1
    along = SimpleNamespace(
        updates=np.array([0, 50, 100]),
        layers=["a", "b", "c"],
        norms=np.array([[1, 0, 2], [3, 4, 5], [6, 7, 8.0]]),
    )
    title = "Along the training"
    path = tmp_path / "g.png"
    network_plots.gradient_norms(norms, signal, path, title=title, along=along)
    _, middle, last, scale = drawn[2].axes
    np.testing.assert_array_equal(middle.lines[0].get_ydata(), [1, np.nan, 2])
    assert len({tuple(line.get_color()) for line in middle.lines}) == 3
    assert middle.get_yscale() == "log" and scale.get_ylabel() == "update"
    np.testing.assert_array_equal(last.lines[0].get_ydata(), signal.variance)
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


def test_errors_stand_at_their_blocks_and_counts(tmp_path, drawn):
    each = SimpleNamespace(
        names=["stage1_block1_add", "stage1_block2_add", "stage2_block1_add"],
        stages=np.array([1, 1, 2]),
        error=np.array([30.0, 20.0, 50.0]),
        whole_error=10.0,
        skipped=(),
    )
    several = SimpleNamespace(
        counts=np.array([1, 3]), error=np.array([[20.0, 30.0], [60.0, 80.0]])
    )
    block_plots.deletions(each, several, tmp_path / "l.png", title="A run")
    one, many = drawn[0].axes
    assert heights(one) == {1: 30, 2: 20, 3: 50}
    hatched = {
        round(bar.get_x() + bar.get_width() / 2)
        for bar in one.patches
        if bar.get_hatch()
    }
    assert hatched == {1, 3}  # The first of each stage.
    ticks = [text.get_text() for text in one.get_xticklabels()]
    assert ticks == ["1.1", "1.2", "2.1"]
    draws, mean = many.lines[:2]
    assert draws.get_xdata().tolist() == [1, 1, 3, 3]
    assert mean.get_ydata().tolist() == [25, 70]
    for axis in (one, many):
        labels = [text.get_text() for text in axis.get_legend().get_texts()]
        assert "whole network: 10.0 %" in labels


def test_a_plain_nets_blocks_are_not_taken_for_the_first(tmp_path, drawn):
    """The first block of a stage is skipped, and blocks may have any names."""
    each = SimpleNamespace(
        names=["a", "b"],
        stages=np.array([1, 2]),
        error=np.array([90.0, 80.0]),
        whole_error=10.0,
        skipped=("c",),
    )
    several = SimpleNamespace(counts=np.array([1]), error=np.array([[90.0]]))
    block_plots.deletions(each, several, tmp_path / "l.png", title="A plain net")
    one = drawn[0].axes[0]
    assert not any(bar.get_hatch() for bar in one.patches)
    assert one.get_xlabel() == "block that is deleted"


def test_permutations_lead_away_from_their_own_order(tmp_path, drawn):
    found = SimpleNamespace(
        swaps=np.array([1, 2]),
        kendall_tau=np.array([[0.8, 0.6], [0.4, -0.2]]),
        error=np.array([[12.0, 15.0], [30.0, 60.0]]),
        whole_error=10.0,
    )
    block_plots.permutations(found, tmp_path / "p.png", title="A run")
    (axis,) = drawn[0].axes
    left, right = axis.get_xlim()
    assert left > 1 and right < -0.2
    for line, tau, error in zip(
        axis.lines, found.kendall_tau, found.error, strict=False
    ):
        np.testing.assert_array_equal(line.get_xdata(), tau)
        np.testing.assert_array_equal(line.get_ydata(), error)
    assert axis.lines[0].get_marker() != axis.lines[1].get_marker()


def test_paths_have_their_share_in_percent(tmp_path, drawn):
    found = SimpleNamespace(
        lengths=np.arange(3),
        frequency=np.array([0.25, 0.5, 0.25]),
        norm=np.array([1.0, 0.1, 0.0]),
        deviation=np.array([2.0, 0.01, 0.0]),
        share=np.array([0.8, 0.2, 0.0]),
        covering=lambda share: (0, 1),
    )
    block_plots.path_gradients(found, tmp_path / "p.png", title="A run")
    lengths, single, together = drawn[0].axes
    assert heights(lengths) == {0: 25, 1: 50, 2: 25}
    assert heights(together) == pytest.approx({0: 80, 1: 20, 2: 0})
    assert single.get_yscale() == "log"
    assert single.lines[0].get_xdata().tolist() == [0, 1]  # Without that of 0.
    assert single.get_ylim()[0] > 0
    assert together.get_legend().get_texts()[0].get_text() == "95 %: 0 to 1 blocks"
