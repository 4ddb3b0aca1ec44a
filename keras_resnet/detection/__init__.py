"""Detection: images with boxes, Faster R-CNN, and how good what is found is.

Names are imported when they are first used: to measure needs no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_resnet.lazy import names_from

if TYPE_CHECKING:
    from keras_resnet.data.box_loading import load_boxes
    from keras_resnet.data.box_pipelines import evaluation_batches, training_batches
    from keras_resnet.data.boxes import BoxedExamples, BoxedSplits, Objects, of_images
    from keras_resnet.data.canvases import per_image, to_original
    from keras_resnet.detection.average_precision import (
        ClassPrecision,
        VocPrecision,
        voc_precision,
    )
    from keras_resnet.detection.callbacks import AveragePrecision, DetectionPictures
    from keras_resnet.detection.coco import CocoPrecision, coco_precision, coco_results
    from keras_resnet.detection.ensemble import Ensemble
    from keras_resnet.detection.evaluation import evaluate_detector, measure_detections
    from keras_resnet.detection.faster_rcnn import FasterRCNN
    from keras_resnet.detection.inference import detect_files, detections_in
    from keras_resnet.detection.misses import Misses, misses_by_image
    from keras_resnet.detection.multi_scale import MultiScale
    from keras_resnet.detection.pictures import draw_worst
    from keras_resnet.detection.prediction import draw_detections, write_detections
    from keras_resnet.detection.refinement import Refined
    from keras_resnet.detection.roi_pooling import roi_align
    from keras_resnet.detection.suppression import nms

__all__ = [
    "AveragePrecision",
    "BoxedExamples",
    "BoxedSplits",
    "ClassPrecision",
    "CocoPrecision",
    "DetectionPictures",
    "Ensemble",
    "FasterRCNN",
    "Misses",
    "MultiScale",
    "Objects",
    "Refined",
    "VocPrecision",
    "coco_precision",
    "coco_results",
    "detect_files",
    "detections_in",
    "draw_detections",
    "draw_worst",
    "evaluate_detector",
    "evaluation_batches",
    "load_boxes",
    "measure_detections",
    "misses_by_image",
    "nms",
    "of_images",
    "per_image",
    "roi_align",
    "to_original",
    "training_batches",
    "voc_precision",
    "write_detections",
]

# Where each name is.
_HOMES = {
    "AveragePrecision": "detection.callbacks",
    "BoxedExamples": "data.boxes",
    "BoxedSplits": "data.boxes",
    "ClassPrecision": "detection.average_precision",
    "CocoPrecision": "detection.coco",
    "DetectionPictures": "detection.callbacks",
    "Ensemble": "detection.ensemble",
    "FasterRCNN": "detection.faster_rcnn",
    "Misses": "detection.misses",
    "MultiScale": "detection.multi_scale",
    "Objects": "data.boxes",
    "Refined": "detection.refinement",
    "VocPrecision": "detection.average_precision",
    "coco_precision": "detection.coco",
    "coco_results": "detection.coco",
    "detect_files": "detection.inference",
    "detections_in": "detection.inference",
    "draw_detections": "detection.prediction",
    "draw_worst": "detection.pictures",
    "evaluate_detector": "detection.evaluation",
    "evaluation_batches": "data.box_pipelines",
    "load_boxes": "data.box_loading",
    "measure_detections": "detection.evaluation",
    "misses_by_image": "detection.misses",
    "nms": "detection.suppression",
    "of_images": "data.boxes",
    "per_image": "data.canvases",
    "roi_align": "detection.roi_pooling",
    "to_original": "data.canvases",
    "training_batches": "data.box_pipelines",
    "voc_precision": "detection.average_precision",
    "write_detections": "detection.prediction",
}


if not TYPE_CHECKING:  # Checkers would take every other name for an `Any` of it.
    __getattr__ = names_from(_HOMES, __name__, inside="keras_resnet")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
