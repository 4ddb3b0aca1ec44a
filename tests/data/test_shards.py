"""Folders that TensorFlow Datasets wrote: both formats, random access, exact resume."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Recipe
from keras_resnet.config.schedules import CosineDecay
from keras_resnet.data import shards
from keras_resnet.data.pipelines import evaluation_batches, training_batches

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra [data]")
pytestmark = pytest.mark.usefixtures("never_autotuned", "own_home")
CLASSES = ["cat", "dog", "emu"]
FORMATS = ("tfrecord", "array_record")
COUNT = 150  # More than are read at a time from an ArrayRecord file.
P = Preprocessing(
    channels=3, resize=None, size=(8, 8), mean=(128.0,) * 3, std=(64.0,) * 3
)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))


def png(number):
    """An image that tells its number: a byte array of PNG."""
    pixels = np.full((8, 8, 3), number, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(folder, file_format, *, bad=(), splits=("train", "test")):
    """Has TFDS write images in three shards; returns the folder."""
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=CLASSES),
    }

    def examples(count):
        for i in range(count):
            image = b"hello" if i in bad else png(i)
            yield f"{i}", {"image": io.BytesIO(image), "label": i % 3}

    counts = {"train": COUNT, "test": 6, "validation": 12}
    builder = tfds.dataset_builders.AdhocBuilder(
        name="photos",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={name: list(examples(counts[name])) for name in splits},
        data_dir=folder,
    )
    builder.download_and_prepare(
        file_format=file_format,
        download_config=tfds.download.DownloadConfig(num_shards=3),
    )
    return folder / "photos" / "1.0.0"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {name: write(folder / name, name) for name in FORMATS}


def recipe(steps):
    return Recipe(
        network="resnet20",
        dataset="photos",
        batch_size=4,
        steps=steps,
        validate_every=1,
        schedule=CosineDecay(learning_rate=0.1),
        augmentation=None,
        target=None,
        source="test",
    )


def numbers(batches):
    """The images' numbers, batch by batch."""
    return [
        np.round(np.asarray(images)[:, 0, 0, 0] * 64 + 128).astype(int).tolist()
        for images, _ in batches.as_numpy_iterator()
    ]


def training(examples, steps, start_step=0):
    options = {"classes": 3, "seed": 5, "start_step": start_step}
    return numbers(training_batches(examples, P, recipe(steps), **options))


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_folder_of_shards_is_split_and_read_whole(written, file_format):
    splits = shards.load(written[file_format])
    assert splits.class_names == tuple(CLASSES)
    assert (splits.name, splits.version, splits.root) == ("photos", "1.0.0", None)
    sizes = splits.train.size, splits.validation.size, splits.test.size
    assert sizes == (135, 15, 6)
    assert (splits.train.at is not None) == (file_format == "array_record")
    read = {}
    for split in ("train", "validation"):
        batches = evaluation_batches(getattr(splits, split), P, batch_size=10)
        read[split] = sum(numbers(batches), [])
        labels = np.concatenate([part for _, part in batches.as_numpy_iterator()])
        assert labels.tolist() == [number % 3 for number in read[split]]
    assert sorted(read["train"] + read["validation"]) == list(range(COUNT))
    # In random order, as TFDS wrote them: the first ones are of all classes.
    assert {number % 3 for number in read["validation"]} == {0, 1, 2}
    whole = shards.load(written[file_format], val_fraction=0)
    assert (whole.train.size, whole.validation) == (COUNT, None)
    assert whole.sha256 != splits.sha256 == shards.load(written[file_format]).sha256


@pytest.mark.slow
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_run_on_shards_goes_on_in_the_middle_of_an_epoch(written, file_format):
    train = shards.load(written[file_format]).train
    whole = training(train, 40)  # 135 images: 33 batches and three quarters an epoch.
    assert len({number for batch in whole[:33] for number in batch}) == 33 * 4
    for start in (1, 20, 36):
        assert training(train, 40, start) == whole[start:]


def test_random_access_reads_nothing_but_what_is_asked_for(written, monkeypatch):
    train = shards.load(written["array_record"]).train
    whole = training(train, 33)
    read = []
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    getitems = ArrayRecordDataSource.__getitems__

    def noted(self, keys):
        read.extend(keys)
        return getitems(self, keys)

    monkeypatch.setattr(ArrayRecordDataSource, "__getitems__", noted)
    assert training(train, 33, 30) == whole[30:]
    assert len(read) == 135 - 120  # The rest of the epoch, of which 12 are asked for.


@pytest.mark.parametrize("file_format", FORMATS)
def test_bad_images_of_shards_are_named_and_left_out(tmp_path, file_format):
    folder = write(tmp_path, file_format, bad=(7, 70), splits=("train", "validation"))
    with pytest.raises(ValueError, match="where 2 of 150 are bad"):
        shards.load(folder)
    splits = shards.load(folder, bad_share=0.5)
    assert (splits.train.size, splits.validation.size, splits.test) == (148, 11, None)
    assert len(splits.skipped) == 3 and splits.skipped[0].startswith("train[")
    seen = sum(training(splits.train, 37), [])
    assert sorted(seen) == sorted(set(range(COUNT)) - {7, 70})
    with pytest.raises(ValueError, match="--val-fraction.*the split 'validation'"):
        shards.check_options(folder, 0.2, None, None)


@pytest.mark.parametrize("file_format", FORMATS)
def test_damaged_and_missing_shards_are_named(written, tmp_path, file_format):
    folder = tmp_path / "copy"
    shutil.copytree(written[file_format], folder)
    file = folder / f"photos-train.{file_format}-00001-of-00003"
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2 :] = b"x" * 100
    file.write_bytes(contents)
    with pytest.raises(ValueError, match=f"The file {file} is corrupt"):
        shards.load(folder)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=file.name):
        shards.load(folder)


def test_what_is_no_such_folder_says_so(written, tmp_path):
    assert not shards.is_shards(tmp_path)
    folder = written["tfrecord"]
    with pytest.raises(ValueError, match=f"Give --data {folder}"):
        shards.is_shards(folder.parent)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    info = json.loads((copy / "dataset_info.json").read_text())
    tested = [one for one in info["splits"] if one["name"] == "test"]
    for changed, message in (
        ({**info, "name": "cifar10"}, None),
        ({**info, "splits": tested}, "must have the split 'train'"),
        ({**info, "disableShuffling": True}, "must have the split 'validation'"),
        ([], "must be as TensorFlow Datasets wrote it"),
    ):
        (copy / "dataset_info.json").write_text(json.dumps(changed))
        if message is None:
            assert shards.name_of(copy) == "cifar10_folder"
            continue
        with pytest.raises(ValueError, match=message):
            shards.load(copy)


def test_options_that_need_paths_are_refused(written):
    for options in ((None, "video", None), (None, None, "auto")):
        with pytest.raises(ValueError, match="looks at the files of a folder"):
            shards.check_options(written["tfrecord"], *options)
    shards.check_options(written["tfrecord"], 0.2, None, 12)
