"""What a folder of images holds, by which it is known wherever it lies."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from keras_resnet.data import identity
from keras_resnet.data.examples import Examples, Splits
from keras_resnet.data.identity import (
    File,
    changes_in_words,
    count_shared,
    files_of,
    fingerprint_of_files,
    pieces_of,
    read_files,
    write_files,
)


@pytest.fixture
def photos(tmp_path):
    """Twelve files of the same size, as uncompressed images have it."""
    for number in range(12):
        path = tmp_path / "photos" / "cat" / f"{number:02}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(number).bytes(200_000))
    return tmp_path / "photos"


def splits_of(folder, held=2):
    """The first files for validation."""
    paths = np.array(sorted(map(str, folder.rglob("*.bmp"))), dtype=object)
    examples = Examples(paths, np.zeros(len(paths), np.int32))
    parts = [
        Examples(examples.images[part], examples.labels[part])
        for part in (slice(held, None), slice(held))
    ]
    return Splits(*parts, None, ("cat",), folder.name, "", "", root=folder)


def overwrite(path, start, count=40_000):
    """Changes bytes of a file, whose size and name stay."""
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(bytes(count))


def test_a_folder_is_known_wherever_it_lies(photos, tmp_path, monkeypatch):
    known = fingerprint_of_files(splits_of(photos))
    copy = shutil.copytree(photos, tmp_path / "elsewhere" / "other name")
    for path in copy.rglob("*.bmp"):
        os.utime(path, (0, 0))
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    for way in (copy, tmp_path / "link", pathlib.Path("photos")):
        assert fingerprint_of_files(splits_of(way)) == known
    # The order counts, as training images are drawn by it.
    there = splits_of(photos)
    turned = Examples(there.train.images[::-1], there.train.labels)
    assert fingerprint_of_files(Splits(**vars(there) | {"train": turned})) != known


@pytest.mark.parametrize("start", [0, 80_000, 160_000])
def test_other_contents_of_the_same_names_and_sizes_are_seen(photos, start):
    known = fingerprint_of_files(splits_of(photos))
    overwrite(photos / "cat/05.bmp", start)
    assert fingerprint_of_files(splits_of(photos)) != known


def test_small_files_are_compared_whole(tmp_path):
    path = tmp_path / "a"
    for size in (1, 5_000, 65_536):
        path.write_bytes(bytes(size))
        seen = {pieces_of(path)}
        for at in range(0, size, 997):
            path.write_bytes(bytes(at) + b"1" + bytes(size - at - 1))
            seen.add(pieces_of(path))
        assert len(seen) == 1 + len(range(0, size, 997))
    path.write_bytes(b"")
    assert len(pieces_of(path)) == 16


def test_of_many_files_some_are_read(photos, monkeypatch):
    monkeypatch.setattr(identity, "MANY", 11)
    monkeypatch.setattr(identity, "SPREAD", 4)
    read = []
    monkeypatch.setattr(identity, "pieces_of", lambda path: read.append(path) or "x")
    files = list(files_of(splits_of(photos)))
    assert len(files) == 12 and len(read) == 5  # Every third of ten and of two.
    assert {file.size for file in files} == {200_000}


def test_what_changed_is_said(photos, tmp_path):
    write_files(tmp_path / "images.csv", files_of(splits_of(photos)))
    there = read_files(tmp_path / "images.csv")
    assert there == list(files_of(splits_of(photos)))
    assert changes_in_words(there, files_of(splits_of(photos))) == ""
    assert changes_in_words(there, files_of(splits_of(photos, held=3))) == (
        "1 image is in another split ('cat/02.bmp')"
    )
    overwrite(photos / "cat/05.bmp", 0)
    (photos / "cat/06.bmp").unlink()
    (photos / "cat/07.bmp").rename(photos / "cat/zz.bmp")
    assert changes_in_words(there, files_of(splits_of(photos, held=3))) == (
        "1 image is new ('cat/zz.bmp'); 2 images are gone ('cat/06.bmp', 'cat/07.bmp'); "
        "1 image holds something else ('cat/05.bmp')"
    )


def test_names_of_any_bytes_are_listed(tmp_path):
    files = [
        File("train", 'cat/a, "b"\n\\xe9é.jpg', 3, ""),
        File("test", "b.jpg", 4, "7"),
    ]
    write_files(tmp_path / "images.csv", files)
    assert read_files(tmp_path / "images.csv") == files


@pytest.mark.parametrize(
    "text", ["", "split,path\n", "split,path,size,pieces\na,b,c\n"]
)
def test_a_damaged_table_tells_nothing(tmp_path, text):
    assert read_files(tmp_path / "images.csv") == []
    (tmp_path / "images.csv").write_text(text)
    assert read_files(tmp_path / "images.csv") == []


def test_images_that_were_trained_on_are_counted_by_what_they_hold(photos, tmp_path):
    train = [file for file in files_of(splits_of(photos)) if file.split == "train"]
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    for number in (0, 1, 4, 5, 6):  # Two of these were for validation.
        shutil.copy(photos / f"cat/{number:02}.bmp", other / f"deep/{number}_copy.bmp")
    shutil.copy(photos / "cat/07.bmp", other / "changed.bmp")
    overwrite(other / "changed.bmp", 100_000)
    (other / "longer.bmp").write_bytes(bytes(200_001))
    found = splits_of(other).train
    everything = Examples(
        np.concatenate([found.images, splits_of(other).validation.images]),
        np.zeros(7, np.int32),
    )
    assert count_shared(train, everything) == 3
    # Of a large folder that was not read whole, names and sizes decide.
    unread = [file._replace(pieces="") for file in train]
    assert count_shared(unread, everything) == 0
    assert count_shared(unread, splits_of(photos).train) == 10
    assert count_shared(unread, splits_of(photos).validation) == 0
