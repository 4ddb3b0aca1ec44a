"""Detectors against torchvision's, on photographs, with the same random weights.

Features, proposals, detections and the four losses are compared, the losses with the same
draws on both sides. There are fewer proposals than by default, which saves minutes.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from keras.ops import convert_to_numpy as as_array
from PIL import Image

from keras_resnet.config.detector import Anchors, BoxHead, Proposals
from keras_resnet.config.detectors import DETECTORS
from keras_resnet.detection import (
    FasterRCNN,
    anchors,
    batches,
    heads,
    matching,
    proposals,
)
from keras_resnet.detection.faster_rcnn import LOSSES
from keras_resnet.detection.weights import to_state_dict
from keras_resnet.models.layers import FrozenBatchNormalization

pytestmark = pytest.mark.parity

HEIGHT, WIDTH, NUM_CLASSES = 160, 192, 90
BEFORE, AFTER, SAMPLES = (600, 300), (300, 100), 64
THEIR_OPTIONS = {
    "num_classes": NUM_CLASSES + 1,
    "min_size": HEIGHT,
    "max_size": WIDTH,
    "rpn_pre_nms_top_n_train": BEFORE[0],
    "rpn_pre_nms_top_n_test": BEFORE[1],
    "rpn_post_nms_top_n_train": AFTER[0],
    "rpn_post_nms_top_n_test": AFTER[1],
    "box_batch_size_per_image": SAMPLES,
}
TRUTH = [
    {"boxes": [[20, 30, 100, 150], [70, 40, 180, 140]], "labels": [5, 60]},
    {"boxes": [[100, 10, 190, 90]], "labels": [17]},
]
# Parameters of torchvision's detectors; frozen batch norms have none. By
# `sum(p.numel() for p in model.parameters())`; those of 90 classes are also in the
# `num_params` of its weights.
PARAMETERS = [
    ("fasterrcnn_resnet50_fpn", 90, True, 41_755_286),
    ("fasterrcnn_resnet50_fpn", 90, False, 41_808_406),
    ("fasterrcnn_resnet50_fpn", 20, True, 41_396_536),
    ("fasterrcnn_resnet50_fpn_v2", 90, False, 43_712_278),
    # Of Detectron2's configurations, computed by hand, with batch norm's scales.
    ("fasterrcnn_resnet50_c4_detectron2", 80, False, 33_844_764),
    ("fasterrcnn_resnet101_c4_detectron2", 20, False, 52_222_192),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes", "frozen", "count"), PARAMETERS)
def test_parameters(name, classes, frozen, count):
    model = FasterRCNN(name, num_classes=classes, frozen=frozen)
    layers = heads.parts(model.features, model.box_head)
    found = sum(
        np.prod(variable.shape)
        for layer in layers
        if not isinstance(layer, FrozenBatchNormalization)
        for variable in layer.weights
        if "moving" not in variable.path
    )
    assert found == count


# --- torchvision's side -----------------------------------------------------------


def their_c4(models, torch):
    """torchvision's FasterRCNN on stages of a ResNet-50, the fourth as its box head."""
    detection = models.detection
    network = models.resnet50(weights=None)
    body = models._utils.IntermediateLayerGetter(network, {"layer3": "0"})

    class Backbone(torch.nn.Module):
        out_channels = 1024

        def __init__(self):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x)

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer4 = network.layer4

        def forward(self, x):
            return self.layer4(x).mean(dim=(2, 3))

    options = {key: v for key, v in THEIR_OPTIONS.items() if key != "num_classes"}
    return detection.FasterRCNN(
        Backbone(),
        rpn_anchor_generator=detection.anchor_utils.AnchorGenerator(
            ((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),)
        ),
        box_roi_pool=detection.faster_rcnn.MultiScaleRoIAlign(["0"], 14, 0),
        box_head=Head(),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(2048, NUM_CLASSES + 1),
        **options,
    )


def is_steady(model, images, torch):
    """Whether the same objects are found on images with 1e-6 of noise.

    Otherwise two boxes overlap by a threshold, or have one score, but for rounding: then
    any other implementation, and torchvision's own on another day, may find others.
    """
    draws = torch.Generator().manual_seed(0)
    expected = model(images)
    for _ in range(10):
        noisy = [x + 1e-6 * torch.randn(x.shape, generator=draws) for x in images]
        pairs = zip(expected, model(noisy), strict=True)
        if max(distance(*(as_arrays(one) for one in pair)) for pair in pairs) > 1e-2:
            return False
    return True


def as_arrays(found):
    return {name: value.numpy() for name, value in found.items()}


def distance(found, expected):
    """Of two sets of detections in any order, as some scores are nearly equal.

    The largest, over all detections, to the nearest of the other set: of coordinates as
    parts of the image's width, of scores, and 1 between classes.
    """
    if len(found["boxes"]) != len(expected["boxes"]):
        return np.inf
    between = np.max(
        [
            np.abs(found["boxes"][:, None] - expected["boxes"]).max(-1) / WIDTH,
            np.abs(found["scores"][:, None] - expected["scores"]),
            found["labels"][:, None] != expected["labels"],
        ],
        axis=0,
    )
    return max(between.min(axis=0).max(), between.min(axis=1).max())


def random_weights(model, images, targets, torch, seed):
    """Random scales and statistics, and scores that are far from each other."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for name, norm in model.named_modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                last = re.search(r"layer\d\.\d+\.bn3$", name)  # Of a block, as trained.
                norm.weight.uniform_(*(0.1, 0.5) if last else (0.5, 1.5))
                norm.bias.normal_(0, 0.2)
                norm.momentum = None  # The average over all batches seen: one.
        model.train()(images, targets)
        model.eval()
        for norm in norms:
            norm.momentum = 0.1
        said = {}
        rpn, head = model.rpn.head, model.roi_heads.box_predictor
        rpn.register_forward_hook(lambda m, x, y: said.update(rpn=y))
        head.register_forward_hook(lambda m, x, y: said.update(head=y))
        # Scores that are far from each other, and offsets of a good part of a box.
        for layer, name, index, deviation in (
            (rpn.cls_logits, "rpn", 0, 2),
            (rpn.bbox_pred, "rpn", 1, 0.2),
            (head.cls_score, "head", 0, 3),
            (head.bbox_pred, "head", 1, 1),
        ):
            model(images)
            outputs = said[name][index]
            outputs = outputs if torch.is_tensor(outputs) else outputs[0]
            layer.weight *= deviation / outputs.std()
    return model


class SameDraws:
    """torchvision's sampler, which draws the boxes that `SameDraws.ours` draws.

    Both draw the rightmost ones: what is drawn must not depend on the order of proposals,
    of which some have nearly equal scores.
    """

    def __init__(self, part, assign, torch):
        sampler = part.fg_bg_sampler
        self.samples, self.share = (
            sampler.batch_size_per_image,
            sampler.positive_fraction,
        )
        self.torch = torch
        part.fg_bg_sampler = self
        original = getattr(part, assign)

        def noted(boxes, *others):
            self.boxes = boxes
            return original(boxes, *others)

        setattr(part, assign, noted)

    def __call__(self, labels):
        masks = ([], [])
        for label, boxes in zip(labels, self.boxes, strict=True):
            rows = np.minimum(label.numpy(), 1).astype("int32")
            priority = rightmost(boxes.numpy())
            drawn = matching.sample(
                rows[None], priority[None], self.samples, self.share
            )
            index, is_drawn = (as_array(one)[0] for one in drawn)
            for kind, mask in zip((1, 0), masks, strict=True):
                picked = np.zeros(len(rows), "uint8")
                picked[index[is_drawn & (rows[index] == kind)]] = 1
                mask.append(self.torch.from_numpy(picked))
        return masks

    @staticmethod
    def ours(monkeypatch):
        """Has our detectors draw so."""
        original, noted = matching.match, {}

        def match(boxes, *others, **options):
            noted["boxes"] = as_array(boxes)
            return original(boxes, *others, **options)

        def draw(label, samples, share, seed):
            priority = np.broadcast_to(rightmost(noted["boxes"]), tuple(label.shape))
            return matching.sample(label, priority.copy(), samples, share)

        monkeypatch.setattr(matching, "match", match)
        monkeypatch.setattr(matching, "draw", draw)


def rightmost(boxes):
    """A number between 0 and 1 for each box, larger the farther right and down it is."""
    place = boxes @ np.array([1.0, 0.13, 0.57, 0.31], "float32")
    return (1 / (1 + np.exp(-place / 500))).astype("float32")


# --- Both -------------------------------------------------------------------------


def our_row(name):
    """Our row, with as many proposals as torchvision's model here."""
    if name == "c4":
        row = replace(
            DETECTORS["fasterrcnn_resnet50_fpn"],
            neck="c4",
            anchors=Anchors(
                sizes=((32, 64, 128, 256, 512),),
                outermost="ratio",
                rounded=True,
                measured_strides=True,
            ),
            box_head=BoxHead(
                layers="stage",
                pooled=14,
                aligned=False,
                background_class="first",
                smallest=1e-2,
                beta=1 / 9,
            ),
        )
    else:
        row = DETECTORS[name]
    few = {"before_suppression": BEFORE, "after_suppression": AFTER}
    assert isinstance(row.proposals, Proposals)
    return replace(
        row,
        proposals=replace(row.proposals, **few),
        box_head=replace(row.box_head, samples=SAMPLES),
    )


def exhaustive(name):
    marks = [pytest.mark.exhaustive, pytest.mark.xdist_group(f"parity_{name}")]
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="module")
def photographs(shared_data):
    files = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[:2]
    images = [Image.open(file).convert("RGB").resize((WIDTH, HEIGHT)) for file in files]
    return np.stack([np.asarray(image) for image in images])


@pytest.fixture(
    scope="module",
    params=[
        "fasterrcnn_resnet50_fpn",
        exhaustive("fasterrcnn_resnet50_fpn_v2"),
        exhaustive("c4"),
    ],
)
def pair(request, photographs, torch, torchvision_operators):
    """torchvision's detector and ours with its weights, and the images for it."""
    models = torchvision_operators.models
    # With few boxes torchvision shifts those of other classes apart, which rounds them.
    functions = torchvision_operators.ops.boxes
    functions._batched_nms_coordinate_trick = functions._batched_nms_vanilla
    if request.param == "c4":
        theirs = their_c4(models, torch)
    else:
        theirs = getattr(models.detection, request.param)(
            weights=None, weights_backbone=None, **THEIR_OPTIONS
        )
    tensors = torch.from_numpy(photographs.transpose(0, 3, 1, 2).copy()) / 255
    targets = [{key: torch.tensor(v) for key, v in one.items()} for one in TRUTH]
    for one in targets:
        one["boxes"] = one["boxes"].float()
    for seed in range(20):
        theirs = random_weights(theirs, list(tensors), targets, torch, seed)
        with torch.no_grad():
            if is_steady(theirs, list(tensors), torch):
                break
    else:
        pytest.fail("With no seed torchvision finds the same objects twice.")
    row = our_row(request.param)
    ours = FasterRCNN(row, weights=theirs.state_dict(), frozen=False)
    return theirs, ours, list(tensors), targets


def test_features_and_proposals(pair, photographs, torch):
    theirs, ours, tensors, _ = pair
    found = {}
    theirs.backbone.register_forward_hook(lambda m, x, y: found.update(maps=y))
    theirs.rpn.register_forward_hook(lambda m, x, y: found.update(proposals=y[0]))
    with torch.no_grad():
        theirs(tensors)
    images, shapes = batches.normalized({"images": photographs}, ours.spec)
    outputs = ours.features(images)
    for mine, other in zip(outputs["maps"], found["maps"].values(), strict=True):
        mine, other = as_array(mine), other.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4 * np.abs(other).max())
    grid = anchors.of_maps(
        ours.spec.anchors, images, outputs["maps"], heads.strides(ours.spec)
    )
    parts = (grid, outputs["objectness"], outputs["offsets"])
    boxes, valid = map(
        as_array,
        proposals.propose(ours.spec.proposals, *parts, shapes),
    )
    for mine, used, other in zip(boxes, valid, found["proposals"], strict=True):
        mine, other = mine[used], other.numpy()
        assert len(mine) == len(other) > 10
        # As sets: near-equal scores put some in another place.
        distance = np.abs(mine[:, None] - other[None]).max(-1)
        assert distance.min(axis=0).max() < 1e-2
        assert distance.min(axis=1).max() < 1e-2


def test_detections(pair, photographs, torch):
    theirs, ours, tensors, _ = pair
    with torch.no_grad():
        expected = theirs(tensors)
    found = ours.predict(photographs, verbose=0)
    for image, other in enumerate(expected):
        valid = found["valid"][image]
        mine = {name: found[name][image][valid] for name in ("boxes", "scores")}
        mine["labels"] = found["classes"][image][valid] + 1
        assert valid.sum() > 10
        assert distance(mine, as_arrays(other)) < 1e-3


def test_losses(pair, photographs, torch, monkeypatch):
    theirs, ours, tensors, targets = pair
    state = {key: value.clone() for key, value in theirs.state_dict().items()}
    if not isinstance(theirs.rpn.fg_bg_sampler, SameDraws):
        SameDraws(theirs.rpn, "assign_targets_to_anchors", torch)
        SameDraws(theirs.roi_heads, "assign_targets_to_proposals", torch)
    with torch.no_grad():
        expected = theirs.train()(tensors, targets)
    theirs.eval().load_state_dict(state)  # Batch norm's statistics have moved.
    SameDraws.ours(monkeypatch)
    boxes, classes = np.full((2, 3, 4), -1.0, "float32"), np.full((2, 3), -1.0)
    for image, one in enumerate(TRUTH):
        boxes[image, : len(one["boxes"])] = one["boxes"]
        classes[image, : len(one["labels"])] = np.array(one["labels"]) - 1
    truth = {"boxes": boxes, "classes": classes}
    batch = {"images": photographs, "bounding_boxes": truth}
    before = ours.get_weights()
    found = ours(batch, training=True)
    ours.set_weights(before)
    names = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg")
    for mine, name in zip(LOSSES, names, strict=True):
        np.testing.assert_allclose(
            as_array(found[mine]), expected[name].item(), rtol=1e-4, err_msg=name
        )


def test_the_state_dict_is_torchvisions(pair, torch):
    theirs, ours, _, _ = pair
    state = {key: torch.from_numpy(v) for key, v in to_state_dict(ours).items()}
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    for key, value in theirs.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, before[key], rtol=0, atol=0)
