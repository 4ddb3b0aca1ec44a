"""The recipes of detection as rows: how the published detectors were trained.

Commits: Detectron2 02b5c4e, torchvision 0.28, trzy/FasterRCNN 0d040b4, tf-faster-rcnn
069f163.
"""

from dataclasses import replace

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.detection_recipe import DetectionRecipe, DetectionTarget
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.recipe import MOMENTUM
from keras_resnet.config.schedules import CosineDecay, StepDecay

HELD_OUT = (
    "Some of the training images, the same ones in every run, are for validation: the "
    "source trains on them, too."
)
BACKBONE = (
    "The backbone begins with keras.applications' weights, whose top-1 error isn't the "
    "authors'; their files can be given as --weights."
)
JOINT = "Proposals and detector are trained together, not in the paper's four steps."


def _paper(dataset, steps, drop, batch_size, rate, **changes):
    """The paper's detector; He et al. 2016a, appendix A."""
    row = {
        "detector": "fasterrcnn_resnet101_c4",
        "dataset": dataset,
        "batches": BoxBatches(
            batch_size=batch_size,
            shorter_sides=(600,),
            longer_side=1000,
            difficult=False,
            without_objects=False,
        ),
        "steps": steps,
        "validate_every": steps // 20,
        "schedule": StepDecay(learning_rate=rate, at=(drop,)),
        "weight_decay": 5e-4,
        "decay_all": False,
        "weights": "keras:imagenet",
        "deviations": (BACKBONE, JOINT, HELD_OUT),
    }
    return DetectionRecipe(**(row | changes))


def _paper_voc(dataset, average_precision, year):
    source = "He et al. 2016a, appendix A"
    rule = "11 points" if year == 2007 else "area"
    row = _paper(
        dataset,
        70_000,
        50_000,
        1,
        0.001,
        target=DetectionTarget(
            average_precision=average_precision,
            rule=rule,
            where=f"{source}: ResNet-101, VOC {year} test",
        ),
        source=f"{source}; tf-faster-rcnn experiments/scripts/train_faster_rcnn.sh and "
        "py-faster-rcnn lib/fast_rcnn/config.py where it leaves a choice",
    )
    schedule = (
        "The paper doesn't tell its schedule for VOC: these are 70,000 updates of an "
        "image, a tenth of the rate after 50,000, as tf-faster-rcnn has them for 07+12."
    )
    return replace(row, deviations=(*row.deviations, schedule))


def _paper_coco():
    return _paper(
        "coco2017",
        320_000,
        240_000,
        8,
        0.001,
        target=DetectionTarget(
            average_precision=27.2,
            rule="coco",
            where="He et al. 2016a, table 8: ResNet-101, COCO val (48.4 at an IoU of 0.5); "
            "29.9 (49.9) when it is tested by box refinement, table 9",
        ),
        source="He et al. 2016a, appendix A",
        deviations=(
            BACKBONE,
            JOINT,
            HELD_OUT,
            "Trained on COCO's 2017 split, with 118,287 images, where the paper trains on "
            "2014's 80,000 and validates on 40,000.",
        ),
    )


def _paper_coco_with_context():
    row = _paper_coco()
    return replace(
        row,
        detector="fasterrcnn_resnet101_c4_context",
        target=DetectionTarget(
            average_precision=30.0,
            rule="coco",
            where="He et al. 2016a, table 9: ResNet-101 with context and box refinement, "
            "COCO val (51.1 at an IoU of 0.5); 32.5 (53.8) at several scales, too",
        ),
        source="He et al. 2016a, appendix B",
        deviations=(
            *row.deviations,
            "The target is of a detector that is tested by box refinement "
            "(`detection.Refined`); a run's record is of one that isn't.",
        ),
    )


def _quick_voc2007():
    epoch = BOX_DATASETS["voc2007"].examples
    return _paper(
        "voc2007",
        14 * epoch,
        10 * epoch,
        1,
        0.001,
        validate_every=epoch,
        target=DetectionTarget(
            average_precision=76.2,
            rule="area",
            where="trzy/FasterRCNN README: ResNet-101, VOC 2007 test",
        ),
        source="trzy/FasterRCNN README and train_pytorch_resnet50.sh",
        deviations=(
            BACKBONE,
            HELD_OUT,
            "The detector is the paper's row.",
            "Momentum goes on when the rate drops; the source begins anew there, and keeps "
            "the best weights by its test images.",
        ),
    )


def _detectron2_voc():
    return DetectionRecipe(
        detector="fasterrcnn_resnet50_c4_detectron2",
        dataset="voc0712",
        batches=BoxBatches(
            batch_size=16,
            shorter_sides=tuple(range(480, 801, 32)),
            rounding="half_up",
            without_objects=False,
        ),
        steps=18_000,
        validate_every=1_000,
        schedule=StepDecay(
            learning_rate=0.02,
            at=(12_000, 16_000),
            warmup=100 / 18_000,
            warmup_from=0.001,
        ),
        weights="keras:imagenet",
        target=DetectionTarget(
            average_precision=80.3,
            rule="area",
            where="Detectron2 MODEL_ZOO.md: VOC 07+12, R50-C4, VOC 2007 test",
        ),
        source="Detectron2 configs/PascalVOC-Detection/faster_rcnn_R_50_C4.yaml",
        deviations=(BACKBONE, HELD_OUT, MOMENTUM),
    )


def _torchvision_coco(detector, epoch, **changes):
    row = {
        "detector": detector,
        "dataset": "coco2017",
        "validate_every": epoch,
        "weights": "torchvision:IMAGENET1K_V1",
    }
    return DetectionRecipe(**(row | changes))


def _torchvision_v1():
    epoch = BOX_DATASETS["coco2017"].examples // 16
    steps = 26 * epoch
    return _torchvision_coco(
        "fasterrcnn_resnet50_fpn",
        epoch,
        batches=BoxBatches(batch_size=16, without_objects=False),
        steps=steps,
        schedule=StepDecay(
            learning_rate=0.02,
            at=(16 * epoch, 22 * epoch),
            warmup=1_000 / steps,
            warmup_from=0.001,
        ),
        target=DetectionTarget(
            average_precision=37.0,
            rule="coco",
            where="torchvision FasterRCNN_ResNet50_FPN_Weights.COCO_V1: COCO val2017",
        ),
        source="torchvision references/detection/README.md, train.py",
        deviations=(
            HELD_OUT,
            MOMENTUM,
            "Images are grouped by wide or high, where the source has seven groups of "
            "aspect ratios.",
        ),
    )


def _torchvision_v2():
    epoch = BOX_DATASETS["coco2017"].examples // 64
    steps = 400 * epoch
    return _torchvision_coco(
        "fasterrcnn_resnet50_fpn_v2",
        epoch,
        batches=BoxBatches(batch_size=64, without_objects=False),
        steps=steps,
        schedule=StepDecay(
            learning_rate=0.1,
            at=(352 * epoch, 384 * epoch),
            warmup=1_000 / steps,
            warmup_from=0.001,
        ),
        weight_decay=4e-5,
        target=DetectionTarget(
            average_precision=46.7,
            rule="coco",
            where="torchvision FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1: COCO val2017",
        ),
        source="torchvision pull request 5763 (the command)",
        deviations=(
            HELD_OUT,
            MOMENTUM,
            "Large-scale jitter, the source's augmentation, isn't here: images are flipped "
            "alone, so that the target is out of reach.",
            "Batch norm takes its statistics over the whole batch on one device; in the "
            "source, too (--sync-bn), over 32.",
        ),
    )


def _bccd():
    """After a trial that reached 87.4 % on the validation images (area rule)."""
    row = DETECTORS["fasterrcnn_resnet18_fpn"]
    sizes = ((16,), (32,), (64,), (128,), (256,))
    detector = replace(
        row,
        name="fasterrcnn_resnet18_fpn_from_16",
        anchors=replace(row.anchors, sizes=sizes),
        # Images have up to 30 cells: the row's 2,000 proposals, of which it learns 512,
        # are for COCO's scenes.
        proposals=replace(row.proposals, after_suppression=(1000, 300)),
        box_head=replace(row.box_head, samples=128),
        sides=(192, 256),
        classes=3,
    )
    return DetectionRecipe(
        detector=detector,
        dataset="BCCD",
        batches=BoxBatches(batch_size=4, shorter_sides=(192,), longer_side=256),
        steps=600,
        validate_every=100,
        schedule=CosineDecay(learning_rate=0.01, warmup=0.1),
        clip_norm=10.0,
        source="Ours: blood cells (BCCD) from random weights on two cores, by the row "
        "fasterrcnn_resnet18_fpn with anchors of 16 to 256 pixels and fewer proposals",
        deviations=(
            "Size, anchors, updates, batch and flips are those of a trial; its rate and "
            "the norm at which it clipped weren't kept, and these aren't chosen by a "
            "comparison. It had the row's 2,000 proposals to learn from and 1,000 to "
            "detect with, and learned from 512; here they are 1,000, 300 and 128.",
        ),
    )


_ROWS = {
    "fasterrcnn_resnet101_c4_voc": _paper_voc("voc0712", 76.4, 2007),
    "fasterrcnn_resnet101_c4_voc2012": _paper_voc("voc07test12", 73.8, 2012),
    "fasterrcnn_resnet101_c4_voc2007": _quick_voc2007(),
    "fasterrcnn_resnet101_c4_coco": _paper_coco(),
    "fasterrcnn_resnet101_c4_context_coco": _paper_coco_with_context(),
    "fasterrcnn_resnet50_c4_detectron2_voc": _detectron2_voc(),
    "fasterrcnn_resnet50_fpn_coco": _torchvision_v1(),
    "fasterrcnn_resnet50_fpn_v2_coco": _torchvision_v2(),
    "bccd": _bccd(),
}
DETECTION_RECIPES: dict[str, DetectionRecipe] = {
    name: replace(row, name=name) for name, row in _ROWS.items()
}
