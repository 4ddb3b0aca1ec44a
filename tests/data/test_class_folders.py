"""Class folders that are something else than one class each."""

import shutil

import pytest

from keras_resnet.data import folders
from keras_resnet.data.class_folders import check_distinct, check_not_splits
from tests.data.test_listing import write

pytest.importorskip("tensorflow")


def folders_of(root, paths):
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
    return sorted(path for path in root.iterdir() if path.is_dir())


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    for part in ("fold1", "fold2"):
        write(*(tmp_path / part / c / f"{i}.png" for c in "ab" for i in range(2)))
    said = "Received: fold1/, fold2/, all of which hold a/, b/, and no images"
    with pytest.raises(ValueError, match=said):
        folders.load(tmp_path)
    (tmp_path / "train").mkdir()
    for part in ("fold1", "fold2"):
        (tmp_path / part).rename(tmp_path / "train" / part)
    for root in (tmp_path, tmp_path / "train"):
        assert folders.load(root).class_names == ("fold1", "fold2")


@pytest.mark.parametrize(
    "paths",
    [
        ("cat/images", "dog/images"),  # As in Tiny ImageNet.
        ("cat/day", "cat/night", "dog/day"),
        ("cat/day", "cat/night", "dog/day", "dog/dusk"),
    ],
)
def test_folders_inside_of_classes_are_allowed(tmp_path, paths):
    check_not_splits(tmp_path, folders_of(tmp_path, paths))


def test_images_make_a_folder_a_class(tmp_path):
    found = folders_of(tmp_path, ("cat/day", "cat/night", "dog/day", "dog/night"))
    with pytest.raises(ValueError, match="must be the classes"):
        check_not_splits(tmp_path, found)
    (tmp_path / "dog/1.png").touch()
    check_not_splits(tmp_path, found)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_link_to_another_class_is_refused(tmp_path, split):
    for folder in ("train", "val"):
        for name in ("cat", "dog"):
            write(*(tmp_path / folder / name / f"{i}.png" for i in range(2)))
    root = tmp_path / split
    shutil.rmtree(root / "dog")
    (root / "dog").symlink_to("cat")
    with pytest.raises(ValueError, match="'cat' and 'dog' in .* one and the same"):
        folders.load(tmp_path)


def test_names_that_differ_in_capitals_are_told(tmp_path):
    found = [tmp_path / name for name in ("Cat", "bird", "cat")]
    with pytest.warns(UserWarning, match="nothing but capitals.*: 'Cat' and 'cat'"):
        check_distinct(found)
