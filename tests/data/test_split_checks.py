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

    monkeypatch.setattr(split_checks, "sha256_of", look)
    one, other = ([str(tmp_path / name) for name in names] for names in ("abcd", "efg"))
    assert shared_files(one, other) == [str(tmp_path / "a")]
    assert read == ["a", "b", "e"]
