"""How classifiers are measured, as rows: sizes, crops and what is averaged.

A recipe's `Target` names a row, since an error is only as comparable as its protocol.
"""

from dataclasses import dataclass, replace
from typing import Literal

from keras_resnet.config.checks import is_integer

LARGEST = 10_000  # Pixels on a side.
NOISE = 0.05  # With a p-value above, a difference of two runs isn't told from chance.


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the classes of an image are predicted from one or more views of it.

    Attributes:
        scales: Lengths in pixels of the shorter side after resizing, one for each
            view or set of crops; empty for the size of the run's own preprocessing.
        crop: Side in pixels of the crops; `None` for the network's own size.
        crops: 1 for the centre, 2 for the centre and its mirror image, 10 for the
            four corners, the centre and their mirror images.
        dense: Whether the network sees the whole image, its aspect kept, as a
            fully-convolutional one: its last pooling slides over the larger map with
            the window that it has at the network's own size, and the classifier's
            scores are averaged over the places (He et al. 2016a, sec. 3.4). Then there is
            no crop; ``crops`` is 1, or 2 for the mirror image too.
        average: What is averaged over the views: class probabilities or logits.
        source: Who measures so, and where they say it.

    Raises:
        ValueError: If a value is impossible; it names the field.
    """

    scales: tuple[int, ...] = ()
    crop: int | None = None
    crops: Literal[1, 2, 10] = 1
    dense: bool = False
    average: Literal["softmax", "logits"] = "softmax"
    source: str

    def __post_init__(self) -> None:
        if not all(is_integer(scale, 1, LARGEST) for scale in self.scales):
            raise ValueError(
                f"`scales` must hold integers from 1 to {LARGEST:,}, lengths in pixels of "
                f"the shorter side. Received: scales={self.scales}."
            )
        if self.crop is not None and not is_integer(self.crop, 1, LARGEST):
            raise ValueError(
                f"`crop` must be an integer from 1 to {LARGEST:,}, or None for the "
                f"network's own size. Received: crop={self.crop}."
            )
        if self.crops not in (1, 2, 10):
            raise ValueError(
                f"`crops` must be 1, 2 or 10. Received: crops={self.crops}."
            )
        if self.average not in ("softmax", "logits"):
            raise ValueError(
                "`average` must be 'softmax' or 'logits'. "
                f"Received: average={self.average!r}."
            )
        if self.dense and (self.crop is not None or self.crops == 10):
            raise ValueError(
                "With `dense` the network sees the whole image: leave out `crop`, and let "
                "`crops` be 1, or 2 for the mirror image too. "
                f"Received: crop={self.crop}, crops={self.crops}."
            )
        if self.crop and any(scale < self.crop for scale in self.scales):
            raise ValueError(
                "`scales` must not be smaller than `crop`. "
                f"Received: scales={self.scales}, crop={self.crop}."
            )


PROTOCOLS: dict[str, Protocol] = {
    "single_crop": Protocol(
        source="One central crop, as the run's preprocessing makes it"
    ),
    "he2015_10crop": Protocol(
        scales=(256,), crop=224, crops=10, source="He et al. 2016a, sec. 3.4"
    ),
    "he2015_multiscale": Protocol(
        scales=(224, 256, 384, 480, 640),
        dense=True,
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


def name_of(protocol: Protocol) -> str:
    """The key of a protocol in `PROTOCOLS`, or a name that tells the fields of another."""
    for name, row in PROTOCOLS.items():
        if replace(row, source=protocol.source) == protocol:
            return name
    if protocol.dense:
        parts = ["dense"] if protocol.crops == 1 else ["dense_and_mirrored"]
    else:
        parts = [f"{protocol.crops}_crop{'s' if protocol.crops > 1 else ''}"]
    if protocol.crop is not None:
        parts.append(f"of_{protocol.crop}")
    if protocol.scales:
        parts.append("at_" + "_".join(map(str, protocol.scales)))
    if protocol.average == "logits":
        parts.append("logits")
    return "_".join(parts)
