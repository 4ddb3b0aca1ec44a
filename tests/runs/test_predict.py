"""Files and folders of images -> tables, by any form of a run."""

import csv
import errno
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.data import sources
from keras_resnet.runs import answers
from keras_resnet.runs.answers import check_table
from keras_resnet.runs.predict import files, load_classifier, predict
from tests.conftest import REPOSITORY

tf = pytest.importorskip("tensorflow")
TRAINED = REPOSITORY / "saved_models/quickstart_seed0"


@pytest.fixture
def photos(tmp_path):
    """A folder of 40 images in two folders, one that is damaged, and a text."""
    pixels = sources.load("fashion_mini").test.images[:40]
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    for number, image in enumerate(pixels):
        file = folder / ("a" if number % 2 else "b") / f"{number:02}.PNG"
        file.write_bytes(tf.io.encode_png(image).numpy())
    (folder / "a/99.png").write_bytes(b"damaged")
    (folder / "a/notes.txt").write_text("no image")
    return folder


def test_a_folder_becomes_a_table(photos, tmp_path, capsys, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(answers, "GROUP", 16)
    arguments = ["predict", str(TRAINED), str(photos), "--top", "2", "--output"]
    table, text, columns = (tmp_path / f"x{suffix}" for suffix in answers.TABLES)
    for file in (table, text, columns):
        # The others are answered all the same.
        with pytest.warns(UserWarning, match=r"photos there .* left out: 1 × \.txt\.$"):
            assert main([*arguments, str(file)]) == 1
        out, err = capsys.readouterr()
        assert "40 images" in out and "99.png must be a JPEG" in err
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    entries = json.loads(text.read_text(encoding="utf-8"))
    paths = [row["image"] for row in rows]
    assert paths == [entry["image"] for entry in entries] == sorted(paths)
    assert len(paths) == 41
    classifier = load_classifier(TRAINED)
    images = np.stack(
        [
            tf.io.decode_png((photos / path).read_bytes())
            for path in paths
            if "99" not in path
        ]
    )
    scores = classifier.scores(images)
    good = [
        (r, e) for r, e in zip(rows, entries, strict=True) if "99" not in r["image"]
    ]
    for (row, entry), expected in zip(good, scores, strict=True):
        order = np.argsort(-expected)[:2]
        names = [classifier.classes[index] for index in order]
        assert [row["class_1"], row["class_2"]] == names
        assert [given["class"] for given in entry["predictions"]] == names
        shares = [given["probability"] for given in entry["predictions"]]
        np.testing.assert_allclose(shares, expected[order], atol=1e-5)
        np.testing.assert_allclose(float(row["probability_1"]), shares[0])
        assert row["error"] == ""
    [(bad, other)] = [
        (r, e) for r, e in zip(rows, entries, strict=True) if "99" in r["image"]
    ]
    assert "must be a JPEG" in bad["error"] and bad["class_1"] == ""
    assert "must be a JPEG" in other["error"] and "predictions" not in other
    found = pq.ParquetFile(columns)
    assert found.num_row_groups == 3  # Of 16, 16 and 9 rows.
    for row, parts in zip(rows, found.read().to_pylist(), strict=True):
        said = {name: "" if cell is None else str(cell) for name, cell in parts.items()}
        assert said == row
    assert not list(tmp_path.glob("writing_*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_names_that_are_no_utf8_are_answered(tmp_path, capfd):
    pq = pytest.importorskip("pyarrow.parquet")
    pixels = sources.load("fashion_mini").test.images[0]
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:
        file.write(tf.io.encode_png(pixels).numpy())
    path = os.fsdecode(name)
    assert main(["predict", str(TRAINED), path]) == 0
    assert "caf\ufffd.png: " in capfd.readouterr().out
    table, text, columns = (tmp_path / f"x{suffix}" for suffix in answers.TABLES)
    for file in (table, text, columns):
        assert main(["predict", str(TRAINED), path, "--output", str(file)]) == 0
    [shown] = pq.read_table(columns)["image"].to_pylist()
    assert shown == f"{tmp_path}/caf\\xe9.png"
    assert name in table.read_bytes()
    [entry] = json.loads(text.read_text(encoding="utf-8"))
    assert entry["image"] == path and len(entry["predictions"]) == 3


@pytest.mark.slow
def test_a_console_without_a_names_letters_gets_others(tmp_path, monkeypatch):
    pixels = sources.load("fashion_mini").test.images[0]
    path = tmp_path / "caf\u00e9 \u732b.png"
    path.write_bytes(tf.io.encode_png(pixels).numpy())
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert main(["predict", str(TRAINED), str(tmp_path)]) == 0
    sys.stdout.flush()
    assert b"caf? ?.png: " in shown.getvalue()


def test_wrong_tables_are_refused_before_the_work(photos, tmp_path, capsys):
    there = tmp_path / "there.csv"
    there.write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    for output, message in (
        ("x.txt", "must end in .csv, .json or .parquet"),
        ("nowhere/x.csv", "There must be a folder"),
        ("there.csv", "must not exist yet"),
        ("folder.csv --overwrite", "folder.csv, a folder"),
    ):
        arguments = ["--output", *str(tmp_path / output).split()]
        assert main(["predict", "nowhere", str(photos), *arguments]) == 2
        assert message in capsys.readouterr().err
    assert there.read_text() == "mine"
    check_table(there, overwrite=True)


def test_answers_of_a_table_that_cannot_be_written_are_printed(
    photos, tmp_path, monkeypatch, capsys
):
    def full(path, write):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("keras_resnet.runs.answers.replace_file", full)
    table = tmp_path / "x.csv"
    words = ["predict", str(TRAINED), str(photos / "b/00.PNG"), "--output", str(table)]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "00.PNG: " in out and " %" in out
    assert "x.csv can't be written (No space left on device)" in err


def test_what_lies_beside_an_export_must_be_whole(tmp_path):
    exported = tmp_path / "exported"
    shutil.copytree(TRAINED / "saved_model/1", exported)
    file = exported / "assets.extra/preprocessing.json"
    prepare = json.loads(file.read_text())
    del prepare["mean"]
    file.write_text(json.dumps(prepare))
    with pytest.raises(ValueError, match="must be as `keras-resnet export` wrote it"):
        load_classifier(exported)
    with pytest.raises(FileNotFoundError, match="or an exported form of one"):
        load_classifier(tmp_path / "nowhere")


def test_a_missing_file_is_an_answer_among_others(photos, tmp_path, capsys):
    images = [str(photos / "b/00.PNG"), str(tmp_path / "gone.png")]
    images.append(str(photos / "b/02.PNG"))
    table = tmp_path / "x.csv"
    # 1 says that some can't be read; the others are answered.
    assert main(["predict", str(TRAINED), *images, "--output", str(table)]) == 1
    out, err = capsys.readouterr()
    assert "2 images" in out and "gone.png; there is no file" in err
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["image"] for row in rows] == images
    assert "there is no file" in rows[1]["error"] and rows[1]["class_1"] == ""
    assert rows[0]["class_1"] and rows[2]["class_1"]
    # Where nothing is there at all, the command is wrong, as before.
    assert main(["predict", str(TRAINED), images[1]]) == 2


def test_a_folder_without_images_is_an_answer_among_others(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    images = files([photos / "b/00.PNG", tmp_path / "empty", photos / "b/02.PNG"])
    found = dict(predict(load_classifier(TRAINED), images))
    assert list(found) == images
    assert "empty must hold images" in str(found[tmp_path / "empty"])
    assert all(isinstance(found[path], list) for path in (images[0], images[2]))


@pytest.mark.slow
def test_bytes_are_answered_as_their_files_are(photos):
    classifier = load_classifier(TRAINED)
    paths = [photos / "b/00.PNG", photos / "a/99.png", photos / "b/02.PNG"]
    of_bytes = list(predict(classifier, [path.read_bytes() for path in paths]))
    assert [image for image, _ in of_bytes] == [path.read_bytes() for path in paths]
    (_, one), (_, bad), (_, two) = of_bytes
    assert "The image must be a JPEG" in str(bad)
    expected = dict(predict(classifier, [paths[0], paths[2]]))
    assert [one, two] == list(expected.values())


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    table = tmp_path / "x.parquet"
    # Before the work, and before a network is looked for.
    assert main(["predict", "nowhere", "nothing", "--output", str(table)]) == 1
    said = capsys.readouterr().err
    assert "pyarrow, which isn't installed: pip install '.[parquet]'" in said


def test_a_table_is_written_as_answers_come_and_whole_or_not_at_all(tmp_path):
    pytest.importorskip("pyarrow")
    for suffix in answers.TABLES:
        table = tmp_path / f"x{suffix}"
        table.write_text("what was there")

        def interrupted(suffix=suffix):
            yield tmp_path / "a.png", [("cat", 0.75)]
            assert list(tmp_path.glob(f"writing_x{suffix}_*/x{suffix}"))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            answers.write_table(table, interrupted(), top=1)
        assert table.read_text() == "what was there"
        assert not list(tmp_path.glob("writing_*"))


def test_paths_without_images_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        files([tmp_path / "missing.png"])
    for paths in ([tmp_path], [tmp_path / "missing.png", tmp_path]):
        with pytest.raises(FileNotFoundError, match="there are none"):
            files(paths)
