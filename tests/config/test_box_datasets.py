"""The data sets of detection."""

from keras_resnet.config.box_datasets import (
    BOX_DATASETS,
    COCO_CLASSES,
    COCO_IDS,
    VOC_CLASSES,
)


def test_coco_has_80_classes_with_numbers_up_to_90():
    assert len(COCO_CLASSES) == len(COCO_IDS) == 80
    names = dict(zip(COCO_IDS, COCO_CLASSES, strict=True))
    assert (names[1], names[13], names[90]) == ("person", "stop sign", "toothbrush")
    assert 12 not in names and 91 not in names


def test_each_class_has_a_number_and_a_place_in_the_alphabet_of_voc():
    assert len(VOC_CLASSES) == 20 and list(VOC_CLASSES) == sorted(VOC_CLASSES)
    for row in BOX_DATASETS.values():
        assert (
            len(row.class_names) == len(row.category_ids) == len(set(row.class_names))
        )
        assert not {*row.train} & {*row.test}
