"""Faster R-CNN as a Keras model that compiles, fits, predicts, saves and loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from keras_resnet.applications import Weights
from keras_resnet.config.checks import check_positive, plain_number
from keras_resnet.config.detector import DetectorSpec
from keras_resnet.config.detectors import DETECTORS, NECKS
from keras_resnet.config.lookup import find
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.config.values import from_values, to_values
from keras_resnet.detection import anchors, batches, detections, heads, proposals
from keras_resnet.detection.boxes import Tensor
from keras_resnet.detection.checks import CheckedModel
from keras_resnet.detection.regions import RegionNetwork
from keras_resnet.detection.weights import load_weights

MEASURING = 0  # Seed of the draws outside of training.
LOSSES = ("rpn_classes", "rpn_boxes", "classes", "boxes")


@keras.saving.register_keras_serializable(package="keras_resnet")
class FasterRCNN(CheckedModel):
    """A detector: proposes regions, then classifies each and moves its box.

    Ren et al. 2015, with residual networks as in He et al. 2016a, appendix A. A batch
    to train or evaluate on is a dict of

    - ``"images"``: RGB, any dtype, values from 0 to 255, ``(batch, height, width, 3)``,
      or grey, ``(batch, height, width, 1)``. Smaller images are filled up at the bottom
      and on the right;
    - ``"bounding_boxes"``: a dict of ``"boxes"``, ``x1, y1, x2, y2`` in pixels,
      ``(batch, n, 4)``, and ``"classes"``, from 0, ``(batch, n)``. Images with fewer boxes
      are filled up with -1 in both. Boxes are cut off at the edges of their images; one
      without a width or a height there is left out;
    - ``"image_shapes"``: heights and widths of the images in the batch before they were
      filled up, ``(batch, 2)``. It may be left out if none was.

    With bounding boxes the model returns its four losses, by name, and adds them to
    Keras's, so that ``compile`` needs an optimizer alone; without, and in ``predict``, it
    returns detections: a dict of ``"boxes"`` ``(batch, detections, 4)`` in pixels,
    ``"scores"``, ``"classes"`` and ``"valid"`` ``(batch, detections)``, the best one
    first. Rows that aren't valid only fill up, with -1.

    Proposals and detector are trained together, with the proposals taken as constants
    ("approximate joint training", Girshick's py-faster-rcnn). Boxes, logits, offsets and
    ROIAlign are computed in float32 whatever Keras's dtype policy is.

    `fit` and `evaluate` check the values of arrays and of a `tf.data.Dataset`, whose boxes
    may be ragged (`detection.checks`). On several of TensorFlow's devices, in the scope of
    a `tf.distribute.MirroredStrategy`, losses are means over the images of all of them;
    XLA and clipped gradients are refused there.

    Args:
        detector: Name of a row of `config.detectors.DETECTORS`, such as
            ``"fasterrcnn_resnet50_fpn"``, or a `DetectorSpec`. May be left out if
            ``neck`` is given.
        backbone: Name of another network, or its `ResNetSpec`.
        neck: ``"fpn"``, ``"c4"`` or ``"dc5"``, as of `DetectorSpec`: with the row of
            `config.detectors.NECKS`.
        num_classes: Number of classes, without the background. By default those of the
            published detector.
        weights: `None`, ``"torchvision:COCO_V1"``, a file, the folder of a run, or a state
            dict of torchvision's detector; see `detection.weights.load_weights`. With
            another ``num_classes``, or for a row with context, the last two layers stay
            new.
        backbone_weights: Of the backbone alone, as of `keras_resnet.backbone`.
        frozen: Whether the row's ``frozen_stages`` and ``frozen_batch_norm`` are kept in
            training; by default if there are weights.
        seed: Of the draws of anchors and proposals in training; when losses are only
            measured, they are always the same.
        name: Of the model.

    Attributes:
        spec: Its `DetectorSpec`.
        num_classes: Number of classes.
        class_names: Their names (tuple of str), or `None`. It is saved with the model.
        features: `keras.Model` of the backbone, the pyramid and the proposals' head.
        box_head: `keras.Model` of what follows ROIAlign.
        regions: `RegionNetwork`: ROIAlign and the box head, step by step.

    Raises:
        ValueError: If there is no such row or network, or they don't fit each other.

    Example:

    ```python
    detector = FasterRCNN("fasterrcnn_resnet18_fpn", num_classes=3)
    detector.compile(keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=10.0))
    detector.fit(dataset, epochs=10)
    found = detector.predict(images)
    ```
    """

    def __init__(
        self,
        detector: str | DetectorSpec | None = None,
        *,
        backbone: str | ResNetSpec | None = None,
        neck: str | None = None,
        num_classes: int | None = None,
        weights: Weights = None,
        backbone_weights: Weights = None,
        frozen: bool | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        spec = _row(detector, backbone, neck)
        # Boxes must not be rounded to the half precision that layers compute in.
        super().__init__(name=name or spec.name, autocast=False)
        _check_data_format()
        self.num_classes: int = plain_number(
            spec.classes if num_classes is None else num_classes
        )
        check_positive("num_classes", self.num_classes)
        pretrained = weights is not None or backbone_weights is not None
        self.frozen: bool = pretrained if frozen is None else frozen
        self.features: keras.Model
        self.box_head: keras.Model
        self.features, self.box_head, preprocessing = heads.networks(
            spec, self.num_classes, frozen=self.frozen, weights=backbone_weights
        )
        if backbone_weights is not None:  # They say what they want to see.
            spec = replace(
                spec,
                mean=batches.per_channel(preprocessing.mean),
                std=tuple(preprocessing.std),
                channel_order=preprocessing.channel_order,
            )
        self.spec: DetectorSpec = spec
        self.regions: RegionNetwork = RegionNetwork(spec, self.box_head)
        self.class_names: tuple[str, ...] | None = None
        self.seed: int | None = seed
        self.draws: keras.random.SeedGenerator = keras.random.SeedGenerator(seed)
        self.means: list[keras.metrics.Mean] = [
            keras.metrics.Mean(name=f"{loss}_loss") for loss in LOSSES
        ]
        self.built = True
        if weights is not None:
            new = num_classes is not None or spec.box_head.context
            load_weights(self, weights, classes_may_differ=new)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """The losses of a batch with bounding boxes, or detections.

        Args:
            inputs: A batch as above, or images alone.
            training: Whether batch norm is in training mode.
        """
        batch = inputs if isinstance(inputs, Mapping) else {"images": inputs}
        if training and "bounding_boxes" not in batch:
            raise ValueError(
                "To train, the data must be dicts with 'images' and 'bounding_boxes', "
                "not tuples. Received: "
                + (f"keys {sorted(batch)}." if batch is inputs else f"{type(inputs)}.")
            )
        if "bounding_boxes" not in batch:
            return self.detect(batch, training)
        seen = self.look(batch, training)
        shapes = seen["shapes"]
        found, valid = self.propose(seen, training=True, xla=self._xla)
        truth = batches.truth_of(batch, shapes, self.num_classes)
        # Losses that are only measured leave the draws of training as they would be.
        draws = self.draws if training else MEASURING
        grid = ops.concatenate(seen["grid"])
        first = proposals.proposal_losses(
            self.spec.proposals,
            grid,
            ops.concatenate(seen["objectness"], 1),
            ops.concatenate(seen["offsets"], 1),
            truth,
            usable=proposals.inside(self.spec.anchors, grid, shapes, batch["images"]),
            seed=draws,
        )
        drawn = detections.draw_proposals(
            self.spec.box_head, found, valid, truth, draws
        )
        logits, offsets = self.regions(
            seen["maps"],
            drawn["boxes"],
            shapes,
            training=training,
            xla=self._xla,
        )
        second = detections.detection_losses(self.spec.box_head, logits, offsets, drawn)
        losses = dict(zip(LOSSES, (*first, *second), strict=True))
        self.add_loss(list(losses.values()))
        return losses

    def look(
        self, batch: Mapping[str, Any], training: bool | None = None
    ) -> dict[str, Any]:
        """Feature maps, anchors, what is said of them, and the images' sizes.

        Args:
            batch: As of `Detector.look`.
            training: As of `Detector.look`.

        Returns:
            ``"maps"``, ``"objectness"`` and ``"offsets"`` as of `heads.feature_network`,
            ``"grid"`` as of `anchors.of_maps`, and ``"shapes"``, heights and widths,
            ``(batch, 2)``.
        """
        images, shapes = batches.normalized(batch, self.spec)
        outputs = self.features(images, training=training)
        strides = heads.strides(self.spec)
        grid = anchors.of_maps(self.spec.anchors, images, outputs["maps"], strides)
        return {**outputs, "grid": grid, "shapes": shapes}

    def propose(
        self, seen: dict[str, Any], *, training: bool = False, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of `Detector.propose`, by the region proposal network."""
        return proposals.propose(
            self.spec.proposals,
            seen["grid"],
            seen["objectness"],
            seen["offsets"],
            seen["shapes"],
            training=training,
            xla=xla,
        )

    def classify(
        self, seen: dict[str, Any], boxes: Tensor, *, xla: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As of `Detector.classify`, by the box head."""
        said = self.regions(seen["maps"], boxes, seen["shapes"], xla=xla)
        return detections.decoded(self.spec.box_head, boxes, *said, seen["shapes"])

    def compute_metrics(
        self, x: Any, y: Any, y_pred: dict[str, Tensor], sample_weight: Any = None
    ) -> dict[str, Any]:
        """The means of the losses since the epoch's beginning."""
        images = ops.shape(x["images"])[0]
        for mean, loss in zip(self.means, LOSSES, strict=True):
            mean.update_state(y_pred[loss], sample_weight=images)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {
            "detector": to_values(self.spec),
            "num_classes": self.num_classes,
            "frozen": self.frozen,
            "seed": self.seed,
            "name": self.name,
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The detector with new weights."""
        config = dict(config)
        names = config.pop("class_names")
        config["detector"] = from_values(DetectorSpec, config["detector"])
        model = cls(**config)
        model.class_names = names and tuple(names)
        return model


def _row(detector, backbone, neck):
    """The row that a user means, with the backbone of their choice."""
    if detector is None:
        if neck is None:
            raise ValueError(
                "Either a detector's name must be given, one of "
                f"{', '.join(DETECTORS)}, or `backbone` and `neck`. Received: neither."
            )
        detector = find(NECKS, neck, kind="neck")
    spec = detector
    if not isinstance(detector, DetectorSpec):
        spec = find(DETECTORS, detector, kind="detector")
    if neck not in (None, spec.neck):
        raise ValueError(
            f"`neck` must be {spec.neck!r}, that of the detector {spec.name!r}, or left "
            f"out. Received: neck={neck!r}."
        )
    return spec if backbone is None else replace(spec, backbone=backbone, name="custom")


def _check_data_format():
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "A detector needs Keras's data format 'channels_last'. Received: "
            f"{keras.config.image_data_format()!r}. Call "
            "`keras.config.set_image_data_format('channels_last')` before."
        )
