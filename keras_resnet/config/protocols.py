"""How classifiers are measured, as rows: sizes, crops and what is averaged.

A recipe's `Target` names a row, since an error is only as comparable as its protocol.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the classes of an image are predicted from one or more views of it.

    Attributes:
        scales: Lengths in pixels of the shorter side after resizing, one for each
            view or set of crops; empty for the size of the run's own preprocessing.
        crop: Side in pixels of the crops; `None` for the network's own size, or, with
            ``crops=None``, for the whole image.
        crops: 1 for the centre, 2 for the centre and its mirror image, 10 for the
            four corners, the centre and their mirror images; `None` for the whole image
            by a fully-convolutional network.
        average: What is averaged over the views: class probabilities or logits.
        source: Who measures so, and where they say it.
    """

    scales: tuple[int, ...] = ()
    crop: int | None = None
    crops: Literal[1, 2, 10] | None = 1
    average: Literal["softmax", "logits"] = "softmax"
    source: str


PROTOCOLS: dict[str, Protocol] = {
    "single_crop": Protocol(
        source="One central crop, as the run's preprocessing makes it"
    ),
    "he2015_10crop": Protocol(
        scales=(256,), crop=224, crops=10, source="He et al. 2016a, sec. 3.4"
    ),
    "he2015_multiscale": Protocol(
        scales=(224, 256, 384, 480, 640),
        crops=None,
        source="He et al. 2016a, sec. 3.4: fully-convolutional, scores averaged",
    ),
    "he2016_320": Protocol(
        scales=(320,), crop=320, source="He et al. 2016b, sec. 5 and table 5"
    ),
    "fb_10crop": Protocol(
        scales=(256,),
        crop=224,
        crops=10,
        average="logits",
        source="fb.resnet.torch train.lua, computeScore: it sums logits",
    ),
    "torchvision_v2": Protocol(
        scales=(232,),
        crop=224,
        source="torchvision, weights IMAGENET1K_V2 of the ResNets",
    ),
    "darknet_256": Protocol(
        scales=(256,), crop=256, source="Redmon & Farhadi 2018, table 2"
    ),
}
