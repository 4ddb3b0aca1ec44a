"""VOC and COCO from TensorFlow Datasets, by builders that hold three images."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_datasets import (
    BOX_DATASETS,
    COCO_CLASSES,
    COCO_IDS,
    VOC_CLASSES,
)
from keras_resnet.data import box_sources
from keras_resnet.data.box_loading import load_boxes
from keras_resnet.data.box_pipelines import evaluation_batches
from tests.helpers.boxed_folders import photograph
from tests.helpers.photos import encoded

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_datasets", reason="needs the extra `data`")
pytestmark = [pytest.mark.usefixtures("never_autotuned"), pytest.mark.slow]

SIZES = [(40, 60), (60, 40), (50, 50), (333, 500)]
# As VOC's XML has it: the first and last pixels from 1; COCO's corner, width and height.
VOC_BOXES = [(1, 1, 60, 40), (8, 12, 33, 45.7), (9, 9, 41, 27), (48, 240, 195, 331)]
COCO_BOXES = [
    (0, 0, 60, 40),
    (7.25, 11.5, 20, 30),
    (1, 1, 5, 5),
    (473.07, 1.3, 26.01, 9),
]


def plain(height, width, value):
    """An image of one colour, which says which one it is."""
    return photograph(height, width, [(0, 0, width, height)], value)


def voc_record(index):
    height, width = SIZES[index]
    xmin, ymin, xmax, ymax = VOC_BOXES[index]
    corners = (ymin / height, xmin / width, ymax / height, xmax / width)
    return {
        "image": encoded(plain(height, width, index), "PNG"),
        "image/filename": f"{index:06}.jpg",
        "objects": {
            "bbox": np.array([corners], np.float32),
            "label": np.array([index], np.int64),
            "is_difficult": np.array([index == 1]),
        },
    }


def coco_record(index):
    height, width = SIZES[index]
    x, y, w, h = COCO_BOXES[index]
    corners = (y / height, x / width, (y + h) / height, (x + w) / width)
    return {
        "image": encoded(plain(height, width, index), "PNG"),
        "image/filename": f"{index:012}.jpg",
        "image/id": np.int64(100 + index),
        "objects": {
            "bbox": np.array([corners], np.float32),
            "label": np.array([index], np.int64),
            "is_crowd": np.array([index == 1]),
            "area": np.array([7 * index], np.int64),
        },
    }


@pytest.fixture
def load(monkeypatch, tmp_path):
    """A function that loads a row whose builders have four images in each split."""
    (tmp_path / "records").write_bytes(b"12345")
    split = SimpleNamespace(filepaths=[tmp_path / "records"])

    def loaded(name, record, **changes):
        def builder(tfds_name, data_dir):
            rows = [record(index) for index in range(4)]
            joined = tf.nest.map_structure(lambda *values: np.stack(values), *rows)

            def as_dataset(**options):
                assert options["shuffle_files"] is False
                return tf.data.Dataset.from_tensor_slices(joined)

            splits = dict.fromkeys(("train", "validation", "test"), split)
            splits["train+validation"] = split
            info = SimpleNamespace(splits=splits, full_name=f"{tfds_name}/5.0.0")
            return SimpleNamespace(as_dataset=as_dataset, info=info, version="5.0.0")

        row = replace(BOX_DATASETS[name], validation=1, **changes)
        monkeypatch.setitem(BOX_DATASETS, name, row)
        monkeypatch.setattr(box_sources, "prepared_builder", builder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return box_sources.load(name)

    return loaded


def test_voc_has_the_boxes_of_its_files(load):
    found = load("voc2007", voc_record)
    assert found.class_names == VOC_CLASSES and found.version == "5.0.0"
    boxes = [(xmin - 1, ymin - 1, xmax, ymax) for xmin, ymin, xmax, ymax in VOC_BOXES]
    np.testing.assert_array_equal(found.test.objects.boxes, np.float32(boxes))
    assert found.test.objects.labels.tolist() == [0, 1, 2, 3]
    assert found.test.objects.difficult.tolist() == [False, True, False, False]
    assert found.test.sizes.tolist() == [list(size) for size in SIZES]
    assert found.test.ids == tuple(f"{index:06}.jpg" for index in range(4))
    assert (found.train.size, found.validation.size) == (3, 1)
    assert not {*found.train.ids} & {*found.validation.ids}
    assert found.train.examples.kind == "encoded"
    assert len(found.sha256) == 64


def test_coco_is_streamed_with_its_numbers_crowds_and_areas(load):
    found = load("coco2017", coco_record)
    boxes = [(x, y, x + w, y + h) for x, y, w, h in COCO_BOXES]
    np.testing.assert_allclose(found.test.objects.boxes, boxes, atol=1e-4)
    assert found.test.objects.crowd.tolist() == [False, True, False, False]
    assert found.test.objects.areas.tolist() == [0, 7, 14, 21]
    assert found.test.ids == (100, 101, 102, 103)
    assert (found.train.size, found.validation.size) == (3, 1)
    settings = BoxBatches(batch_size=2, shorter_sides=(32,), longer_side=64)
    seen = {}
    for batch, about in evaluation_batches(found.train, settings).as_numpy_iterator():
        for image, place, size in zip(
            batch["images"], about["indices"], about["original_shapes"], strict=True
        ):
            seen[found.train.ids[place]] = round(float(image[0, 0, 0])), size.tolist()
    # Each image is what its number says, of its size.
    assert len(seen) == 3
    assert all(value == number - 100 for number, (value, _) in seen.items())
    assert all(size == [*SIZES[number - 100]] for number, (_, size) in seen.items())


def test_a_data_set_is_loaded_by_its_name_after_a_word(load):
    load("voc2007", voc_record)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_boxes("tfds:voc2007").name == "voc2007"


def test_an_objects_class_is_named_where_something_is_wrong_with_it(load):
    def empty(index):
        record = voc_record(index)
        record["objects"]["bbox"][:, 2:] = record["objects"]["bbox"][:, :2]
        return record

    load("voc2007", empty)
    with pytest.warns(UserWarning, match="object 1, 'aeroplane'"):
        box_sources.load("voc2007")


def test_two_years_of_voc_are_joined(load):
    found = load("voc0712", voc_record)
    assert found.train.size + found.validation.size == 8
    assert found.test.size == 4


@pytest.mark.parity
def test_cocos_classes_are_torchvisions(torchvision):
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    named = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    known = {n: name for n, name in enumerate(named) if n and name != "N/A"}
    assert known == dict(zip(COCO_IDS, COCO_CLASSES, strict=True))


def test_a_builder_with_vocs_features_is_read(tmp_path, monkeypatch):
    """TFDS itself writes and reads the records."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.object_detection import voc

    class TinyVoc(voc.Voc):
        def _split_generators(self, manager):
            return {name: self._generate_examples(name, name) for name in SPLITS}

        def _generate_examples(self, data_path, set_name):
            for index, (height, width) in enumerate(SIZES):
                xmin, ymin, xmax, ymax = VOC_BOXES[index]
                box = tfds.features.BBox(
                    ymin / height, xmin / width, ymax / height, xmax / width
                )
                file = tmp_path / f"{index}.jpg"
                tf.io.write_file(str(file), encoded(photograph(height, width), "JPEG"))
                one = {
                    "label": index,
                    "bbox": box,
                    "pose": 0,
                    "is_truncated": False,
                    "is_difficult": index == 1,
                }
                yield (
                    f"{set_name}{index}",
                    {
                        "image": str(file),
                        "image/filename": f"{set_name}{index}.jpg",
                        "objects": [one],
                        "labels": [index],
                        "labels_no_difficult": [],
                    },
                )

    SPLITS = ("train", "validation", "test")

    def builder(name, data_dir):
        made = TinyVoc(data_dir=str(tmp_path / "tfds"), config=name.split("/")[1])
        made.download_and_prepare()
        return made

    monkeypatch.setattr(box_sources, "prepared_builder", builder)
    monkeypatch.setitem(
        BOX_DATASETS, "voc2007", replace(BOX_DATASETS["voc2007"], validation=2)
    )
    found = box_sources.load("voc2007")
    assert (found.train.size, found.validation.size, found.test.size) == (6, 2, 4)
    boxes = {(xmin - 1, ymin - 1, xmax, ymax) for xmin, ymin, xmax, ymax in VOC_BOXES}
    seen = {tuple(np.round(box.astype(float), 3)) for box in found.test.objects.boxes}
    assert seen == boxes
