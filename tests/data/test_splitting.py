"""Which images of a folder are for validation, and that these stay when others come."""

import pathlib
import unicodedata
import warnings
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from keras_resnet.data.examples import Examples, Splits, split_off_validation
from keras_resnet.data.splitting import (
    PATH,
    POSITION,
    groups_of,
    hold_out,
    with_validation,
)

FOLDER = pathlib.Path("photos")


def examples(*counts, name="{label}/{number:03}.jpg", folder=FOLDER):
    """Paths of so many images of each class; no file is read."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    numbers = [number for count in counts for number in range(count)]
    paths = [
        str(folder / name.format(label=label, number=number, burst=number // 10))
        for label, number in zip(labels, numbers, strict=True)
    ]
    return Examples(np.array(paths, dtype=object), labels)


def held(found, fraction=0.1, group=None, folder=FOLDER):
    return hold_out(found, folder, fraction, group)[1]


def without(found, index):
    return Examples(np.delete(found.images, index), np.delete(found.labels, index))


@pytest.mark.parametrize("counts", [(60, 60), (12,) * 10, (5_000, 3_000, 2_000)])
def test_validation_images_stay_when_one_image_goes_or_comes(counts):
    """Of the split by position, up to three in four became training images."""
    whole = examples(*counts)
    before = set(held(whole).images)
    for index in np.random.default_rng(0).permutation(whole.size)[:12]:
        after = set(held(without(whole, index)).images)
        # Of those that are left, seen from either side.
        gone = {whole.images[index]}
        assert len(before - gone - after) <= 1 and len(after - before) <= 1
        assert len(before & after) >= 0.9 * len(before - gone)
    by_position = set(split_off_validation(whole, whole.size // 10)[1].images)
    later = without(whole, 0)
    moved = by_position - set(split_off_validation(later, whole.size // 10)[1].images)
    assert len(moved) > 0.1 * len(by_position)


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ((100, 40, 15), 0.1, [10, 4, 2]),
        ((6, 3, 2, 1), 0.1, [1, 1, 1, 0]),  # Of two and more, one at least.
        ((8, 2), 0.9, [7, 1]),  # And one to train on.
        ((3, 4), 0.5, [2, 2]),
    ],
)
def test_each_class_gives_its_share(counts, fraction, expected):
    train, validation = hold_out(examples(*counts), FOLDER, fraction)
    found = np.bincount(validation.labels, minlength=len(counts))
    assert found.tolist() == expected
    assert sorted([*train.images, *validation.images]) == sorted(
        examples(*counts).images
    )
    assert train.images.tolist() == sorted(train.images)


def test_the_split_is_the_same_everywhere():
    found = held(examples(20, 20))
    # Written down: a later version, or another machine, must choose the same images.
    chosen = [
        "photos/0/010.jpg",
        "photos/0/015.jpg",
        "photos/1/006.jpg",
        "photos/1/009.jpg",
    ]
    assert [pathlib.Path(path).as_posix() for path in found.images] == chosen
    elsewhere = held(
        examples(20, 20, folder=pathlib.Path("/x")), folder=pathlib.Path("/x")
    )
    assert [path[2:] for path in elsewhere.images] == [p[6:] for p in found.images]
    # An accent may lie apart from its letter, as on macOS.
    apart, joined = (
        held(examples(30, 30, name=name + "{label}/{number}.jpg"))
        for name in ("caf\u0065\u0301", "caf\u00e9")
    )
    assert [p[-8:] for p in apart.images] == [p[-8:] for p in joined.images]


def test_no_group_lies_on_both_sides():
    bursts = examples(100, 100, name="{label}/burst{burst}_{number:03}.jpg")
    train, validation = hold_out(bursts, FOLDER, 0.2, r"\d/burst\d+")
    groups = [
        set(groups_of(list(part.images), r"\d/burst\d+"))
        for part in (train, validation)
    ]
    assert not groups[0] & groups[1]
    assert np.bincount(validation.labels).tolist() == [20, 20]
    # Otherwise most are: the frames of each burst are spread over both.
    loose = [
        set(groups_of(list(p.images), r"\d/burst\d+"))
        for p in hold_out(bursts, FOLDER, 0.2)
    ]
    assert len(loose[0] & loose[1]) > 10
    # One frame more changes nothing at all.
    fewer = held(without(bursts, 55), 0.2, r"\d/burst\d+")
    assert set(fewer.images) == set(validation.images) - {bursts.images[55]}


def test_a_group_of_several_classes_lies_on_one_side():
    """A patient has slices with and without a finding."""
    patients = examples(100, 100, name="{label}/patient{burst}_{number:03}.jpg")
    train, validation = hold_out(patients, FOLDER, 0.2, r"patient\d+")
    sides = [set(groups_of(list(p.images), r"patient\d+")) for p in (train, validation)]
    assert not sides[0] & sides[1] and len(sides[1]) == 2


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (r"video\d+", ["video07", "video12"]),
        (r"^(.*)_frame", ["cat/video07", "dog/video12"]),
        (r"^(\w+)/video(\d+)", ["cat/07", "dog/12"]),
        (r"^[^/]+/", ["cat/", "dog/"]),
    ],
)
def test_a_group_is_what_the_expression_finds(group, expected):
    with pytest.warns(UserWarning, match="keeps nothing together"):
        paths = ["cat/video07_frame012.jpg", "dog/video12_frame001.jpg"]
        assert groups_of(paths, group) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups_of([*paths, "cat/video07_frame013.jpg"], group)


@pytest.mark.parametrize("group", ["clip", r"video07", "x*", "(cow)?"])
def test_an_expression_must_find_a_part_of_every_path(group):
    paths = ["cat/video07_1.jpg", "dog/video12_1.jpg"]
    with pytest.raises(
        ValueError, match="--group.* of every .*which finds none in [12] of 2"
    ):
        groups_of(paths, group)


@pytest.mark.parametrize(
    ("group", "counts"), [(None, (1, 1)), (r"^\d/", (10, 10)), ("g", (10, 10))]
)
def test_what_cannot_be_split_is_refused(group, counts):
    with pytest.raises(ValueError, match="must be at least one, .*classes of 1 to 1 "):
        hold_out(examples(*counts, name="{label}/g{number}"), FOLDER, 0.1, group)


def test_a_class_must_have_images_left():
    """The two groups of the first class are the first ones of the others."""
    names = sorted("abcdefghijkl", key=lambda name: sha256(name.encode()).digest())
    first, second, *others = names
    paths = [
        f"0/{first}",
        f"0/{second}",
        f"1/{second}",
        *(f"1/{name}" for name in others),
    ]
    found = Examples(
        np.array([f"photos/{path}" for path in paths], dtype=object),
        np.array([0, 0] + [1] * 11, np.int32),
    )
    with pytest.raises(ValueError, match="leave some of every class"):
        hold_out(found, FOLDER, 0.1, r"[a-l]$")


def test_runs_of_earlier_versions_keep_their_split_and_fingerprint(tmp_path):
    """Both are what the version before splits by paths gave for these files."""
    for number in range(20):
        for name in ("cat", "dog"):
            path = tmp_path / name / f"{number:02}.bmp"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(number))
    whole = examples(20, 20, name="{label}/{number:02}.bmp", folder=tmp_path)
    paths = [p.replace("/0/", "/cat/").replace("/1/", "/dog/") for p in whole.images]
    whole = Examples(np.array(paths, dtype=object), whole.labels)
    splits = Splits(whole, None, None, ("cat", "dog"), "x", "", "", root=tmp_path)
    found = with_validation(splits, 0.1, None, POSITION)
    names = [
        str(pathlib.Path(p).relative_to(tmp_path)) for p in found.validation.images
    ]
    assert names == ["cat/04.bmp", "cat/11.bmp", "dog/04.bmp", "dog/07.bmp"]
    assert found.sha256.startswith("22603630f7e132cc6dfb8b5c16dcb627a4b8a2976c6fc08a")
    assert found.split_by == POSITION
    later = with_validation(splits, 0.1, None, PATH)
    assert later.split_by == PATH and later.sha256 != found.sha256
    # However the files are listed; runs of now take another order of them.
    turned = Examples(whole.images[::-1], whole.labels[::-1])
    assert with_validation(
        replace(splits, train=turned), 0.1, None, POSITION
    ).sha256 == (found.sha256)


def test_copies_with_accents_in_two_forms_train_alike(tmp_path):
    """Linux keeps the letters as they were written; macOS takes their accents off."""
    names = [
        "cat/\u00e9.bmp",
        "cat/z.bmp",
        "cat/f.bmp",
        "\u00e4ffchen/1.bmp",
        "dog/2.bmp",
    ]
    names += ["cat/a.bmp", "dog/1.bmp", "\u00e4ffchen/2.bmp"]
    found = []
    for form in ("NFC", "NFD"):
        paths = sorted(unicodedata.normalize(form, name) for name in names)
        for path in paths:
            (tmp_path / form / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / form / path).write_text(unicodedata.normalize("NFC", path))
        labels = [1 if "cat" in path else 2 if "dog" in path else 0 for path in paths]
        images = [str(tmp_path / form / path) for path in paths]
        whole = Examples(np.array(images, dtype=object), np.array(labels, np.int32))
        splits = Splits(
            whole, None, None, ("a", "b", "c"), "x", "", "", root=tmp_path / form
        )
        found.append(with_validation(splits, 0.3, None, PATH))
    one, other = found
    assert one.sha256 == other.sha256
    for name in ("train", "validation"):
        contents = [
            [pathlib.Path(path).read_text() for path in getattr(side, name).images]
            for side in found
        ]
        assert contents[0] == contents[1]
        labels = [getattr(side, name).labels.tolist() for side in found]
        assert labels[0] == labels[1]
