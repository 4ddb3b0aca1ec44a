"""Which files in folders are images, and what is left out: the same for every reader."""

import collections
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.image_formats import NAMES, SUFFIXES
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import folders
from keras_resnet.data.identity import files_of
from keras_resnet.data.listing import as_text, list_images
from keras_resnet.data.pipelines import evaluation_batches
from keras_resnet.runs.examples import has_classes
from keras_resnet.runs.load import Run
from keras_resnet.runs.predict import files
from tests.conftest import REPOSITORY

pytest.importorskip("tensorflow")
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="names are bytes on Linux"
)
PREPARE = Preprocessing(
    channels=3, resize=None, size=(4, 4), mean=(0.0,) * 3, std=(1.0,) * 3
)
RUN = REPOSITORY / "saved_models/quickstart_seed0"


def write(*paths):
    """Writes small images, each of other pixels."""
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        seed = list(os.fsencode(path)[-20:])  # Of the split, the class and the name.
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), "uint8")
        with open(path, "wb") as file:
            Image.fromarray(pixels).save(file, "PNG")


@pytest.fixture
def photos(tmp_path):
    """Two classes of twelve images."""
    for name in ("cat", "dog"):
        write(*(tmp_path / f"photos/{name}/{i:02}.png" for i in range(12)))
    return tmp_path / "photos"


def listed(folder):
    found = list_images(folder)
    return [str(file.relative_to(folder)) for file in found.files], found.left_out


def test_the_formats_stand_in_one_table():
    assert NAMES == "JPEG, PNG, BMP, GIF or WebP"
    assert SUFFIXES == tuple(".jpg .jpeg .jpe .jfif .png .bmp .gif .webp".split())


def test_images_are_known_by_their_suffix_in_any_capitals(tmp_path):
    names = [f"{i}{suffix}" for i, suffix in enumerate(SUFFIXES)]
    names += [f"{i}{suffix.upper()}" for i, suffix in enumerate(SUFFIXES, 8)]
    write(*(tmp_path / name for name in names))
    for name in ("a.txt", "b.TXT", "c.heic", "README", ".DS_Store", "d.png.part"):
        (tmp_path / name).touch()
    found, left_out = listed(tmp_path)
    assert found == sorted(names)
    assert left_out == {".txt": 2, ".heic": 1, "file without suffix": 1, ".part": 1}


def test_hidden_images_and_folders_of_tools_are_left_out(tmp_path):
    write(tmp_path / "a.png", tmp_path / "._a.png", tmp_path / ".thumbs/b.png")
    write(tmp_path / ".ipynb_checkpoints/a-checkpoint.png", tmp_path / "__MACOSX/c.png")
    (tmp_path / "__pycache__").mkdir()
    assert listed(tmp_path) == (["a.png"], {"hidden": 5})


def test_folders_within_folders_are_listed_in_the_order_of_names(tmp_path):
    names = ["a/1.png", "a/2/3.png", "a/b.png", "a-b/1.png", "c.png"]
    write(*(tmp_path / name for name in names))
    assert listed(tmp_path) == (names, {})


def test_links_are_followed_and_circles_end(tmp_path):
    write(
        tmp_path / "elsewhere/deep/1.png", tmp_path / "far.png", tmp_path / "top/0.png"
    )
    top = tmp_path / "top"
    (top / "linked").symlink_to(tmp_path / "elsewhere")
    (top / "more.png").symlink_to(tmp_path / "far.png")
    (top / "up").symlink_to(tmp_path)
    (top / "here").symlink_to(top)
    (tmp_path / "elsewhere/back").symlink_to(top)
    (top / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (top / "itself.png").symlink_to(top / "itself.png")
    found, left_out = listed(top)
    assert found == ["0.png", "linked/deep/1.png", "more.png"]
    again = "link to a folder that is listed already"
    assert left_out == {again: 3, "broken link": 2}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert listed(tmp_path) == ([], {"neither file nor folder": 1})


def test_a_folder_that_cannot_be_read_is_counted(tmp_path, monkeypatch):
    write(tmp_path / "a.png", tmp_path / "secret/b.png")
    scandir = os.scandir

    def denied(folder):
        if os.path.basename(folder) == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    reason = "folder that can't be read (Permission denied)"
    assert listed(tmp_path) == (["a.png"], {reason: 1})


@pytest.fixture
def mounted(tmp_path):
    """A file system of two megabytes, and a function that makes it read-only."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"needs to mount a file system: {error}")
    if done.returncode:
        pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")
    remount = ["mount", "-o", "remount,ro", str(folder)]
    try:
        yield folder, lambda: subprocess.run(remount, check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_file_system_is_listed(mounted):
    folder, make_read_only = mounted
    write(*(folder / c / f"{i}\udce9.png" for c in "ab" for i in range(3)))
    make_read_only()
    with pytest.raises(OSError, match="Read-only"):
        (folder / "a/new.png").touch()
    splits = folders.load(folder, val_fraction=0)
    assert list(splits.train.images) == [str(file) for file in files([folder])]
    assert splits.train.size == 6


# --- What this package wrote ------------------------------------------------------


def test_runs_exports_and_converted_weights_are_no_classes(photos):
    before = folders.load(photos)
    (photos / "runs").symlink_to(RUN.parent)  # A folder of runs, and of a README.
    (photos / "run").symlink_to(RUN)
    (photos / "cat/answers").symlink_to(RUN)
    (photos / "served").symlink_to(RUN / "saved_model")
    (photos / "converted").mkdir()
    source = '{"network": "resnet18", "preprocessing": {}}'
    (photos / "converted/source.json").write_text(source)
    with pytest.warns(UserWarning) as warned:
        splits = folders.load(photos)
    assert splits.class_names == ("cat", "dog") and splits.sha256 == before.sha256
    [said] = [str(one.message) for one in warned]
    for name in ("runs", "run", "answers", "served", "converted"):
        assert f"1 × output of keras-resnet, '{name}'" in said
    with pytest.warns(UserWarning, match="output of keras-resnet, 'runs'"):
        assert len(files([photos])) == 24


def test_runs_two_levels_down_are_no_class(photos):
    (photos / "runs/experiment").mkdir(parents=True)
    (photos / "runs/experiment/first").symlink_to(RUN)
    (photos / "runs/second").symlink_to(RUN)
    with pytest.warns(UserWarning, match="1 × output of keras-resnet, 'runs'"):
        assert folders.load(photos).class_names == ("cat", "dog")
    # Another folder in there may hold a user's images.
    write(photos / "runs/experiment/mine/1.png")
    with pytest.warns(UserWarning, match="1 × output of keras-resnet, 'first'"):
        assert folders.load(photos, val_fraction=0).class_names == (
            "cat",
            "dog",
            "runs",
        )


def test_settings_of_other_programs_are_no_reason(photos):
    (photos / "cat/settings.json").write_text('{"editor": 1}')
    (photos / "dog/record.json").write_text("no JSON")
    with pytest.warns(UserWarning, match=r"left out: 2 × \.json"):
        assert folders.load(photos).class_names == ("cat", "dog")


def test_a_class_that_holds_a_run_stays_a_class(photos):
    (photos / "cat/quickstart_seed0").symlink_to(RUN)
    with pytest.warns(UserWarning, match="output of keras-resnet, 'quickstart_seed0'"):
        assert folders.load(photos).class_names == ("cat", "dog")


def test_only_the_run_is_left_out_of_a_folder_of_folders(photos):
    (photos / "cat").rename(photos / "day1")
    (photos / "cat").mkdir()
    (photos / "day1").rename(photos / "cat/day1")
    (photos / "cat/myrun").symlink_to(RUN)
    (photos / "runs/.cache").mkdir(parents=True)
    (photos / "runs/myrun").symlink_to(RUN)
    said = "1 × output of keras-resnet, 'myrun', 1 × output of keras-resnet, 'runs'"
    with pytest.warns(UserWarning, match=said):
        splits = folders.load(photos)
    assert splits.class_names == ("cat", "dog")
    assert splits.train.size + splits.validation.size == 24


def test_a_run_does_not_hide_the_folder_of_training_images(photos):
    photos.rename(photos.parent / "train")
    photos.mkdir()
    (photos.parent / "train").rename(photos / "train")
    (photos / "train/myrun").symlink_to(RUN)
    with pytest.warns(UserWarning, match="output of keras-resnet, 'myrun'"):
        assert folders.load(photos).class_names == ("cat", "dog")


# --- Classes and splits -----------------------------------------------------------


def test_training_lists_as_prediction_does(photos):
    write(
        photos / "cat/indoors/night/1.JPE",
        photos / "dog/._1.png",
        photos / "dog/2.JFIF",
    )
    (photos / "cat/notes.txt").touch()
    with pytest.warns(UserWarning) as warned:
        splits = folders.load(photos, val_fraction=0)
        predicted = files([photos])
    assert list(map(str, predicted)) == list(splits.train.images)
    assert len(predicted) == 26
    assert all("1 × .txt, 1 × hidden" in str(one.message) for one in warned)
    assert len(warned) == 2


def test_large_folders_go_by_the_same_rules(photos, monkeypatch, tmp_path):
    write(photos / "cat/indoors/1.jpe", photos / "dog/caf\udce9.png")
    small = folders.load(photos)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(folders, "MANY", 20)
    for _ in range(2):
        large = folders.load(photos)
        assert large.sha256 == small.sha256 and large.train.size == small.train.size


def test_what_could_not_be_read_is_not_remembered(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(folders, "MANY", 20)
    looked = []

    def unreadable(paths, *args, **options):
        looked.append(len(paths))
        return None, {0: "can't be read (Input/output error)"}

    with monkeypatch.context() as context:
        context.setattr(folders, "decode_all", unreadable)
        assert len(folders.load(photos, bad_share=0.1).skipped) == 1
    assert looked == [24] and folders.load(photos).skipped == ()


@pytest.mark.parametrize(
    ("train", "name"),
    [
        ("Training", "Valid"),
        ("training_set", "validation_set"),
        pytest.param("train", "val", marks=pytest.mark.slow),
        pytest.param("TRAIN", "VALIDATION", marks=pytest.mark.slow),
        pytest.param("train", "dev", marks=pytest.mark.slow),
        pytest.param("seg_train", "val", marks=pytest.mark.slow),
    ],
)
def test_folders_of_splits_have_many_names(tmp_path, train, name):
    test = {"training_set": "test_set", "seg_train": "seg_test"}.get(train, "Test")
    for split, count in ((train, 4), (name, 2), (test, 1)):
        write(*(tmp_path / split / c / f"{i}.png" for c in "ab" for i in range(count)))
    splits = folders.load(tmp_path)
    sizes = (splits.train.size, splits.validation.size, splits.test.size)
    assert sizes == (8, 4, 2) and splits.class_names == ("a", "b")
    with pytest.raises(ValueError, match=f"and .*{name}. Leave one"):
        folders.check_val_fraction(tmp_path, 0.2)


@pytest.mark.parametrize("once", ["", "test"])
def test_folders_of_splits_may_be_doubled_as_archives_have_them(
    tmp_path, recwarn, once
):
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        inside = split if split == once else f"{split}/{split.capitalize()}"
        write(*(tmp_path / inside / c / f"{i}.png" for c in "ab" for i in range(count)))
    splits = folders.load(tmp_path)
    sizes = (splits.train.size, splits.validation.size, splits.test.size)
    assert sizes == (8, 4, 2) and splits.class_names == ("a", "b")
    assert not [w for w in recwarn.list if "Beside" in str(w.message)]
    # The path in the folder, by which a run knows an image.
    files = files_of(splits)
    assert next(files).path == "train/Train/a/0.png"


def test_a_doubled_folder_beside_one_that_is_not_stays_as_it_was(tmp_path):
    """Runs of earlier versions have these images."""
    for inside in ("train", "test/test"):
        write(*(tmp_path / inside / c / f"{i}.png" for c in "ab" for i in range(20)))
    with pytest.warns(UserWarning):
        assert folders.load(tmp_path).test is None


def test_what_lies_beside_train_is_named(tmp_path):
    for split in ("train", "val", "unlabeled"):
        write(*(tmp_path / split / c / f"{i}.png" for c in "ab" for i in range(2)))
    write(tmp_path / "sample.png", tmp_path / ".trash/1.png")
    (tmp_path / "data.yaml").touch()
    said = r"Beside .*train there .* left out: data.yaml, sample.png, unlabeled\.$"
    with pytest.warns(UserWarning, match=said) as warned:
        assert folders.load(tmp_path).train.size == 4
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("valid", "dev"), "validation"),
        (("train", "Training"), "train"),
        (("test", "Testing"), "test"),
    ],
)
def test_two_folders_of_one_split_are_refused(tmp_path, names, split):
    for name in ("train", *names):
        write(*(tmp_path / name / c / "1.png" for c in "ab"))
    with pytest.raises(ValueError, match=f"one folder of {split} images. Received: "):
        folders.load(tmp_path)


@pytest.mark.parametrize("names", [(), ("unknown",), ("images", "more")])
def test_an_unlabelled_test_set_does_not_block_training(tmp_path, names):
    write(*(tmp_path / "train" / c / f"{i}.png" for c in "ab" for i in range(4)))
    for name in names or (".",):
        write(tmp_path / "test" / name / "1.png")
    count = "2 images are" if len(names) == 2 else "1 image is"
    said = f"no folder of a class, so its {count} left out"
    with pytest.warns(UserWarning, match=said):
        splits = folders.load(tmp_path, val_fraction=0.25)
    assert splits.test is None and splits.train.size == 6


def test_splits_without_train_are_no_classes(tmp_path):
    for name in ("valid", "test"):
        write(*(tmp_path / name / c / "1.png" for c in "ab"))
    with pytest.raises(
        ValueError, match="a folder `train` of class folders beside valid"
    ):
        folders.load(tmp_path)


def test_images_in_no_class_are_counted(photos):
    write(photos / "1.png", photos / "2.png")
    with pytest.warns(UserWarning, match="2 × image in no class's folder"):
        assert folders.load(photos).train.size == 22


# --- Names ------------------------------------------------------------------------


def test_accents_are_the_same_however_they_are_written(tmp_path):
    apart, joined = (unicodedata.normalize(form, "café") for form in ("NFD", "NFC"))
    assert apart != joined
    write(*(tmp_path / "train" / apart / f"{i}.png" for i in range(4)))
    write(*(tmp_path / "train" / joined / f"{i}.png" for i in range(4, 6)))
    write(*(tmp_path / "train" / "zoo" / f"{i}.png" for i in range(4)))
    write(tmp_path / "val" / joined / "1.png", tmp_path / "val" / "zoo" / "1.png")
    splits = folders.load(tmp_path)
    assert splits.class_names == ("caf\u00e9", "zoo")
    assert np.bincount(splits.train.labels).tolist() == [6, 4]
    assert splits.validation.size == 2
    for name in (apart, joined):
        run = Run(None, (name, "zoo"), PREPARE, record={}, folder=tmp_path)
        assert has_classes(run, splits.class_names)
        assert not has_classes(run, ("cafe", "zoo"))


def test_a_class_whose_name_is_written_in_two_ways_is_one(tmp_path):
    for form in ("NFD", "NFC"):
        (tmp_path / unicodedata.normalize(form, "café")).mkdir()
    said = r"\['caf\u00e9'\], which two folders have, their accents written in two ways"
    with pytest.raises(ValueError, match=said):
        folders.load(tmp_path)


@on_linux
def test_names_that_are_no_utf8_become_escapes():
    assert as_text(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert as_text("cafe\u0301") == as_text("caf\u00e9") == "caf\u00e9"


@on_linux
def test_names_that_are_no_utf8_are_loaded(tmp_path):
    for name in (b"caf\xe9", b"plain"):
        folder = os.fsdecode(os.fsencode(tmp_path / "a") + b"\xff/" + name)
        write(*(os.path.join(folder, f"{i}\udce9.png") for i in range(4)))
    root = os.path.dirname(folder)
    with open(os.path.join(root, "plain", "bad\udce9.png"), "wb") as file:
        file.write(b"no image")
    splits = folders.load(root, val_fraction=0, bad_share=0.2)
    assert splits.class_names == (r"caf\xe9", "plain") and splits.name == r"a\xff"
    [skipped] = splits.skipped
    assert r"bad\xe9.png (" in skipped and skipped.encode()
    assert splits.train.size == 8
    for keep in (False, True):
        batches = evaluation_batches(splits.train, PREPARE, batch_size=8, keep=keep)
        [(images, labels)] = batches.as_numpy_iterator()
        assert images.shape == (8, 4, 4, 3) and labels.tolist() == 4 * [0] + 4 * [1]


@on_linux
@pytest.mark.parametrize("name", ["two\nlines", "end\r", "page\u2028"])
def test_a_class_of_several_lines_is_refused(photos, name):
    write(photos / name / "1.png")
    with pytest.raises(ValueError, match="must be one line of text"):
        folders.load(photos)


def test_what_is_found_is_counted(photos):
    splits = folders.load(photos)
    assert splits.counts == (
        "24 images of 2 classes in photos: 22 to train on, 2 for validation"
    )
    assert collections.Counter(splits.train.labels.tolist()) == {0: 11, 1: 11}
