"""Data sets by name and from folders: splits, labels, fingerprints, bad examples."""

import hashlib
import http.server
import io
import json
import os
import re
import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders, records, sources, streams
from keras_resnet.data.bundled import make_fashion_mini
from keras_resnet.data.download import prepared_builder
from keras_resnet.data.examples import Examples, split_off_validation
from keras_resnet.data.image_files import read_image
from keras_resnet.data.sources import load

pytestmark = pytest.mark.usefixtures("never_autotuned")


@pytest.fixture(scope="module")
def fashion():
    return load("fashion_mini")


def test_the_bundled_set_is_balanced(fashion):
    assert fashion.train.images.shape == (13_300, 28, 28, 1)
    assert fashion.train.images.dtype == np.uint8
    assert fashion.train.labels.dtype == np.int32
    for split, per_class in (
        (fashion.train, 1_330),
        (fashion.validation, 50),
        (fashion.test, 200),
    ):
        assert split.kind == "pixels"
        assert np.bincount(split.labels).tolist() == [per_class] * 10
    assert len(fashion.class_names) == 10


def test_the_bundled_splits_are_disjoint(fashion):
    splits = (fashion.train, fashion.validation, fashion.test)
    distinct = [{image.tobytes() for image in split.images} for split in splits]
    # Fashion-MNIST itself repeats a few images, but none of these across splits.
    assert not distinct[1] & (distinct[0] | distinct[2])
    assert sum(map(len, distinct)) > 15_790


def test_the_bundled_set_has_the_statistics_that_its_row_states(fashion):
    p = DATASETS["fashion_mini"].preprocessing
    assert abs(fashion.train.images.mean() - p.mean[0]) < 0.5
    assert abs(fashion.train.images.std() - p.std[0]) < 0.5


def test_loading_is_the_same_in_every_run(fashion):
    again = load("fashion_mini")
    np.testing.assert_array_equal(again.validation.images, fashion.validation.images)
    assert again.sha256 == fashion.sha256
    assert re.fullmatch("[0-9a-f]{64}", fashion.sha256)


def test_the_bundled_file_is_the_one_its_readme_describes():
    contents = sources.BUNDLED.read_bytes()
    readme = sources.BUNDLED.with_name("README.md").read_text()
    assert len(contents) <= 6_000_000
    assert hashlib.sha256(contents).hexdigest() in readme
    assert f"{len(contents):,} bytes" in readme
    assert "Copyright (c) 2017 Zalando SE, https://tech.zalando.com" in readme


def test_writing_the_bundled_set_is_reproducible(tmp_path):
    arrays = {"a": np.arange(1000, dtype=np.uint8).reshape(10, 100)}
    for name in ("one.npz", "two.npz"):
        make_fashion_mini.write_npz(tmp_path / name, arrays)
    one = (tmp_path / "one.npz").read_bytes()
    assert one == (tmp_path / "two.npz").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "one.npz")["a"], arrays["a"])


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_bundled_file_is_named(monkeypatch, tmp_path, damage):
    contents = bytearray(sources.BUNDLED.read_bytes())
    if damage == "changed":
        contents[2_000_000] ^= 1
    else:
        del contents[{"cut": 2_000_000, "empty": 0}[damage] :]
    file = tmp_path / "fashion_mini.npz"
    file.write_bytes(contents)
    monkeypatch.setattr(sources, "BUNDLED", file)
    with pytest.raises(ValueError, match=f"{file} is corrupt"):
        load("fashion_mini")


def test_a_missing_bundled_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "BUNDLED", tmp_path / "gone.npz")
    with pytest.raises(FileNotFoundError, match="gone.npz"):
        load("fashion_mini")


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        load("cifar_10")


@pytest.mark.slow
def test_cifar10(shared_data):
    cifar = load("cifar10", data_dir=shared_data / "tfds")
    assert cifar.train.images.shape == (45_000, 32, 32, 3)
    assert np.bincount(cifar.validation.labels).tolist() == [500] * 10
    assert cifar.test.size == 10_000
    assert (cifar.name, cifar.version) == ("cifar10", "3.0.2")
    assert cifar.class_names[3] == "cat"  # The copy's features.json names none.
    p = DATASETS["cifar10"].preprocessing
    # A copy in JPEG: its deviations are a little smaller.
    means = cifar.train.images.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(means, p.mean, atol=0.5)


@pytest.mark.parametrize(
    ("copys", "expected"),
    [(None, "automobile"), ([f"c{i}" for i in range(10)], "c1")],
    ids=["nameless", "named"],
)
def test_a_copy_without_names_gets_ours(copys, expected):
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(
        **({"names": copys} if copys else {"num_classes": 10})
    )
    builder = SimpleNamespace(info=SimpleNamespace(features={"label": label}))
    assert sources._class_names(builder, DATASETS["cifar10"])[1] == expected


def test_there_is_a_name_for_every_class():
    with pytest.raises(ValueError, match="must hold 10 names"):
        replace(DATASETS["cifar10"], class_names=("cat", "dog"))


@pytest.mark.slow
def test_imagenette(shared_data):
    imagenette = load("imagenette", data_dir=shared_data / "tfds")
    train, validation, test = (
        imagenette.train,
        imagenette.validation,
        imagenette.test,
    )
    assert train.kind == "encoded"
    assert (train.size, validation.size, test.size) == (8_969, 500, 3_925)
    share = np.bincount(validation.labels) / np.bincount(train.labels)
    np.testing.assert_allclose(share, 500 / 8_969, rtol=0.02)
    assert not set(train.images) & set(validation.images)
    assert len(imagenette.class_names) == 10


@pytest.mark.slow
def test_a_streamed_set_reads_the_same_records(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    spec = DATASETS["imagenette"]
    builder = prepared_builder(spec.tfds, shared_data / "tfds")
    splits = sources._load_streamed("imagenette", spec, builder, 0.01)
    assert (splits.train.size, splits.validation.size) == (8_969, 500)
    image, label = next(splits.test.read().as_numpy_iterator())
    assert image[:2] == b"\xff\xd8" and 0 <= label < 10
    validation = {image for image, _ in splits.validation.read().as_numpy_iterator()}
    assert len(validation) == 500
    first = next(splits.train.read().as_numpy_iterator())[0]
    assert first not in validation


@pytest.fixture
def cifar_copy(shared_data, tmp_path):
    """CIFAR-10's folder with links in place of its TFRecord files."""
    copy = tmp_path / "cifar10" / "3.0.2"
    copy.mkdir(parents=True)
    for file in (shared_data / "tfds" / "cifar10" / "3.0.2").iterdir():
        if file.suffix == ".json":
            shutil.copyfile(file, copy / file.name)
        else:
            (copy / file.name).symlink_to(file)
    return copy


def test_a_truncated_tfrecord_is_named(cifar_copy):
    train = cifar_copy / "cifar10-train.tfrecord-00000-of-00001"
    contents = train.read_bytes()[:100_000]
    train.unlink()
    train.write_bytes(contents)
    with pytest.raises(ValueError, match=f"The file {train} is corrupt"):
        load("cifar10", data_dir=cifar_copy.parents[1])


def test_missing_records_are_noticed(cifar_copy):
    train = cifar_copy / "cifar10-train.tfrecord-00000-of-00001"
    contents = train.read_bytes()
    size = int.from_bytes(contents[:8], "little") + 16  # Of one record.
    train.unlink()
    train.write_bytes(contents[:size])
    with pytest.raises(
        ValueError, match="contain 50000 elements but .* only 1 .*Its files:"
    ):
        load("cifar10", data_dir=cifar_copy.parents[1])


def test_a_missing_tfrecord_is_named(cifar_copy):
    test = cifar_copy / "cifar10-test.tfrecord-00000-of-00001"
    test.unlink()
    with pytest.raises(FileNotFoundError, match=test.name):
        load("cifar10", data_dir=cifar_copy.parents[1])


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    def no_network(self, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(FileNotFoundError, match=r"no network\)\. Run .*--data-dir"):
        load("cifar100", data_dir=tmp_path)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def copies(tmp_path):
    """A folder of two data sets, as far as their places are told by files."""
    for place in ("cifar100/3.0.2", "imagenette/160px-v2/1.0.0"):
        folder = tmp_path / "tfds" / place
        folder.mkdir(parents=True)
        name = json.dumps({"name": place.split("/")[0]})
        (folder / "dataset_info.json").write_text(name)
    return tmp_path / "tfds"


@pytest.mark.parametrize("look", [load, sources.is_here])
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cifar100", "cifar100"),
        ("cifar100", "cifar100/3.0.2"),
        ("cifar100", ".."),
        ("cifar100", "imagenette/160px-v2"),
        ("imagenette", "imagenette"),
        ("imagenette", "imagenette/160px-v2"),
        ("imagenette", "imagenette/160px-v2/1.0.0"),
        ("svhn", "cifar100"),  # Not here at all, and no place to download it to.
        ("svhn", "imagenette/160px-v2/1.0.0"),
    ],
)
def test_a_wrong_level_of_data_dir_is_told_at_once(
    copies, monkeypatch, look, name, given
):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda *_, **__: pytest.fail("downloads"),
    )
    before = files_below(copies)
    with pytest.raises(FileNotFoundError, match=f"give --data-dir {copies}[., ]"):
        look(name, data_dir=copies / given)
    assert files_below(copies) == before


def test_other_folders_may_be_downloaded_to(copies):
    for folder in (copies, copies / "new", copies.parent / "cifar100"):
        assert not sources.is_here("svhn", folder)


def test_a_download_is_tried_once_and_leaves_nothing(monkeypatch, tmp_path):
    """TFDS's own ten tries take over three minutes without a network."""
    import tensorflow_datasets as tfds

    tries = []

    class Unavailable(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            tries.append(self.path)
            self.send_error(503)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/cifar.tar.gz"
        cifar = type(tfds.builder("cifar100", data_dir=tmp_path))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(
            cifar,
            "_split_generators",
            lambda self, manager: manager.download(url),
        )
        with pytest.raises(FileNotFoundError, match="downloading it failed"):
            load("cifar100", data_dir=tmp_path / "new")
        assert files_below(tmp_path) == []
        # What was there before stays, such as what somebody else is downloading.
        for name in ("manual/mine.tar", "cifar100/theirs.tmp.0123/half"):
            (tmp_path / "downloads" / name).parent.mkdir(parents=True)
            (tmp_path / "downloads" / name).touch()
        before = files_below(tmp_path)
        with pytest.raises(FileNotFoundError, match="downloading it failed"):
            load("cifar100", data_dir=tmp_path)
        assert files_below(tmp_path) == before
        server.shutdown()
    assert tries == ["/cifar.tar.gz"] * 2


def write_images(folder, classes, count):
    rng = np.random.default_rng(list(folder.name.encode()))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (8, 9, 3), np.uint8)
            suffix = ("png", "JPG", "bmp", "gif", "jpeg")[i % 5]
            Image.fromarray(pixels).save(folder / name / f"{i:02}.{suffix}")


def test_a_folder_is_split_by_class(tmp_path):
    write_images(tmp_path, ("dog", "cat"), 20)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / ".hidden").touch()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    for name in ("one.heic", "two.HEIC"):
        (tmp_path / "dog" / name).touch()
    left_out = r"left out: 2 × \.heic, 1 × \.txt, 1 × hidden\.$"
    with pytest.warns(UserWarning, match=left_out):
        splits = folders.load(tmp_path)
    assert splits.class_names == ("cat", "dog")
    assert splits.test is None
    assert splits.train.kind == "files"
    assert np.bincount(splits.train.labels).tolist() == [18, 18]
    assert np.bincount(splits.validation.labels).tolist() == [2, 2]
    paths = set(splits.train.images) | set(splits.validation.images)
    assert len(paths) == 40
    labels = dict(zip(splits.train.images, splits.train.labels, strict=True))
    assert all(label == ("dog" in path) for path, label in labels.items())
    with pytest.warns(UserWarning, match="left out"):
        again = folders.load(tmp_path)
    assert again.validation.images.tolist() == splits.validation.images.tolist()
    assert again.sha256 == splits.sha256


def test_the_fingerprint_of_a_folder_covers_paths_and_sizes(tmp_path):
    write_images(tmp_path / "a", ("cat", "dog"), 10)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = folders.load(tmp_path / "a").sha256
    assert folders.load(tmp_path / "b").sha256 == first
    (tmp_path / "b" / "cat" / "00.png").rename(tmp_path / "b" / "cat" / "zz.png")
    assert folders.load(tmp_path / "b").sha256 != first


@pytest.mark.slow
def test_a_folder_is_split_as_its_folder_of_training_images_is(tmp_path):
    write_images(tmp_path / "train", ("cat", "dog"), 20)
    inside = folders.load(tmp_path / "train").validation.images.tolist()
    assert folders.load(tmp_path).validation.images.tolist() == inside
    with pytest.raises(ValueError, match="--group.*every image's path"):
        folders.load(tmp_path, group="video")
    halves = folders.load(tmp_path, val_fraction=0.5, group="[0-9]")  # The first digit.
    assert np.bincount(halves.validation.labels).tolist() == [10, 10]
    # One digit for both classes.
    assert len({path[-6:] for path in halves.validation.images}) == 10


def test_given_splits_are_kept(tmp_path):
    write_images(tmp_path / "train", ("dog", "cat"), 5)
    write_images(tmp_path / "val", ("dog", "cat"), 2)
    write_images(tmp_path / "test", ("dog",), 3)
    with pytest.warns(UserWarning, match="test images lack 1 of 2 classes"):
        splits = folders.load(tmp_path)
    assert (splits.train.size, splits.validation.size, splits.test.size) == (10, 4, 3)
    assert splits.class_names == ("cat", "dog")
    assert set(splits.test.labels) == {1}


def test_a_test_folder_lends_nothing_to_validation(tmp_path):
    write_images(tmp_path / "train", ("dog", "cat"), 10)
    write_images(tmp_path / "test", ("dog", "cat"), 3)
    splits = folders.load(tmp_path)
    assert (splits.train.size, splits.validation.size, splits.test.size) == (18, 2, 6)


def test_classes_may_be_called_train_and_test(tmp_path):
    write_images(tmp_path, ("train", "test"), 10)
    with pytest.warns(UserWarning, match=r"\['test', 'train'\] are taken for classes"):
        assert folders.load(tmp_path).class_names == ("test", "train")


def test_a_class_unknown_to_the_training_set_is_refused(tmp_path):
    write_images(tmp_path / "train", ("dog", "cat"), 5)
    write_images(tmp_path / "validation", ("dog", "cow"), 5)
    with pytest.raises(ValueError, match=r"folders \['cow'\]"):
        folders.load(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_image_is_named(tmp_path, damage):
    write_images(tmp_path, ("cat", "dog"), 12)
    file = tmp_path / "dog" / "06.JPG"
    contents = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"hello", "cut": contents[:-80]}[damage])
    with pytest.raises(ValueError, match=str(file)):
        folders.load(tmp_path)


def test_a_large_folder_is_looked_through_once_and_again_when_it_changes(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(folders, "MANY", 40)
    looked = []
    decode_all = folders.decode_all

    def noted(*args, **options):
        looked.append(1)
        return decode_all(*args, **options)

    monkeypatch.setattr(folders, "decode_all", noted)
    photos = tmp_path / "photos"
    write_images(photos, ("cat", "dog"), 20)
    file = photos / "dog" / "06.JPG"
    file.write_bytes(b"hello")
    first = folders.load(photos, bad_share=0.1)
    again = folders.load(photos, bad_share=0.1)
    assert len(looked) == 1
    assert again.skipped == first.skipped and str(file) in first.skipped[0]
    file.write_bytes(file.with_name("01.JPG").read_bytes())
    assert folders.load(photos).skipped == ()
    assert len(looked) == 2


@pytest.mark.parametrize("magic", [b"", b"\xff\xd8\xff"])
def test_a_huge_file_is_not_read(tmp_path, monkeypatch, magic):
    """A file with a hole, which takes no place on the disk."""
    write_images(tmp_path, ("cat", "dog"), 3)
    huge = tmp_path / "cat" / "huge.jpg"
    huge.write_bytes(magic)
    os.truncate(huge, 2**31)
    read = []
    decode_all = folders.decode_all

    def noted(files, *args, **options):
        read.extend(files)
        return decode_all(files, *args, **options)

    monkeypatch.setattr(folders, "decode_all", noted)
    [skipped] = folders.load(tmp_path, bad_share=0.2).skipped
    reason = "than the 2,147,483,647 that can be decoded" if magic else "are no JPEG"
    assert str(huge) in skipped and reason in skipped
    assert len(read) == 6 and os.fsencode(huge) not in read
    with pytest.raises(ValueError, match="must be .* image. Received: it has 2,147,"):
        read_image(huge, None)


def test_a_folder_of_nothing_but_huge_files_is_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
        os.truncate(tmp_path / name / "1.jpg", 2**27)
    with pytest.raises(ValueError, match="2 of 2 are bad: .*are no JPEG"):
        folders.load(tmp_path)


def test_few_damaged_images_are_left_out_and_named(tmp_path):
    write_images(tmp_path / "train", ("cat", "dog"), 12)
    write_images(tmp_path / "val", ("cat", "dog"), 3)
    whole = folders.load(tmp_path)
    assert whole.skipped == ()
    bad = [tmp_path / "train" / "dog" / "06.JPG", tmp_path / "val" / "cat" / "02.bmp"]
    for file in bad:
        file.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"at most 1.0% .* 1 of 24 are bad: .*06.JPG"):
        folders.load(tmp_path)
    splits = folders.load(tmp_path, bad_share=0.2)
    assert (splits.train.size, splits.validation.size) == (23, 5)
    assert not {str(f) for f in bad} & {*splits.train.images, *splits.validation.images}
    assert [name.split(" (")[0] for name in splits.skipped] == [str(f) for f in bad]
    assert splits.sha256 != whole.sha256


def test_a_class_may_not_lose_all_of_its_images(tmp_path):
    write_images(tmp_path, ("cat", "dog"), 10)
    (tmp_path / "cow").mkdir()
    (tmp_path / "cow" / "1.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"none of \['cow'\]"):
        folders.load(tmp_path, bad_share=0.5)


class FakeSplits(dict):
    """Of 40 examples each, under any name."""

    def __missing__(self, split):
        return SimpleNamespace(num_examples=40, filepaths=[])


def fake_builder(monkeypatch, contents, labels):
    """A builder of TensorFlow Datasets, of one split for all."""
    import tensorflow as tf

    monkeypatch.setattr(
        records,
        "in_order",
        lambda *_, **__: tf.data.Dataset.from_tensor_slices((contents, labels)),
    )
    features = {"label": SimpleNamespace(names=["0"])}
    info = SimpleNamespace(
        full_name="fake/1.0.0",
        features=features,
        splits=FakeSplits(),
        file_format="tfrecord",
    )
    return SimpleNamespace(info=info, version="1.0.0", data_path="fake")


def images_and_labels_with_two_bad():
    """40 files, of which the 8th is none, and the 31st has no class of ten."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(40):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
        contents.append(file.getvalue())
    labels = np.arange(40) % 10
    contents[7], labels[30] = b"hello", 10
    return contents, labels


def test_bad_records_of_a_streamed_set_are_looked_for_once(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    contents, labels = images_and_labels_with_two_bad()
    builder = fake_builder(monkeypatch, contents, labels)
    spec = replace(DATASETS["cifar10"], storage="stream", validation=10)
    with pytest.raises(ValueError, match=r"fake/1.0.0, where 2 of 40 are bad"):
        sources._load_streamed("fake", spec, builder, 0.01)
    looked = []
    monkeypatch.setattr(streams, "bad_records", lambda *_: looked.append(1) or {})
    splits = sources._load_streamed("fake", spec, builder, 0.05)
    # The first split was looked through before the error, and is not again.
    assert len(looked) == 2
    assert splits.train.size == 38
    read = list(splits.train.read().as_numpy_iterator())
    kept = [i for i in range(40) if i not in (7, 30)]
    assert [image for image, _ in read] == [contents[i] for i in kept]
    assert [label for _, label in read] == labels[kept].tolist()
    assert [name.split(" (")[0] for name in splits.skipped] == [
        "train[10:][7]",
        "train[10:][30]",
    ]
    assert "label 10, must be 0 to 9" in splits.skipped[1]


@pytest.mark.parametrize("storage", ["pixels", "encoded"])
def test_bad_records_are_left_out_and_named(monkeypatch, storage):
    contents, labels = images_and_labels_with_two_bad()
    builder = fake_builder(monkeypatch, contents, labels)
    spec = replace(DATASETS["cifar10"], storage=storage, validation=10)
    with pytest.raises(ValueError, match=r"'train' of fake/1.0.0, where 2 of 40"):
        sources._load_into_memory("fake", spec, builder, 0.01)
    splits = sources._load_into_memory("fake", spec, builder, 0.05)
    assert (splits.train.size, splits.validation.size, splits.test.size) == (28, 10, 38)
    names = [name.split(" (")[0] for name in splits.skipped]
    assert names == ["train[7]", "train[30]", "test[7]", "test[30]"]
    assert "label 10, must be 0 to 9" in splits.skipped[1]
    kept = [i for i in range(40) if i not in (7, 30)]
    assert splits.test.labels.tolist() == labels[kept].tolist()
    assert splits.test.kind == storage
    last = splits.test.images[-1]
    expected = np.asarray(Image.open(io.BytesIO(contents[-1])))
    if storage == "encoded":
        last = np.asarray(Image.open(io.BytesIO(last)))
    np.testing.assert_array_equal(last, expected)


def test_folders_without_a_data_set_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="isn't a folder"):
        folders.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="at least two classes"):
        folders.load(tmp_path)
    write_images(tmp_path, ("only",), 3)
    with pytest.raises(ValueError, match=r"at least two classes.*\['only'\]"):
        folders.load(tmp_path)
    (tmp_path / "void").mkdir()
    with pytest.raises(FileNotFoundError, match="void must hold images"):
        folders.load(tmp_path)


def test_too_few_images_to_split_are_refused(tmp_path):
    write_images(tmp_path / "single", ("cat", "dog"), 1)
    with pytest.raises(ValueError, match="must be at least one, and leave some"):
        folders.load(tmp_path / "single")
    shutil.copy(tmp_path / "single/cat/00.png", tmp_path / "single/cat/more.png")
    with pytest.warns(UserWarning, match="validation images lack 1 of 2 .*: 'dog'"):
        splits = folders.load(tmp_path / "single", val_fraction=0.75)
    assert (splits.train.size, splits.validation.size) == (2, 1)
    shutil.rmtree(tmp_path / "single")
    write_images(tmp_path, ("cat", "dog"), 2)
    # As earlier versions chose them, of which some run may go on.
    with pytest.raises(ValueError, match="must take at least one example"):
        folders.load(tmp_path, split_by="position")
    with pytest.raises(ValueError, match="must keep an example to train on"):
        folders.load(tmp_path, val_fraction=0.75, split_by="position")
    for fraction in (0, 1.5):
        with pytest.raises(ValueError, match=f"val_fraction={fraction}"):
            folders.check_val_fraction(tmp_path, fraction)
    whole = folders.load(tmp_path, val_fraction=0)
    assert (whole.train.size, whole.validation) == (4, None)


def test_validation_images_of_a_folders_own(tmp_path):
    for name in ("train", "val"):
        write_images(tmp_path / name, ("cat", "dog"), 2)
    assert folders.load(tmp_path).validation.size == 4
    with pytest.raises(ValueError, match="val_fraction=0.2, and .*val. Leave one"):
        folders.check_val_fraction(tmp_path, 0.2)
    with pytest.raises(ValueError, match="group='cat', and .*val. Leave one"):
        folders.check_val_fraction(tmp_path, None, "cat")
    write_images(tmp_path / "validation", ("cat", "dog"), 2)
    with pytest.raises(ValueError, match="one folder of val.*val and validation"):
        folders.load(tmp_path)


def test_shares_that_do_not_divide_are_rounded_to_the_exact_total():
    labels = np.repeat([0, 1, 2], [10, 20, 37]).astype(np.int32)
    images = np.arange(67, dtype=np.uint8).reshape(-1, 1, 1, 1)
    train, validation = split_off_validation(Examples(images, labels), 10)
    assert np.bincount(validation.labels).tolist() == [1, 3, 6]
    kept = np.concatenate([train.images.ravel(), validation.images.ravel()])
    assert sorted(kept) == list(range(67))


def test_examples_must_match():
    with pytest.raises(ValueError, match="2 images, 3 labels"):
        Examples(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.int32))
