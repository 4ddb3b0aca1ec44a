"""The published detectors as rows of a table: Faster R-CNN with ResNets.

A row is all that distinguishes one from another: which feature maps, anchors, thresholds
and head. Its backbone is a row of `architectures`. The rows are those of torchvision 0.28
(models/detection), of Detectron2 02b5c4e (configs) and of the paper.
"""

from dataclasses import replace
from typing import Any

from keras_resnet.config.detector import Anchors, BoxHead, DetectorSpec, Proposals

NECKS: dict[str, str] = {  # The row of a backbone that comes without a detector's name.
    "fpn": "fasterrcnn_resnet50_fpn",
    "c4": "fasterrcnn_resnet50_c4_detectron2",
    "dc5": "fasterrcnn_resnet50_dc5_detectron2",
}


def _torchvision(backbone="resnet50_v1_5", **changes):
    """Its FPN detectors: Lin et al. 2017, by the code of models/detection."""
    row = {
        "backbone": backbone,
        "neck": "fpn",
        "anchors": Anchors(
            sizes=((32,), (64,), (128,), (256,), (512,)),
            outermost="ratio",
            rounded=True,
            measured_strides=True,
        ),
        "proposals": Proposals(
            before_suppression=(2000, 1000),
            after_suppression=(2000, 1000),
            smallest=1e-3,
            beta=1 / 9,
        ),
        "box_head": BoxHead(
            layers="dense",
            sampling_ratio=2,
            aligned=False,
            background_class="first",
            smallest=1e-2,
            beta=1 / 9,
        ),
        "classes": 90,  # COCO's numbers go to 90, with ten that have no class.
        "paper": "Ren et al. 2015; Lin et al. 2017",
        "source": "torchvision models/detection/faster_rcnn.py",
    }
    return DetectorSpec(**(row | changes))


def _torchvision_v2():
    row = _torchvision(
        pyramid_batch_norm=True,
        frozen_batch_norm=False,
        paper="Li et al. 2021 (arXiv 2111.11429), sec. 3",
    )
    return replace(
        row,
        proposals=replace(row.proposals, convolutions=2),
        box_head=replace(row.box_head, layers="convolutions"),
    )


CAFFE_BGR: dict[str, Any] = {  # Detectron2's default, for the authors' weights.
    "mean": (103.53, 116.28, 123.675),
    "std": (1.0, 1.0, 1.0),
    "channel_order": "bgr",
}


def _detectron2(backbone, neck, **changes):
    stage = neck == "c4"
    row = {
        "backbone": backbone,
        "neck": neck,
        "anchors": Anchors(sizes=((32, 64, 128, 256, 512),)),
        "proposals": Proposals(
            before_suppression=(12000, 6000), after_suppression=(2000, 1000)
        ),
        "box_head": BoxHead(
            layers="stage" if stage else "dense", pooled=14 if stage else 7
        ),
        "classes": 80,
        "paper": "Ren et al. 2015; He et al. 2016a, appendix A",
        "source": "Detectron2 configs/Base-RCNN-"
        + ("C4.yaml" if stage else "DilatedC5.yaml"),
        **CAFFE_BGR,
    }
    return DetectorSpec(**(row | changes))


def _paper_with_context():
    """Appendix B, trained from the beginning as appendix A's detector is."""
    row = _paper()
    return replace(
        row,
        box_head=replace(row.box_head, context=True),
        paper="Ren et al. 2015; He et al. 2016a, appendix B",
    )


def _paper():
    """He et al. 2016a, appendix A; what it leaves open as in py-faster-rcnn's config."""
    return _detectron2(
        "resnet101",
        "c4",
        anchors=Anchors(sizes=((128, 256, 512),), offset=0.5, inside_only=True),
        proposals=Proposals(
            before_suppression=(12000, 6000),
            after_suppression=(2000, 300),
            smallest=16,
            beta=1 / 9,
        ),
        box_head=BoxHead(
            layers="stage",
            pooled=14,
            background=(0.1, 0.5),
            samples=128,
            suppression=0.3,
            beta=1.0,
        ),
        sides=(600, 1000),
        classes=20,
        source="the paper; py-faster-rcnn lib/fast_rcnn/config.py where it leaves a choice",
        deviations=(
            "Proposals and detector are trained together, as py-faster-rcnn's end2end, not "
            "in four steps.",
            "ROIAlign stands for the maximum in rounded cells, which didn't know fractions "
            "of a pixel.",
            "16 pixels, the smallest side of a proposal, are of the resized image, and "
            "anchors aren't rounded.",
        ),
    )


_ROWS = {
    "fasterrcnn_resnet18_fpn": _torchvision(
        "resnet18",
        source="torchvision models/detection/backbone_utils.py, resnet_fpn_backbone",
    ),
    "fasterrcnn_resnet50_fpn": _torchvision(),
    "fasterrcnn_resnet50_fpn_v2": _torchvision_v2(),
    "fasterrcnn_resnet101_c4": _paper(),
    "fasterrcnn_resnet101_c4_context": _paper_with_context(),
    "fasterrcnn_resnet50_c4_detectron2": _detectron2("resnet50", "c4"),
    "fasterrcnn_resnet101_c4_detectron2": _detectron2("resnet101", "c4"),
    "fasterrcnn_resnet50_dc5_detectron2": _detectron2("resnet50", "dc5"),
    "fasterrcnn_resnet101_dc5_detectron2": _detectron2("resnet101", "dc5"),
}
DETECTORS: dict[str, DetectorSpec] = {
    name: replace(row, name=name) for name, row in _ROWS.items()
}
