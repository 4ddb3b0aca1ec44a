"""How detectors are measured, as rows."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BoxProtocol:
    """By which rule detections are compared with what is there.

    Attributes:
        rule: ``"11 points"`` or ``"area"``, VOC's of 2007 and of later years, at an IoU of
            0.5; or ``"coco"``, the mean over IoUs from 0.50 to 0.95.
        source: Where the rule stands.
    """

    rule: Literal["11 points", "area", "coco"]
    source: str


BOX_PROTOCOLS: dict[str, BoxProtocol] = {
    "voc07": BoxProtocol(
        rule="11 points", source="Everingham et al. 2010, sec. 4.2: VOC until 2009"
    ),
    "voc": BoxProtocol(rule="area", source="VOC2010's development kit, sec. 3.4.1"),
    "coco": BoxProtocol(rule="coco", source="Lin et al. 2014; cocodataset.org"),
}
