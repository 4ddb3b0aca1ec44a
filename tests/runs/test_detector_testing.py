"""What detectors are tested by, as switches of `keras-resnet evaluate`."""

from dataclasses import replace

import numpy as np
import pytest

from keras_resnet.cli import run as command_line
from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.data import box_folders, image_sizes
from keras_resnet.detection import Ensemble, MultiScale, Refined
from keras_resnet.files import write_json
from keras_resnet.runs import detector_testing
from keras_resnet.runs.detector_evaluate import measure
from keras_resnet.runs.detector_run import DetectorRun
from keras_resnet.runs.evaluate import read_evaluations
from tests.helpers.boxed_folders import (
    photograph,
    seen_by_pillow,
    voc_folder,
    write_image,
)
from tests.helpers.small_detectors import noticing_detector

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.slow
SETTINGS = BoxBatches(batch_size=2, shorter_sides=(64,), longer_side=96)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two detectors with random weights, as `load` gives them, by their folders."""
    monkeypatch.setattr(image_sizes, "of_files", seen_by_pillow)
    objects = [("white", 5, 7, 20, 30), ("red", 41, 1, 50, 9)]
    lists = {"train": ["a"], "val": ["b"], "test": ["c"]}
    cells = voc_folder(tmp_path / "cells", {name: objects for name in "abc"}, lists)
    for number, name in enumerate("abc"):
        pixels = photograph(40, 60, [(4, 6, 20, 30)])
        pixels[-1, -1] = number
        write_image(cells / f"JPEGImages/{name}.png", pixels)
    splits = box_folders.load(cells)
    found = {}
    for seed in range(2):
        folder = tmp_path / f"run_seed{seed}"
        folder.mkdir()
        write_json(folder / "record.json", {"network_values": {"neck": "fpn"}})
        record = {
            "dataset": {"name": splits.name, "sha256": splits.sha256},
            "overrides": {"data": str(cells), "val_fraction": None},
        }
        model = noticing_detector(seed, num_classes=2)
        found[str(folder)] = DetectorRun(
            model, splits.class_names, SETTINGS, record, folder
        )
    monkeypatch.setattr(detector_testing, "load", lambda folder: found[str(folder)])
    return found


def test_each_is_a_switch(runs, capsys):
    first, second = runs.values()
    models = [run.model for run in runs.values()]
    halves = [MultiScale(one, (0.5, 1.0), proposals=0.5) for one in models]
    large = replace(SETTINGS, shorter_sides=(128,), longer_side=192)
    words = ["evaluate", *runs]
    for options, model, settings, how in (
        ([], Ensemble(models), SETTINGS, "ensemble of 2 runs"),
        (
            ["--refine", "--scales", "128,64"],
            Refined(Ensemble(halves)),
            large,
            "ensemble of 2 runs, scales 64 128, refinement and voting",
        ),
    ):
        tested = detector_testing.Tested(model, settings, how)
        expected, _ = measure(first, tested=tested)
        assert command_line.run([*words, *options]) == 0
        said = capsys.readouterr().out
        (line,) = [one for one in said.splitlines() if one.startswith("All together")]
        assert (
            f"{expected['average_precision']:.2f} % by voc with {how}, 1 image" in line
        )
    found = read_evaluations(second.folder / "evaluation.json")
    assert [one.get("tested_by") for one in found] == [
        None,
        "scales 64 128, refinement and voting",
    ]
    alone, _ = measure(
        second, tested=detector_testing.Tested(Refined(halves[1]), large, "")
    )
    assert found[1]["average_precision"] == alone["average_precision"]
    assert found[1]["shorter_side"] == 128
    kept = sorted(path.name for path in (second.folder / "predictions").iterdir())
    assert len(kept) == 2 and kept[1].endswith(
        "scales_64_128_refinement_and_voting.json"
    )


def test_detectors_that_do_not_go_together_are_named(runs):
    first, second = runs.values()
    other = replace(second, batches=replace(SETTINGS, shorter_sides=(48,)))
    with pytest.raises(ValueError, match=r"images of one size.*\(48, 96\), \(64, 96\)"):
        detector_testing.as_tested([first, other])
    second.model.class_names = ("other", "names")
    first.model.class_names = ("red", "white")
    with pytest.raises(ValueError, match="the same classes"):
        detector_testing.as_tested([first, second])


def test_one_detector_at_its_own_size_is_itself(runs):
    (first, _) = runs.values()
    tested = detector_testing.as_tested([first], scales=(64,))
    _, own = measure(first)
    _, same = measure(first, tested=tested)
    assert tested.how == "scales 64" and len(own) > 0
    np.testing.assert_allclose(
        [one["bbox"] for one in same], [one["bbox"] for one in own], atol=1e-3
    )
