"""Folders with boxes: VOC's layout and COCO's JSON become one form, and are checked."""

import json
import shutil
import warnings

import numpy as np
import pytest

from keras_resnet.data import box_checks, image_sizes
from keras_resnet.data.box_folders import form_of, load
from keras_resnet.data.box_loading import load_boxes
from keras_resnet.data.image_sizes import Seen
from tests.helpers.boxed_folders import (
    coco_file,
    photograph,
    picture_of,
    seen_by_pillow,
    voc_folder,
    write_image,
    xml,
)
from tests.helpers.photos import turned

CAT, DOG = ("cat", 1, 1, 60, 40), ("dog", 11, 6, 20, 30)
THREE = {
    "a": [CAT, (*DOG, True)],
    "b": [("cat", 3, 5, 8, 9), DOG],
    "c": [DOG, ("cat", 2, 2, 9, 9)],
}
LISTS = {"train": ["a"], "val": ["b"], "test": ["c"]}


@pytest.fixture(autouse=True)
def no_decoder(monkeypatch):
    """Files are looked at by Pillow: what TensorFlow says of them has its own test."""
    monkeypatch.setattr(image_sizes, "of_files", seen_by_pillow)


def train_of(*objects, path, **options):
    """The training images of a folder with one image, and the problems."""
    folder = voc_folder(path, {**THREE, "z": list(objects)}, LISTS | {"train": ["z"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load(folder, **options)
    return found.train.objects.of(0), found.problems


# --- VOC's layout -----------------------------------------------------------------


def test_pixels_from_one_become_half_open_coordinates(tmp_path):
    found = load(voc_folder(tmp_path, THREE, LISTS))
    assert found.class_names == ("cat", "dog")
    first = found.train.objects.of(0)
    # The whole image of 60x40 pixels, and one 10 pixels wide and 25 high.
    np.testing.assert_array_equal(first["boxes"], [[0, 0, 60, 40], [10, 5, 20, 30]])
    assert first["areas"].tolist() == [2400, 250]
    assert first["labels"].tolist() == [0, 1]
    assert first["difficult"].tolist() == [False, True]
    assert (found.train.ids, found.validation.ids, found.test.ids) == (
        ("a",),
        ("b",),
        ("c",),
    )
    assert found.train.sizes.tolist() == [[40, 60]]
    assert found.problems == () and found.skipped == ()
    assert found.category_ids == (1, 2)


def test_images_of_trainval_that_no_other_list_has_are_trained_on(tmp_path):
    lists = {"trainval": ["a", "b", "c"], "val": ["b"], "cat_train": ["c"]}
    found = load(voc_folder(tmp_path, THREE, lists), val_fraction=0)
    assert found.train.ids == ("a", "c")
    assert found.validation.ids == ("b",) and found.test is None


def test_names_in_lists_may_have_spaces(tmp_path):
    images = dict.fromkeys(["shot 1 of 2", "b", "c"], [CAT])
    lists = {"train": ["shot 1 of 2", "c  1"], "val": ["b.png"]}
    found = load(voc_folder(tmp_path, images, lists))
    assert found.train.ids == ("shot 1 of 2", "c")
    assert found.validation.ids == ("b",) and found.val_fraction is None


def test_without_lists_validation_images_are_chosen_by_their_paths(tmp_path):
    images = {f"{number:02}": [CAT, DOG] for number in range(12)}
    found = load(voc_folder(tmp_path / "one", images), val_fraction=0.25)
    assert (found.train.size, found.validation.size) == (9, 3)
    assert found.val_fraction == 0.25
    moved = load(
        shutil.copytree(tmp_path / "one", tmp_path / "other/place"), val_fraction=0.25
    )
    assert moved.validation.ids == found.validation.ids
    assert moved.sha256 == found.sha256
    ids = {*found.train.ids, *found.validation.ids}
    assert len(ids) == 12


@pytest.mark.filterwarnings("ignore:The .* images of boxes lack 1 of 2 classes")
def test_a_relative_path_is_the_same_folder(tmp_path, monkeypatch):
    voc_folder(tmp_path / "cells", THREE)
    coco_file(tmp_path / "boxes/train.json", COCO, folder=tmp_path / "boxes/images")
    known = [load(tmp_path / name, val_fraction=0.3) for name in ("cells", "boxes")]
    monkeypatch.chdir(tmp_path)
    again = [load(name, val_fraction=0.3) for name in ("cells", "boxes")]
    assert [one.sha256 for one in again] == [one.sha256 for one in known]


@pytest.mark.parametrize("around", ["", "VOCdevkit/VOC2007"])
def test_the_folder_may_lie_in_others_of_its_own(tmp_path, around):
    voc_folder(tmp_path / around, THREE, LISTS)
    assert form_of(tmp_path) == "voc"
    assert load(tmp_path).test.size == 1


def test_xml_files_may_lie_beside_their_images_in_folders_of_splits(tmp_path):
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        write_image(tmp_path / split / f"{name}.png", picture_of(name))
        (tmp_path / split / f"{name}.xml").write_text(xml(THREE[name]))
    found = load(tmp_path)
    assert (found.train.ids, found.validation.ids, found.test.ids) == (
        ("a",),
        ("b",),
        ("c",),
    )


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        (
            "tfds:voc2007",
            {"zero_based": True},
            "`zero_based` must be left out.* a folder",
        ),
        ("tfds:voc1066", {}, "Unknown data set of detection 'voc1066'"),
        ("voc2007", {}, "The data set of this name is 'tfds:voc2007'"),
        (".", {"data_dir": "x"}, "`data_dir` must be left out"),
    ],
)
def test_options_that_go_with_other_data_are_refused(path, options, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load_boxes(path, **options)


# --- What is wrong with boxes -----------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "kind", "kept"),
    [
        (("cat", 9, 5, 9, 5), "empty", None),
        (("cat", 9, 5, 8, 30), "empty", None),
        (("cat", 61, 5, 70, 30), "outside", None),
        (("cat", 41, 21, 70, 80), "beyond", [40, 20, 60, 40]),
        (("bird", 1, 1, 9, 9), "class", None),
        (DOG, "duplicate", [10, 5, 20, 30]),
        (("cat", 0, 5, 20, 30), "zero", [0, 4, 20, 30]),
        (("", 1, 1, 9, 9), "unreadable", None),
        (("cat", 1, "?", 9, 9), "unreadable", None),
        (("cat", 1, "nan", 9, 9), "unreadable", None),
        ("<object><name>cat</name></object>", "unreadable", None),
    ],
)
def test_bad_boxes_are_named_and_left_out_or_cut(tmp_path, bad, kind, kept):
    objects, problems = train_of(DOG, bad, path=tmp_path, class_names=("cat", "dog"))
    expected = [[10, 5, 20, 30]] + ([kept] if kept else [])
    np.testing.assert_array_equal(objects["boxes"], expected)
    (said,) = problems
    assert said.startswith(f"1 {box_checks.KINDS[kind][0]} (z.xml, object 2")


def test_a_box_a_pixel_over_the_edge_is_cut_without_a_word(tmp_path):
    objects, problems = train_of(DOG, ("cat", 1, 1, 61, 41), path=tmp_path)
    np.testing.assert_array_equal(objects["boxes"][1], [0, 0, 60, 40])
    assert not problems


def test_corners_that_begin_at_zero_are_taken_as_they_are_if_one_says_so(tmp_path):
    box = ("cat", 0, 4, 20, 30)
    objects, problems = train_of(DOG, box, path=tmp_path, zero_based=True)
    np.testing.assert_array_equal(objects["boxes"][1], [0, 4, 20, 30])
    assert not problems


def test_images_without_objects_are_kept_and_named(tmp_path):
    images = {**THREE, "empty": [], "lost": [("cat", 5, 5, 5, 5)]}
    folder = voc_folder(tmp_path, images, LISTS | {"train": ["a", "empty", "lost"]})
    with pytest.warns(UserWarning, match="2 images have no objects, and are all back"):
        found = load(folder)
    assert found.train.objects.counts.tolist() == [2, 0, 0]


def test_images_without_an_xml_file_are_named(tmp_path):
    folder = voc_folder(tmp_path, {"a": [CAT, DOG], "b": [CAT, DOG], "c": [CAT, DOG]})
    write_image(folder / "JPEGImages/new.png", picture_of("new"))
    with pytest.warns(UserWarning, match=r"1 image has no XML file, .* \(new.png\)"):
        found = load(folder, val_fraction=0)
    assert found.train.ids == ("a", "b", "c")


def test_the_warning_counts_each_kind_and_names_three(tmp_path):
    bad = [("cat", n, 5, n, 9) for n in range(1, 6)]
    folder = voc_folder(
        tmp_path, {**THREE, "z": [CAT, DOG, *bad]}, LISTS | {"train": ["z"]}
    )
    with pytest.warns(UserWarning) as caught:
        load(folder)
    (said,) = {str(one.message) for one in caught}
    assert (
        "5 boxes have no width or no height, and are left out (z.xml, object 3" in said
    )
    assert said.count("z.xml") == 3 and "; …" in said


# --- What is wrong with images ----------------------------------------------------


def test_images_that_cant_be_used_are_named_and_too_many_an_error(tmp_path):
    names = ["a", "no_image", "no_xml", "no_text", "no_voc", "other_size", "damaged"]
    images = {
        **THREE,
        "no_image": [CAT],
        "no_text": "<annotation><object>",
        "no_voc": "<html></html>",
        "other_size": xml([CAT], size=(50, 60)),
        "damaged": [CAT],
    }
    folder = voc_folder(tmp_path, images, LISTS | {"train": names})
    (folder / "JPEGImages/no_image.png").unlink()
    write_image(folder / "JPEGImages/no_xml.png", picture_of("no_xml"))
    (folder / "JPEGImages/damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(ValueError, match="6 of 7 can't be used"):
        load(folder)
    found = load(folder, bad_share=1)
    assert found.train.ids == ("a",)
    reasons = dict(one.rstrip(")").split(".xml (", 1) for one in found.skipped)
    assert reasons.keys() == set(names[1:])
    assert reasons["no_image"] == "there is no image 'no_image'"
    assert reasons["no_xml"] == "there is no such file"
    assert "60x50 pixels, and the file has 60x40" in reasons["other_size"]
    assert "can't be read" in reasons["damaged"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_turned_with_what_they_are_drawn_around(orientation):
    box = (5, 8, 21, 30)
    upright = turned(photograph(40, 60, [box]), orientation)
    rows, columns = np.nonzero(upright[..., 0])
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    found = box_checks.turned(np.array([box]), Seen((40, 60), orientation))
    assert found.tolist() == [expected]


def test_the_stated_size_tells_whether_a_lying_photograph_was_annotated_so(tmp_path):
    upright = photograph(60, 40, [(4, 10, 14, 40)])
    stored = turned(upright, 8)  # As a camera that was held on its side stores it.
    drawn_lying = ("dog", 11, 27, 40, 36)
    for size, corners in (((60, 40), ("dog", 5, 11, 14, 40)), ((40, 60), drawn_lying)):
        folder = voc_folder(
            tmp_path / f"{size[0]}", {**THREE, "z": xml([CAT, corners], size)}
        )
        write_image(folder / "JPEGImages/z.png", stored, orientation=6)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train = load(folder, val_fraction=0).train
        place = train.ids.index("z")
        assert train.sizes[place].tolist() == [60, 40]
        np.testing.assert_array_equal(
            train.objects.of(place)["boxes"][1], [4, 10, 14, 40]
        )
        assert ("lies on its side" in str(caught[0].message)) == (size == (40, 60))


def test_a_folder_without_any_object_of_the_classes_is_refused(tmp_path):
    folder = voc_folder(tmp_path, THREE, LISTS)
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="must have an object"),
    ):
        load(folder, class_names=("bird",))
    with pytest.raises(ValueError, match="each name once"):
        load(folder, class_names=("cat", "cat"))
    empty = voc_folder(tmp_path / "empty", {"a": []}, {"train": ["a"]})
    with pytest.raises(ValueError, match="There must be a class"):
        load(empty)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="VOC's layout .* or COCO's JSON"):
        load(tmp_path / "nothing")


def test_the_fingerprint_covers_boxes_and_flags(tmp_path):
    known = load(voc_folder(tmp_path, THREE, LISTS)).sha256
    (tmp_path / "Annotations/c.xml").write_text(
        xml([(*DOG, True), ("cat", 2, 2, 9, 9)])
    )
    flagged = load(tmp_path).sha256
    (tmp_path / "Annotations/c.xml").write_text(xml([DOG, ("cat", 2, 2, 9, 8)]))
    assert len({known, flagged, load(tmp_path).sha256}) == 3


@pytest.mark.parametrize("lists", [None, {"train": ["a", "b"]}])
def test_of_two_images_of_one_name_the_annotation_says_which(tmp_path, lists):
    voc_folder(tmp_path, {"a": [CAT, DOG], "b": [DOG, CAT]}, lists)
    write_image(tmp_path / "JPEGImages/a.bmp", picture_of("other"))
    with pytest.raises(
        ValueError, match=r"a.bmp and a.png, and its <filename> is None"
    ):
        load(tmp_path, val_fraction=0)
    named = xml([CAT, DOG], more="<filename>a.png</filename>")
    (tmp_path / "Annotations/a.xml").write_text(named)
    with pytest.warns(UserWarning, match=r"1 image has no XML file.* \(a.bmp\)"):
        found = load(tmp_path, val_fraction=0)
    assert found.train.images[0].endswith("a.png")


def test_a_list_that_is_no_utf8_and_an_unknown_encoding_are_named(tmp_path):
    voc_folder(tmp_path, THREE, LISTS)
    (tmp_path / "ImageSets/Main/val.txt").write_bytes(b"b\xe9")
    with pytest.raises(ValueError, match=r"val.txt must be a list of names in UTF-8"):
        load(tmp_path)
    (tmp_path / "ImageSets/Main/val.txt").write_text("b")
    text = "<?xml version='1.0' encoding='klingon'?>" + xml(THREE["a"])
    (tmp_path / "Annotations/a.xml").write_text(text)
    with pytest.raises(ValueError, match=r"a.xml \(unknown encoding"):
        load(tmp_path)


# --- COCO's JSON ------------------------------------------------------------------

COCO = {
    "a": [(3, 10, 5, 20, 30), (1, 0, 0, 60, 40, {"iscrowd": 1})],
    "b": [(1, 1.5, 2.25, 4, 8)],
}


def test_corner_and_sides_become_corners(tmp_path):
    found = load(coco_file(tmp_path / "boxes.json", COCO), val_fraction=0)
    # By the numbers of the categories, not in the file's order.
    assert (found.class_names, found.category_ids) == (("cat", "dog"), (1, 3))
    first, second = (found.train.objects.of(image) for image in (0, 1))
    np.testing.assert_array_equal(first["boxes"], [[10, 5, 30, 35], [0, 0, 60, 40]])
    np.testing.assert_array_equal(second["boxes"], [[1.5, 2.25, 5.5, 10.25]])
    assert first["labels"].tolist() == [1, 0]
    assert first["crowd"].tolist() == [False, True]
    assert first["areas"].tolist() == [300, 1200]
    assert found.train.ids == (11, 12)


def test_numbers_that_are_text_become_1_2(tmp_path):
    path = coco_file(tmp_path / "boxes.json", COCO)
    values = json.loads(path.read_text())
    for row in values["categories"]:
        row["id"] = f"category {row['id']}"
    for row in values["annotations"]:
        row["category_id"] = f"category {row['category_id']}"
    path.write_text(json.dumps(values))
    found = load(path, val_fraction=0)
    assert (found.class_names, found.category_ids) == (("cat", "dog"), (1, 2))


@pytest.mark.parametrize(
    ("files", "images"),
    [
        (
            (
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
            ),
            ("train2017", "val2017"),
        ),
        (
            ("annotations/train.json", "annotations/val.json"),
            ("images/train", "images/val"),
        ),
        (
            ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
            ("train", "valid"),
        ),
        (("train.json", "test.json"), ("images", "images")),
    ],
)
def test_files_and_images_are_found_where_people_put_them(tmp_path, files, images):
    other = {"c": COCO["a"], "d": COCO["b"]}
    for file, folder, names in zip(files, images, (COCO, other), strict=True):
        coco_file(tmp_path / file, names, folder=tmp_path / folder)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    if "instances" in files[0]:
        coco_file(tmp_path / "annotations/captions_train2017.json", COCO)
    assert form_of(tmp_path) == "coco"
    found = load(tmp_path, val_fraction=0)
    split = "test" if "test.json" in files else "validation"
    assert getattr(found, split).ids == (11, 12)


def test_classes_may_be_chosen_and_put_in_another_order(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load(
            coco_file(tmp_path / "boxes.json", COCO),
            class_names=["dog"],
            val_fraction=0,
        )
    assert found.train.objects.counts.tolist() == [1, 0]
    assert found.category_ids == (3,)
    with pytest.raises(ValueError, match="must be categories of the JSON file"):
        load(tmp_path / "boxes.json", class_names=["bird"])


def test_objects_of_no_image_or_category_and_missing_images_are_named(tmp_path):
    images = {"a": [(3, 10, 5, 20, 30), (7, 1, 1, 5, 5)], "b": COCO["b"]}
    path = coco_file(tmp_path / "boxes.json", images)
    values = json.loads(path.read_text())
    values["annotations"].append({"id": 99, "image_id": 4, "bbox": [1, 1, 2, 2]})
    path.write_text(json.dumps(values))
    with pytest.warns(
        UserWarning, match=r"2 objects have no name .*object 99, of no image"
    ):
        load(path, val_fraction=0)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ValueError, match="1 of 2 can't be used"):
        load(path, val_fraction=0)


@pytest.mark.parametrize("area", ["about 9", [9], float("nan"), -1])
def test_an_area_that_is_no_number_is_named_and_the_boxes_is_taken(tmp_path, area):
    images = {"a": [(3, 10, 5, 20, 30, {"area": area})], "b": COCO["b"]}
    path = coco_file(tmp_path / "boxes.json", images)
    with pytest.warns(
        UserWarning, match=r"1 object has an area that .*\(a.png, object 1"
    ):
        found = load(path, val_fraction=0)
    assert found.train.objects.areas.tolist() == [600, 16]


def test_the_fingerprint_covers_areas(tmp_path):
    found = {
        load(
            coco_file(tmp_path / "boxes.json", {"a": [row], "b": COCO["b"]}),
            val_fraction=0,
        ).sha256
        for row in ((3, 10, 5, 20, 30), (3, 10, 5, 20, 30, {"area": 7}))
    }
    assert len(found) == 2


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_an_object_with_a_list_for_a_number_is_named(tmp_path, key):
    images = {"a": [*COCO["a"], (1, 1, 1, 4, 8)], "b": [(1, 1, 1, 4, 8, {key: [1]})]}
    path = coco_file(tmp_path / "boxes.json", images)
    with pytest.warns(UserWarning, match=r"1 object has no name .*object 4"):
        load(path, val_fraction=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": [{"id": [1], "file_name": "a.png"}]}, "a number as `id` and text"),
        ({"categories": [(1, None)]}, "categories of .* text as `name`"),
        (
            {"categories": [(1, "x"), ("2", "y")]},
            "by numbers alone",
        ),
        ({"images": []}, "must have COCO's lists"),
        ({"annotations": None}, "without annotations"),
        ({"images": [{"id": 1}]}, "must be an object of JSON with id and file_name"),
        ({"images": ["a.png"]}, "images of .* must be an object"),
        ({"annotations": [1]}, "annotations of .* must be an object"),
        ({"images": [{"id": 1, "file_name": "away.png"}]}, "in one of the folders"),
        (
            {
                "images": [
                    {"id": 1, "file_name": "a.png"},
                    {"id": 1, "file_name": "b.png"},
                ]
            },
            "a number `id` of its own",
        ),
        (
            {"categories": [(1, "x"), (2, "x")]},
            "of their own",
        ),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, change, said):
    path = coco_file(tmp_path / "boxes.json", COCO, **change)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        load(path)


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "boxes.json").write_text("{")
    with pytest.raises(ValueError, match="boxes.json must be JSON"):
        load(tmp_path / "boxes.json")


# --- Real images ------------------------------------------------------------------


def test_bccd_is_read_whole(shared_data):
    root = shared_data / "bccd/BCCD"
    if not root.is_dir():
        pytest.skip("needs BCCD among the developers' shared images")
    with pytest.warns(UserWarning, match="2 boxes have no width or no height"):
        found = load(root)
    splits = (found.train, found.validation, found.test)
    assert [split.size for split in splits] == [205, 87, 72]
    assert found.class_names == ("Platelets", "RBC", "WBC")
    counts = sum(np.bincount(split.objects.labels, minlength=3) for split in splits)
    # As `grep` counts names in the XML files; two of the red cells have no area.
    assert counts.tolist() == [361, 4155 - 2, 372]
    assert max(split.objects.counts.max() for split in splits) == 30


def test_folders_of_classes_have_no_boxes(tmp_path):
    assert form_of(tmp_path) is None
    assert form_of(tmp_path / "missing") is None
    write_image(tmp_path / "cat/1.png", photograph(4, 4))
    assert form_of(tmp_path) is None
