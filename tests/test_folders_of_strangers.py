"""A folder as people have them, through every command that reads images."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_resnet.__main__ import main
from keras_resnet.runs.record import read_record

pytest.importorskip("tensorflow")
APART, JOINED, ODD = "cafe\u0301", "caf\u00e9", "dog\udce9"
LEFT_OUT = "left out: 2 × hidden, 1 × link to a folder that is listed already"


def write(path, form):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = [*str(path).encode(errors="replace")[-9:]]
    pixels = np.random.default_rng(seed).integers(0, 256, (36, 40, 3), "uint8")
    with open(path, "wb") as file:
        Image.fromarray(pixels).save(file, form)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """``Train``, ``valid`` and a flat ``test``; names in three encodings; a circle."""
    folder = tmp_path / "photos"
    for name in (APART, ODD):
        for number in range(6):
            write(folder / "Train" / name / f"sub/{number}\udce9.JPE", "JPEG")
        write(folder / "Train" / name / "1.webp", "WEBP")
        write(folder / "Train" / name / "._1.webp", "WEBP")
    for name in (JOINED, ODD):
        write(folder / "valid" / name / "1.gif", "GIF")
    write(folder / "test/1.png", "PNG")
    (folder / "Train" / ODD / "up").symlink_to("../..")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default::UserWarning")
def test_train_predict_evaluate_and_export(photos, capsys):
    train = ["train", "--data", ".", "--network", "resnet20", "--steps", "2"]
    train += ["--batch-size", "8"]
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert main(train) == 0
    found = "Found 16 images of 2 classes in photos: 14 to train on, 2 for validation."
    assert found in capsys.readouterr().out
    # The run now lies beside the images.
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert main(train) == 0
    assert "is finished" in capsys.readouterr().out
    run = pathlib.Path("runs/resnet20_on_photos_seed0")
    record = read_record(run / "record.json")
    assert record["classes"] == [JOINED, r"dog\xe9"]
    assert record["validation"]["n"] == 2 and record["test"] is None

    with pytest.warns(UserWarning, match="1 × output of keras-resnet, 'runs'"):
        assert main(["predict", str(run), ".", "--output", "answers.json"]) == 0
    assert "17 images" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="its 1 image is left out"):
        assert main(["evaluate", str(run), "--split", "validation"]) == 0
    assert main(["evaluate", str(run), "--data", "valid"]) == 0
    assert capsys.readouterr().out.count("2 images") == 2
    with pytest.warns(UserWarning, match=LEFT_OUT):
        assert (
            main(["export", str(run), "--data", "Train", "--output", "Train/out"]) == 0
        )
    assert "on 14 images" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="output of keras-resnet, 'out'"):
        assert main(["evaluate", str(run), "--data", "Train"]) == 0
    assert "14 images" in capsys.readouterr().out
