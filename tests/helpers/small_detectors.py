"""Narrow detectors on images of 64 pixels, and batches for them."""

from dataclasses import replace

import keras
import numpy as np

from keras_resnet.config.detectors import DETECTORS
from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.detection import FasterRCNN
from tests.helpers.reference import with_random_weights

BACKBONE = ResNetSpec(
    name="narrow",
    stem="imagenet",
    stem_filters=4,
    stages=doubling("basic", (1, 1, 1, 1), 4),
    dataset="imagenet",
    paper="none",
    source="none",
)
CLASSES = 3


def small_row(name="fasterrcnn_resnet50_fpn", **head):
    """A published row with a narrow backbone, few proposals and small anchors."""
    row = DETECTORS[name]
    sizes = tuple(tuple(size / 8 for size in level) for level in row.anchors.sizes)
    proposals = replace(
        row.proposals,
        samples=16,
        before_suppression=(64, 32),
        after_suppression=(32, 16),
        smallest=min(row.proposals.smallest, 1.0),
    )
    box_head = replace(
        row.box_head,
        **{"units": 8, "samples": 8, "detections": 5, "score": 0.01} | head,
    )
    return replace(
        row,
        name="small",
        backbone=BACKBONE,
        pyramid_filters=8,
        anchors=replace(row.anchors, sizes=sizes),
        proposals=proposals,
        box_head=box_head,
        classes=CLASSES,
    )


def small_detector(name="fasterrcnn_resnet50_fpn", seed=0, **options):
    """A detector of `small_row` with random weights."""
    keras.utils.set_random_seed(seed)
    return FasterRCNN(small_row(name), seed=seed, **options)


def small_batch(images=2, height=64, width=96, boxes=3):
    """A batch as tensors: the last image has no box, the first one two."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (images, boxes, 2))
    truth = np.concatenate([corners, corners + rng.uniform(8, 30, corners.shape)], -1)
    classes = rng.integers(0, CLASSES, (images, boxes))
    truth[0, 2:], classes[0, 2:] = -1, -1
    truth[-1], classes[-1] = -1, -1
    return {
        "images": rng.integers(0, 256, (images, height, width, 3)).astype("uint8"),
        "bounding_boxes": {
            "boxes": truth.astype("float32"),
            "classes": classes.astype("float32"),
        },
        "image_shapes": np.array([[height, width - 8]] * images, "float32"),
    }


def as_tensors(batch):
    """The arrays of a batch as tensors of Keras's backend."""
    return keras.tree.map_structure(keras.ops.convert_to_tensor, batch)


def noticing_detector(seed=0, **options):
    """One whose random weights find objects of several classes on most images."""
    return with_random_weights(small_detector(seed=seed, **options), seed)
