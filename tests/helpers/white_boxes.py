"""A detector that was never trained: it finds what is white on black images."""

import numpy as np

from keras_resnet.data.boxes import boxed, of_images
from tests.helpers.boxed_folders import photograph
from tests.helpers.photos import encoded


class WhiteBox:
    """Stands for a detector: one box around all white pixels, of class 1, and padding.

    Attributes:
        seen: The shapes of the batches that it was shown.
    """

    jit_compile = False
    num_classes = 3

    def __init__(self, score=0.75):
        self.score = score
        self.seen = []

    def predict_on_batch(self, batch):
        assert set(batch) == {"images", "image_shapes"}
        self.seen.append(batch["images"].shape)
        count = len(batch["images"])
        boxes = np.full((count, 3, 4), -1, "float32")
        scores = np.zeros((count, 3), "float32")
        for image, (height, width), row, score in zip(
            batch["images"], batch["image_shapes"], boxes, scores, strict=True
        ):
            assert (image[height:] == 0).all() and (image[:, width:] == 0).all()
            places = np.argwhere(image[..., 0] > 127)
            if len(places):
                (y1, x1), (y2, x2) = places.min(0), places.max(0) + 1
                row[0], score[0] = (x1, y1, x2, y2), self.score
        valid = scores > 0
        return {
            "boxes": boxes,
            "scores": scores,
            "classes": np.where(valid, 1, -1).astype("int32"),
            "valid": valid,
        }


def white_boxes(sizes, boxes, label=1):
    """Encoded images with one white box each, as `BoxedExamples`.

    Args:
        sizes: Heights and widths.
        boxes: Of each image, whole pixels.
        label: Of all objects.
    """
    images = [
        encoded(photograph(*size, [box]), "PNG")
        for size, box in zip(sizes, boxes, strict=True)
    ]
    objects = of_images(
        [{"boxes": np.array([box], float), "labels": [label]} for box in boxes]
    )
    return boxed(
        images, np.array(sizes), objects, [f"image {n}" for n in range(len(sizes))]
    )
