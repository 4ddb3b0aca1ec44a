"""What is said of validation and test images that measure less than they seem to."""

import shutil
import warnings

import pytest

from keras_resnet.data import folders, split_checks
from keras_resnet.data.split_checks import shared_files
from tests.data.test_listing import write

pytest.importorskip("tensorflow")


@pytest.fixture
def splits(tmp_path):
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            write(*(tmp_path / f"{split}/{name}/{i}.png" for i in range(count)))
    return tmp_path


def test_nothing_is_said_of_whole_splits_of_other_images(splits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folders.load(splits)


def test_classes_that_a_split_lacks_are_named(splits):
    shutil.rmtree(splits / "val/cat")
    with pytest.warns(
        UserWarning, match="validation images lack 1 of 2 .*: 'cat'"
    ) as w:
        folders.load(splits)
    assert len(w) == 1


def test_files_that_are_training_images_too_are_counted(splits):
    shutil.copy(splits / "train/cat/1.png", splits / "test/cat/again.png")
    shutil.copy(splits / "train/dog/2.png", splits / "test/cat/0.png")
    said = (
        r"2 of 5 test images are training .*bytes\), such as .*test/cat/0.png: the test"
    )
    with pytest.warns(UserWarning, match=said) as warned:
        folders.load(splits)
    assert len(warned) == 1


def test_only_files_that_may_be_equal_are_read(tmp_path, monkeypatch):
    """Of the size, then of the end, then of all bytes."""
    end = b"e" * split_checks.END
    for name, data in {"a": b"1" + end, "b": b"2" + end, "c": b"3", "d": b"44"}.items():
        (tmp_path / name).write_bytes(data)
    for name, data in {"e": b"1" + end, "f": b"5", "g": b"666"}.items():
        (tmp_path / name).write_bytes(data)
    read = []

    def look(path):
        read.append(path[-1])
        return split_checks.hashlib.sha256(open(path, "rb").read()).digest()

    looks = (*split_checks.LOOKS[:-1], look)
    monkeypatch.setattr(split_checks, "LOOKS", looks)
    one, other = ([str(tmp_path / name) for name in names] for names in ("abcd", "efg"))
    assert shared_files(one, other) == [str(tmp_path / "a")]
    assert read == ["a", "b", "e"]
    assert split_checks.copies_among([*one, *other, one[0]], "") == {4: 0, 7: 0}
    assert read[3:] == ["a", "b", "e", "a"]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_in_several_classes_are_counted(splits, split):
    for name in ("again", "once more"):
        shutil.copy(splits / split / "cat/1.png", splits / split / f"dog/{name}.png")
    said = (
        "image lies in more than one of the 2 classes .*cat/1.png and .*dog/again.png"
    )
    with pytest.warns(UserWarning, match=f"1 {split}[a-z]* {said}") as warned:
        folders.load(splits)
    assert len(warned) == 1


def test_copies_on_both_sides_of_a_split_are_counted(tmp_path):
    for name in ("cat", "dog"):
        write(*(tmp_path / f"{name}/{i}.png" for i in range(4)))
    for i in range(5, 9):
        shutil.copy(tmp_path / "cat/1.png", tmp_path / f"cat/{i}.png")
    said = "2 of 5 images split off for validation have copies that are trained on"
    with pytest.warns(UserWarning, match=said) as warned:
        folders.load(tmp_path, val_fraction=0.4)
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folders.load(tmp_path, val_fraction=0)


def test_copies_among_many_images_are_looked_for_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(split_checks, "MANY", 3)
    paths = [str(tmp_path / name) for name in "abc"]
    for path, data in zip(paths, (b"1", b"2", b"1"), strict=True):
        with open(path, "wb") as file:
            file.write(data)
    assert split_checks.copies_among(paths, "") == {2: 0}
    monkeypatch.setattr(split_checks, "LOOKS", ())
    assert split_checks.copies_among(paths, "") == {2: 0}
