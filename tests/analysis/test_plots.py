"""Figures: that they are whole, say the right things and leave nothing behind."""

import numpy as np
import pytest

from keras_resnet.analysis import plots
from keras_resnet.analysis.detector_plots import detector_curves

pytest.importorskip("matplotlib")
PNG = b"\x89PNG"


def history(rows, **changes):
    return [
        {
            "step": 100 * n,
            "epoch": n,
            "loss": 2 / n,
            "accuracy": 1 - 0.5 / n,
            "val_loss": 2.5 / n if n % 2 == 0 else "",
            "val_accuracy": 1 - 0.6 / n if n % 2 == 0 else "",
            "learning_rate": 0.1 if n < 5 else 0.01,
            "images_per_second": 900.0,
        }
        | changes
        for n in range(1, rows + 1)
    ]


def test_average_precision_is_shown_in_percent(tmp_path, drawn):
    row = {"step": 10, "loss": 1.0, "val_loss": 1.1, "learning_rate": 0.1}
    rows = [row | {"val_average_precision": share} for share in (0.25, float("nan"))]
    detector_curves(rows, tmp_path / "curves.png", title="A run")
    [line] = drawn[0].axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [25.0])


def test_curves_show_errors_in_percent_at_their_steps(tmp_path, drawn):
    path = plots.training_curves(history(8), tmp_path / "curves.png", title="A run")
    assert path.read_bytes().startswith(PNG)
    assert [item.name for item in tmp_path.iterdir()] == ["curves.png"]
    errors, losses, rate, _ = drawn[0].axes
    training, validation = errors.lines
    np.testing.assert_allclose(training.get_ydata(), [50 / n for n in range(1, 9)])
    np.testing.assert_array_equal(validation.get_xdata(), [200, 400, 600, 800])
    np.testing.assert_allclose(validation.get_ydata(), [30, 15, 10, 7.5])
    assert validation.get_label() == "validation: 7.5 %"
    assert training.get_linestyle() != validation.get_linestyle()
    assert losses.lines[0].get_ydata()[-1] == 0.25
    assert rate.get_yscale() == "symlog"
    assert rate.get_xlim() == errors.get_xlim()
    assert drawn[0].get_suptitle() == "A run"


@pytest.mark.parametrize(
    "values", [[0.1, 0.01, 0.001], [0.05, 0.1, 1e-9], [5e-4, 1e-3, 0.0]]
)
def test_every_learning_rate_has_its_height(tmp_path, drawn, values):
    rows = [history(3, learning_rate=v)[i] for i, v in enumerate(values)]
    plots.training_curves(rows, tmp_path / "curves.png", title="")
    rate = drawn[0].axes[2]
    height = {
        v: rate.transAxes.inverted().transform(rate.transData.transform((0, v)))[1]
        for v in values
    }
    assert height[max(values)] > 0.8
    # What is next to nothing lies at the bottom; a tenth and a hundredth well above.
    for value in values:
        assert (height[value] > 0.1) == (value >= max(values) / 100)


def test_curves_from_a_file_are_those_from_rows(tmp_path, drawn):
    rows = history(4)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (tmp_path / "history.csv").write_text("\n".join(lines) + "\n")
    plots.training_curves(rows, tmp_path / "a.png", title="")
    plots.training_curves(tmp_path / "history.csv", tmp_path / "b.png", title="")
    for one, other in zip(drawn[0].axes, drawn[1].axes, strict=True):
        for line, same in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())


@pytest.mark.parametrize(
    "rows",
    [
        history(1),
        history(3, val_loss="", val_accuracy=None),
        history(3, loss=float("nan"), accuracy=1.0),
        history(2, learning_rate=0.0),
    ],
    ids=["one row", "never validated", "diverged", "rate zero"],
)
def test_curves_of_odd_histories(rows, tmp_path):
    path = plots.training_curves(rows, tmp_path / "curves.svg", title="odd")
    assert "<svg" in path.read_text()


def test_curves_of_nothing_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="must have rows"):
        plots.training_curves([], tmp_path / "curves.png", title="")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_picture(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def no_space(self, target, **options):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", no_space)
    with pytest.raises(OSError, match="No space"):
        plots.training_curves(history(2), path, title="")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["curves.png"]


def test_the_users_matplotlib_is_left_alone(tmp_path):
    from matplotlib import pyplot, rcParams

    def settings():  # Reading the backend's name would choose one.
        return {name: rcParams[name] for name in rcParams if name != "backend"}

    before, figures = settings(), pyplot.get_fignums()
    row = dict(step=1, loss=1, accuracy=0.5, learning_rate=0.1)
    plots.training_curves([row], tmp_path / "curves.png", title="")
    assert settings() == before and pyplot.get_fignums() == figures


def test_training_errors_of_several_networks(tmp_path):
    rows = [{"step": 10, "accuracy": 0.5}, {"step": 20, "accuracy": 0.75}]
    path = plots.training_errors(
        {"plain-20": rows, "ResNet-20": rows}, tmp_path / "errors.png", title="A title"
    )
    assert path.stat().st_size > 5_000
    with pytest.raises(ValueError, match="must be 1 to 4"):
        plots.training_errors({}, tmp_path / "none.png", title="A title")
    with pytest.raises(ValueError, match="history of 'bare' must hold accuracies"):
        plots.training_errors({"bare": []}, tmp_path / "none.png", title="A title")


def test_updates_are_whole_and_the_rate_begins_with_the_first(tmp_path, drawn):
    rates = [(1, 0.0), (3, 0.1), (6, 0.01)]
    row = history(1, step=6, val_loss=2.5, val_accuracy=0.4)
    plots.training_curves(row, tmp_path / "curves.png", title="", rates=rates)
    errors, _, rate, _ = drawn[0].axes
    assert [tick for tick in rate.get_xticks() if tick <= 6] == [0, 2, 4, 6]
    assert [line.get_marker() for line in errors.lines] == ["o", "o"]  # Lone points.
    np.testing.assert_array_equal(rate.lines[0].get_xydata(), rates)
    low, high = errors.get_xlim()
    assert low == 0
    assert high > 6


def test_labels_are_plain_text(tmp_path, drawn):
    rows = [{"step": 10, "accuracy": 0.5}, {"step": 20, "accuracy": 0.75}]
    plots.training_errors({"_a_$5_$6": rows}, tmp_path / "e.png", title="100 % of $_$")
    legend = drawn[0].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_a_$5_$6: 25.0 %"]
    assert drawn[0].get_suptitle() == "100 % of $_$"


def test_curves_of_runs_share_an_axis(tmp_path, drawn):
    runs = {"_$a": history(8), "short": history(2), "empty": []}
    path = plots.learning_curves(runs, tmp_path / "c.svg", title="Learning curves")
    assert path.read_text().startswith("<?xml")
    (axis,) = drawn[0].axes
    training, validation, short, once = axis.lines[:4]
    np.testing.assert_allclose(training.get_ydata(), [50 / n for n in range(1, 9)])
    np.testing.assert_allclose(validation.get_ydata(), [30, 15, 10, 7.5])
    np.testing.assert_array_equal(validation.get_xdata(), [200, 400, 600, 800])
    # A colour for each run, dashes for each kind; a point needs a mark.
    assert training.get_color() == validation.get_color() != short.get_color()
    assert training.get_linestyle() == short.get_linestyle() == "--"
    assert validation.get_linestyle() == once.get_linestyle() == "-"
    assert (validation.get_marker(), once.get_marker()) == ("None", "o")
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts[0] == "_$a: training 6.2 %, validation 7.5 % at the end"
    assert texts[2] == "empty: training –, validation – at the end"
    with pytest.raises(ValueError, match="at least one|one history"):
        plots.learning_curves({}, tmp_path / "c.svg", title="")
