"""Measures a detector's run on a split, and keeps the results and detections."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from keras_resnet.config.box_protocols import BOX_PROTOCOLS
from keras_resnet.config.lookup import find
from keras_resnet.config.protocols import Protocol, name_of
from keras_resnet.detection import coco_results
from keras_resnet.detection.evaluation import as_table, measure_detections
from keras_resnet.detection.inference import detections_in
from keras_resnet.devices import onednn
from keras_resnet.devices.find import warn_of_unused_card
from keras_resnet.devices.precision import computing_in
from keras_resnet.files import replace_file
from keras_resnet.runs import environment
from keras_resnet.runs.detector_data import examples_of
from keras_resnet.runs.examples import count_of_training
from keras_resnet.runs.folder import IMAGES
from keras_resnet.runs.measure import SINGLE
from keras_resnet.runs.predictions import DIGITS

if TYPE_CHECKING:
    from keras_resnet.runs.detector_testing import Tested

__all__ = ["as_table", "measure", "path_of", "protocol_of", "write_results"]
DEFAULT = "voc"


@computing_in("float32")
def measure(
    run: Any,
    *,
    data: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    split: str | None = None,
    protocol: str | Protocol = DEFAULT,
    batch_size: int | None = None,
    seen: Callable[[int], Any] | None = None,
    tested: Tested | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measures a detector's run as `runs.evaluate.evaluate` does.

    Args:
        run: Of a detector, as `load` gives it.
        data: As of `detector_data.examples_of`.
        data_dir: As of `detector_data.examples_of`.
        split: As of `detector_data.examples_of`.
        protocol: ``"voc"``, ``"voc07"`` or ``"coco"``; classifiers' ``"single_crop"``
            stands for ``"voc"``.
        batch_size: Images at a time, as many as in training by default; fewer where the
            memory holds fewer.
        seen: Called after each batch with the number of images in it.
        tested: The detector as it is tested, if not as it was trained.

    Returns:
        The result: ``data``, ``sha256``, ``split``, ``protocol`` and ``trained_on`` as of
        `runs.evaluate.evaluate`; ``tested_by``, if it isn't as it was trained; what
        `measure_detections` gives; ``shorter_side`` and ``longer_side``, to which images
        were resized; ``versions``. And the detections, as of `coco_results`.

    Raises:
        ImportError: If COCO's rule is asked for and no library has it.
        ValueError: As of `detector_data.examples_of`; or if there is no such protocol.
    """
    onednn.warn_if_late()
    warn_of_unused_card()
    name = protocol_of(protocol)
    splits, split, examples = examples_of(run, data, data_dir, split)
    listed = (run.folder / IMAGES).is_file()
    trained_on = count_of_training(run, splits, examples) if listed else None
    model, settings, how = tested or (run.model, run.batches, "")
    found = detections_in(model, examples, settings, batch_size=batch_size, seen=seen)
    result = {
        "data": splits.name,
        "sha256": splits.sha256,
        "split": split,
        "trained_on": trained_on,
        **({"tested_by": how} if how else {}),
        **measure_detections(examples.objects, found, run.classes, name),
        "shorter_side": settings.shorter_sides[-1],
        "longer_side": settings.longer_side,
        "versions": environment.versions(),
    }
    numbers = dict(zip(splits.class_names, splits.category_ids, strict=False))
    unused = iter(range(1 + max(numbers.values(), default=0), 10**9))
    ids = [numbers[name] if name in numbers else next(unused) for name in run.classes]
    return result, coco_results(found, examples.ids, ids)


def protocol_of(protocol: str | Protocol) -> str:
    """The name of a protocol of detection.

    Raises:
        ValueError: If it is one of classifiers, or there is none of this name.
    """
    name = name_of(protocol) if isinstance(protocol, Protocol) else protocol
    if name == SINGLE:
        return DEFAULT
    if isinstance(protocol, Protocol):
        raise ValueError(
            "A detector is measured by one of "
            f"{', '.join(BOX_PROTOCOLS)}: leave out crops, scales and averages. Received: "
            f"{name}."
        )
    find(BOX_PROTOCOLS, name, kind="protocol of detection")
    return name


def path_of(folder: pathlib.Path, result: Mapping[str, Any]) -> pathlib.Path:
    """Where the detections lie that a result in ``evaluation.json`` was made of.

    They are the same by every protocol. The name has `DIGITS` of the data's fingerprint.
    """
    parts = [result["data"], result["sha256"][:DIGITS], result["split"]]
    parts += [result["tested_by"]] if "tested_by" in result else []
    name = "_".join(re.sub(r"[^\w.-]+", "_", part) for part in parts)
    return folder / "predictions" / f"{name}.json"


def write_results(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Writes detections in COCO's form of results; the file appears when complete."""
    replace_file(path, lambda new: new.write_text(json.dumps(rows), encoding="utf-8"))
