"""Analyses of runs: which images they are made on, what is kept, and what is refused."""

import sys
import xml.etree.ElementTree
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.analysis import delete_each
from keras_resnet.analysis.complexity import output_sizes
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data.examples import Examples, Splits, StreamedExamples
from keras_resnet.devices import limits
from keras_resnet.files import read_json, write_json
from keras_resnet.runs import analyses_of_images
from keras_resnet.runs import analyze as analyzing
from keras_resnet.runs.analyses import ANALYSES
from keras_resnet.runs.analyze import analyze, analyze_and_keep
from keras_resnet.runs.load import Run
from keras_resnet.runs.subjects import AnalysisOptions
from keras_resnet.training.snapshots import write_snapshot
from tests.helpers.small_nets import CLASSES, shared_net, small_net
from tests.helpers.terminal import Terminal

NAMES = tuple(map(str, range(CLASSES)))


def examples(n, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), "uint8")
    return Examples(pixels, np.arange(n, dtype="int32") % CLASSES)


SPLITS = Splits(
    train=examples(20, 0),
    validation=examples(12, 1),
    test=examples(16, 2),
    class_names=NAMES,
    name="noise",
    version="1",
    sha256="a" * 64,
)


def run_of(model, folder, classes=NAMES):
    return Run(
        model=model,
        classes=classes,
        preprocessing=Preprocessing(
            channels=3,
            resize=None,
            size=(8, 8),
            mean=(127.0,) * 3,
            std=(60.0,) * 3,
        ),
        record={"network": model.name, "dataset": {"name": "noise", "sha256": "b"}},
        folder=folder,
    )


@pytest.fixture
def splits(monkeypatch):
    """Lets runs have `SPLITS`, or others: a function that changes them."""
    there = SimpleNamespace(splits=SPLITS)

    def found(run, data, data_dir, split):
        split = split or "test"
        return there.splits, split, getattr(there.splits, split)

    def change(**changes):
        there.splits = replace(SPLITS, **changes)

    monkeypatch.setattr(analyzing, "examples_of", found)
    return change


@pytest.fixture
def run(tmp_path, splits):
    return run_of(shared_net(blocks=3), tmp_path / "run")


def counted(subject):
    """A measurement that costs nothing."""
    return {"mean": float(subject.images.mean()), "nothing": float("nan")}


@pytest.fixture
def quick(monkeypatch):
    """Replaces what an analysis measures, draws and says; gives the files drawn."""
    drawn = []

    def draw(measured, path, *, title):
        path.write_text(title)
        drawn.append(path.name)

    for name, row in ANALYSES.items():
        row = replace(row, measure=counted, draw=draw, lines=lambda results: ["A line"])
        monkeypatch.setitem(ANALYSES, name, row)
    return drawn


# --- Each analysis -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        name if name == "lesions" else pytest.param(name, marks=pytest.mark.slow)
        for name in ANALYSES
    ],
)
def test_every_analysis_keeps_its_numbers_and_a_picture(run, name):
    steps = []
    options = AnalysisOptions(images=6, samples=1, seed=3, points=3)
    if name == "trajectory":
        keep_snapshots(run)
    record, files = analyze_and_keep(
        run, name, options, progress=lambda done, total: steps.append((done, total))
    )
    folder = run.folder / "analysis"
    assert files == [folder / f"{name}.{suffix}" for suffix in ("json", "png", "svg")]
    assert read_json(files[0]) == record
    assert files[1].read_bytes().startswith(b"\x89PNG")
    xml.etree.ElementTree.parse(files[2])
    assert (record["images"], record["seed"], record["sha256"]) == (6, 3, "a" * 64)
    assert record["split"] == ANALYSES[name].splits[0]
    assert record["batch_norm"] in ("training", "inference")
    assert record["versions"]["keras"] and record["seconds"] >= 0
    assert steps[-1][0] == steps[-1][1]
    assert all(ANALYSES[name].lines(record["results"]))
    # What a result says of batch norm is what the record says.
    for result in record["results"].values():
        if isinstance(result, dict) and "training" in result:
            assert result["training"] == (record["batch_norm"] == "training")


def keep_snapshots(run, count=4):
    """Weights on a bent way to those of the run, as training keeps them."""
    own = run.model.get_weights()
    random = np.random.default_rng(0)
    away = [random.standard_normal(weight.shape).astype("float32") for weight in own]
    for number in range(count):
        far = 1 - number / (count - 1)
        weights = [
            w + 0.1 * far * (d + far * w) for w, d in zip(own, away, strict=True)
        ]
        path = run.folder / "snapshots" / f"update_{10 * number:08d}.npz"
        write_snapshot(path, weights)


@pytest.mark.slow
def test_gradients_are_measured_along_the_training(run):
    options = AnalysisOptions(images=6)
    alone = analyze(run, "gradients", options)["results"]
    assert alone["along"] is None
    keep_snapshots(run)
    steps = []
    record, files = analyze_and_keep(
        run, "gradients", options, progress=lambda *step: steps.append(step)
    )
    found = record["results"]
    assert found["along"]["updates"] == [0, 10, 20, 30]
    np.testing.assert_allclose(
        found["along"]["norms"][-1], found["norms"]["trained"]["norms"], rtol=1e-5
    )
    assert steps == [(n, 8) for n in range(1, 9)]
    lines = ANALYSES["gradients"].lines(found)
    assert any(line.startswith("this ratio along the training") for line in lines)
    assert len(lines) == len(ANALYSES["gradients"].lines(alone)) + 1


@pytest.mark.slow
def test_a_trajectory_ends_at_the_network_and_is_gone_on_with(run):
    keep_snapshots(run)
    options = AnalysisOptions(images=6, points=3)
    record = analyze(run, "trajectory", options)
    path = record["results"]["paths"]["run"]
    assert path["updates"] == [0, 10, 20, 30]
    assert path["positions"][-1] == [0, 0]
    assert 0.99 < sum(path["explained"]) <= 1 + 1e-9  # The way lies in a plane.
    steps = []
    again = analyze(
        run, "trajectory", options, progress=lambda *step: steps.append(step)
    )
    assert again["results"] == record["results"] and steps == []
    # Where the last weights couldn't be kept, the network is the end all the same.
    (run.folder / "snapshots" / "update_00000030.npz").unlink()
    source = {"network": "a", "preprocessing": {}, "classes": [], "steps": 30}
    write_json(run.folder / "source.json", source)
    without = analyze(run, "trajectory", options)["results"]["paths"]["run"]
    assert without["updates"] == path["updates"]
    np.testing.assert_allclose(without["positions"], path["positions"], atol=1e-5)
    keep_snapshots(run, count=5)  # Another way, so other points.
    analyze(run, "trajectory", options, progress=lambda *step: steps.append(step))
    assert len(steps) == 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lesions", "permutations"])
def test_what_was_interrupted_goes_on(run, name):
    options = AnalysisOptions(images=6, samples=2)
    whole = analyze(replace(run, folder=run.folder / "whole"), name, options)

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze(run, name, options, progress=stop)
    assert not (run.folder / "analysis" / f"{name}.json").exists()
    with np.load(run.folder / "analysis" / f"{name}.npz") as file:
        (kept,) = file.values()
    assert np.count_nonzero(~np.isnan(kept[0])) == 3
    again = analyze(run, name, options)
    assert again["results"] == whole["results"]


@pytest.mark.slow
def test_numbers_are_those_of_the_function_on_the_images_that_are_named(run):
    record = analyze(run, "lesions", AnalysisOptions(images=99, samples=1))
    x = (SPLITS.test.images.astype("float32") - 127) / 60
    found = delete_each(run.model, (x, SPLITS.test.labels))
    each = record["results"]["each"]
    assert record["images"] == 16  # All there are.
    assert each["names"] == list(found.names)
    np.testing.assert_allclose(each["loss"], found.loss, rtol=1e-5)
    np.testing.assert_allclose(each["error"], found.error)


@pytest.mark.slow
def test_networks_are_shown_beside_each_other(run, tmp_path):
    other = run_of(shared_net(), tmp_path / "other")
    record = analyze(run, "responses", AnalysisOptions(images=4, beside=[other]))
    networks = record["results"]["networks"]
    assert list(networks) == ["run", "other"]
    assert len(networks["run"]["layers"]) == 13
    assert len(networks["other"]["layers"]) == 9


# --- Images ------------------------------------------------------------------------


def test_images_are_drawn_by_the_seed(run, quick):
    def fingerprint(**options):
        record = analyze(run, "lesions", AnalysisOptions(images=5, **options))
        assert record["images"] == 5
        return record["images_sha256"], record["results"]["mean"]

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(seed=1), fingerprint(split="train")}) == 3


def test_images_are_as_many_as_the_memory_holds(run, monkeypatch, splits):
    given = []

    def noted(subject):
        given.append((len(subject.images), subject.options.batch_size))
        return counted(subject)

    for name, row in ANALYSES.items():
        row = replace(row, measure=noted, draw=lambda *_, **__: None)
        monkeypatch.setitem(ANALYSES, name, row)
    # A quarter of it holds four copies of ten images of 8 x 8 x 3 numbers of four bytes.
    monkeypatch.setattr(limits, "memory", lambda: 4 * 10 * 4 * 8 * 8 * 3 * 4)
    analyze(run, "lesions")
    analyze(run, "curvature")
    analyze(run, "gradients")
    analyze(run, "lesions", AnalysisOptions(images=12, batch_size=3))
    (images, at_once), curvature, gradients, told = given
    assert (images, told) == (10, (12, 3))
    # Four of the largest maps are more than four copies of an image.
    assert at_once == 10 * 8 * 8 * 3 // max(output_sizes(run.model)) < 10
    # Gradients need more, and those of all images come at a time.
    assert curvature[0] == 10 and curvature[1] == gradients[0] == 1
    size = 3 * 4 * sum(output_sizes(run.model))  # Of all maps, three times.
    monkeypatch.setattr(limits, "memory", lambda: 4 * 20 * size)
    analyze(run, "receptive-field")
    analyze(run, "curvature")
    assert [at_once for _, at_once in given[-2:]] == [20, 15]


def test_streamed_images_are_the_first(run, quick, splits):
    import tensorflow as tf

    image = tf.io.encode_png(SPLITS.test.images[0])
    stream = tf.data.Dataset.from_tensors((image, 1)).repeat(7)
    splits(train=StreamedExamples(lambda: stream, 7))
    assert analyze(run, "paths", AnalysisOptions(images=3))["images"] == 3


def test_the_split_is_the_first_that_there_is(run, quick, splits):
    assert analyze(run, "lesions")["split"] == "test"
    assert analyze(run, "responses")["split"] == "train"
    assert analyze(run, "lesions", AnalysisOptions(split="train"))["split"] == "train"
    splits(test=None)
    assert analyze(run, "lesions")["split"] == "validation"
    splits(validation=None)
    with pytest.raises(
        ValueError, match="noise has no validation split: use --split train or test"
    ):
        analyze(run, "lesions", AnalysisOptions(split="validation"))
    splits(test=None, validation=None)
    with pytest.raises(ValueError, match="has no test split: use --split train"):
        analyze(run, "lesions")


# --- What is kept ------------------------------------------------------------------


def test_numbers_that_json_lacks_are_null_in_python_too(run, quick):
    record = run.analyze("lesions", images=3)
    assert record["results"]["nothing"] is None
    assert read_json(run.folder / "analysis" / "lesions.json") == record


def test_a_picture_that_fails_is_a_warning(run, quick, monkeypatch):
    analyze(run, "lesions")
    folder = run.folder / "analysis"

    def draw(measured, path, *, title):
        raise RuntimeError("no font")

    row = replace(ANALYSES["lesions"], draw=draw)
    monkeypatch.setitem(ANALYSES, "lesions", row)
    with pytest.warns(UserWarning, match=r"lesions.(png|svg) can't be drawn .*no font"):
        record, files = analyze_and_keep(run, "lesions", AnalysisOptions(seed=5))
    assert read_json(folder / "lesions.json") == record
    # A picture of the numbers of before would lie.
    assert files == [folder / "lesions.json"] == list(folder.iterdir())


def test_a_folder_that_takes_nothing_loses_no_result(run, quick):
    run.folder.mkdir()
    (run.folder / "analysis").write_text("a file")
    with pytest.warns(UserWarning, match="The result isn't kept in"):
        record, files = analyze_and_keep(run, "lesions")
    assert record["results"]["mean"] and not files and not quick


# --- What is refused ---------------------------------------------------------------


def with_nan():
    model = small_net()
    kernel = [layer for layer in model.layers if hasattr(layer, "kernel")][-1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    return model


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("lesions", with_nan, "weights must be finite"),
        ("responses", with_nan, "weights must be finite"),
        ("paths", lambda: shared_net("plain"), "must have residual additions"),
        ("lesions", lambda: small_net(classes=1), "two or more classes"),
        ("trajectory", shared_net, "weights of three moments .* Received: 0"),
        ("features", shared_net, r"4 images or more .* Received: 2\..*--images"),
        *(
            pytest.param(
                name, with_nan, "weights must be finite", marks=pytest.mark.slow
            )
            for name in ("landscape", "attribution", "curvature", "receptive-field")
        ),
        pytest.param(
            "landscape",
            lambda: small_net(classes=1),
            "two or more classes",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_replaces_nothing(tmp_path, splits, name, make, said):
    model = make()
    classes = NAMES[: model.output_shape[-1]]
    splits(class_names=classes)
    run = run_of(model, tmp_path / "run", classes)
    folder = run.folder / "analysis"
    folder.mkdir(parents=True)
    for suffix in ("json", "png", "svg"):
        (folder / f"{name}.{suffix}").write_text("of before")
    with pytest.raises(ValueError, match=said):
        analyze(run, name, AnalysisOptions(images=2))
    assert {path.read_text() for path in folder.iterdir()} == {"of before"}
    assert len(list(folder.iterdir())) == 3


def test_options_that_cant_be(run, tmp_path):
    for name in ("images", "samples", "batch_size"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
            AnalysisOptions(**{name: 0})
    for name, values in {
        "points": (1, 24),
        "range": (0.0, 101.0, float("nan"), float("inf")),
        "seed": (-1, 0.5),
        "dimensions": (0, 3),
    }.items():
        for value in values:
            with pytest.raises(ValueError, match=f"`{name}` must be .*Received: "):
                AnalysisOptions(**{name: value})
    with pytest.raises(ValueError, match="Did you mean 'lesions'"):
        analyze(run, "lesion")
    with pytest.raises(
        ValueError, match="--beside.* go with responses, .*Received: les"
    ):
        analyze(run, "lesions", AnalysisOptions(beside=[run]))
    with pytest.raises(ValueError, match="Each run must be given once"):
        analyze(run, "responses", AnalysisOptions(beside=[run]))
    with pytest.raises(ValueError, match="must have the run's classes"):
        analyze(replace(run, classes=NAMES[::-1]), "lesions")


def test_losses_of_a_run_beside_it_need_its_classes_too(run, quick, tmp_path):
    other = replace(run, folder=tmp_path / "other", classes=NAMES[::-1])
    options = AnalysisOptions(beside=[other])
    for name in ("landscape", "trajectory", "curvature"):
        with pytest.raises(ValueError, match="other: .*must have the run's classes"):
            analyze(run, name, options)
    assert not quick
    for name in ("responses", "features"):  # Of images alone.
        assert analyze(run, name, options)["images"] > 10


# --- The command -------------------------------------------------------------------


def test_the_command_prints_what_an_analysis_shows(run, quick, monkeypatch, capsys):
    given = []

    def kept(folder, name, options, *, progress):
        given.append((folder, name, options))
        return analyze_and_keep(run, name, options, progress=progress)

    monkeypatch.setattr(analyzing, "analyze_and_keep", kept)
    words = "--images 3 --seed 4 --samples 2 --split validation --beside b --beside c"
    plain = "analyze a lesions --images 3 --split validation".split()
    assert main(plain) == 0
    first, line, files = capsys.readouterr().out.splitlines()
    assert first.startswith("run: lesions on 3 images of noise (validation), ")
    assert line == "A line"
    assert files.split(", ")[0] == str(run.folder / "analysis" / "lesions.json")
    assert main(["analyze", "a", "responses", *words.split()]) == 2  # There is no b.
    assert given == [
        ("a", "lesions", AnalysisOptions(images=3, split="validation")),
        (
            "a",
            "responses",
            AnalysisOptions(
                images=3, seed=4, samples=2, split="validation", beside=["b", "c"]
            ),
        ),
    ]


def test_a_folder_without_a_run_is_wrong_usage(capsys):
    assert main(["analyze", "nowhere", "lesions"]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_progress_is_a_bar_on_a_terminal_alone(monkeypatch, capsys):
    from keras_resnet.cli.analyzing import progress

    with progress("Analyzing [a]: lesions") as shown:
        shown(1, 4)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal(80)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal.file)
    with progress("Analyzing [a]: lesions") as shown:
        shown(1, 4)
        shown(4, 4)
        shown(1, 20)
    text = terminal.read()
    terminal.close()
    assert "Analyzing [a]: lesions" in text and "1/20" in text


def test_filters_have_the_colours_of_the_images_beside_them():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))

    def shown(order):
        subject = SimpleNamespace(
            model=model, preprocessing=SimpleNamespace(channel_order=order)
        )
        return analyses_of_images._filters(subject).images

    np.testing.assert_array_equal(shown("bgr"), shown("rgb")[..., ::-1])
    assert not np.array_equal(shown("bgr"), shown("rgb"))
