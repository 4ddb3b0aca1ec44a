"""The data sets of detection as rows: their classes, sizes, splits and sources."""

from dataclasses import dataclass

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
# By the numbers that COCO's files give them, from 1. Eleven of 91 have no object, of which
# the last, number 91, is left out here.
_COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light "
    "fire_hydrant - stop_sign parking_meter bench bird cat dog horse sheep cow "
    "elephant bear zebra giraffe - backpack umbrella - - handbag tie suitcase frisbee "
    "skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple "
    "sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed - dining_table - - toilet - tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator - book clock vase scissors "
    "teddy_bear hair_drier toothbrush"
).split()
COCO_IDS: tuple[int, ...] = tuple(n for n, c in enumerate(_COCO, start=1) if c != "-")
COCO_CLASSES: tuple[str, ...] = tuple(c.replace("_", " ") for c in _COCO if c != "-")


@dataclass(frozen=True, kw_only=True)
class BoxDatasetSpec:
    """A data set of images with boxes, in TensorFlow Datasets.

    Attributes:
        train, test: Names and splits in TFDS, joined in this order. The test split is
            never used to choose anything; empty where its objects aren't published.
        validation: Images split off the training set, the same ones in every run.
        examples: Images to train on, those of the validation set left out.
        from_one: Whether the copy has VOC's corners, pixels counted from 1, divided by the
            image's sides: TFDS takes them over as they are.
        stream: Whether images are read from disk in every epoch, instead of being held in
            memory as JPEG files.
        class_names: In the order of the labels.
        category_ids: COCO's number of each class; else 1, 2, …
        source: Where the data set is published.
    """

    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]
    validation: int
    examples: int
    from_one: bool
    stream: bool
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    source: str


def _voc(train, images, validation, stream, test=(("voc/2007", "test"),)):
    return BoxDatasetSpec(
        train=train,
        test=test,
        validation=validation,
        examples=images - validation,
        from_one=True,
        stream=stream,
        class_names=VOC_CLASSES,
        category_ids=tuple(range(1, len(VOC_CLASSES) + 1)),
        source="Everingham et al. 2010",
    )


TRAINVAL_2007 = ("voc/2007", "train+validation")
TRAINVAL_2012 = ("voc/2012", "train+validation")

# How many images are for validation is our choice; the published detectors were trained on
# these, too.
BOX_DATASETS: dict[str, BoxDatasetSpec] = {
    "voc2007": _voc((TRAINVAL_2007,), 5_011, 250, stream=False),
    # What He et al. 2016a, appendix A, call 07+12 and 07++12.
    "voc0712": _voc((TRAINVAL_2007, TRAINVAL_2012), 16_551, 800, stream=True),
    "voc07test12": _voc(
        (("voc/2007", "train+validation+test"), TRAINVAL_2012),
        21_503,
        800,
        stream=True,
        test=(),  # PASCAL's server alone knows the objects of 2012's.
    ),
    "coco2017": BoxDatasetSpec(
        train=(("coco/2017", "train"),),
        test=(("coco/2017", "validation"),),
        validation=2_000,
        examples=116_287,
        from_one=False,
        stream=True,
        class_names=COCO_CLASSES,
        category_ids=COCO_IDS,
        source="Lin et al. 2014",
    ),
}
