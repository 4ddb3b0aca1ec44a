"""Objects and detections written by hand, drawn at random, or as Keras finds them."""

import io

import numpy as np

from keras_resnet.data.box_pipelines import evaluation_batches
from keras_resnet.data.boxes import boxed, of_images
from keras_resnet.data.canvases import per_image, to_original


def objects(*images):
    """`Objects` of rows ``(x1, y1, x2, y2, label)``, a sixth value is ``difficult``."""
    return of_images(
        [
            {
                "boxes": np.array([row[:4] for row in rows], float).reshape(-1, 4),
                "labels": np.array([row[4] for row in rows], int),
                "difficult": np.array([bool(row[5:] and row[5]) for row in rows]),
            }
            for rows in images
        ]
    )


def found(*images):
    """Detections of rows ``(x1, y1, x2, y2, class, score)``, for each image."""
    return [
        {
            "boxes": np.array([row[:4] for row in rows], float).reshape(-1, 4),
            "classes": np.array([row[4] for row in rows], int),
            "scores": np.array([row[5] for row in rows], float),
        }
        for rows in images
    ]


def drawn(seed, images=12, classes=3):
    """Rows of objects and detections in whole pixels, some right, some near, some not.

    Returns:
        Two lists of rows for each image, as `objects` and `found` take them.
    """
    draw = np.random.default_rng(seed)
    scores = iter(draw.permutation(10_000) / 10_000)
    there, seen = [], []
    for _ in range(images):
        corners = draw.integers(0, 60, (draw.integers(0, 7), 2))
        sides = draw.integers(2, 30, corners.shape)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        labels = draw.integers(0, classes, len(boxes))
        difficult = draw.random(len(boxes)) < 0.2
        there.append(
            [(*b, n, d) for b, n, d in zip(boxes, labels, difficult, strict=True)]
        )
        rows = []
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(draw.integers(0, 4)):
                moved = box + draw.integers(-4, 5, 4)
                if (moved[2:] > moved[:2]).all():
                    other = draw.random() < 0.15
                    rows.append(
                        (*moved, (label + other) % classes, float(next(scores)))
                    )
        seen.append(rows)
    return there, seen


def by_predict(model, file, settings):
    """What a detector finds on an image file, by the batches that evaluation takes.

    Returns:
        ``boxes`` in pixels of the upright image, ``scores`` and ``classes``.
    """
    from PIL import Image, ImageOps

    width, height = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).size
    nothing = of_images([{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}])
    examples = boxed([file], [(height, width)], nothing, [0])
    [(batch, about)] = evaluation_batches(examples, settings)
    shown = {name: np.asarray(batch[name]) for name in ("images", "image_shapes")}
    found = model.predict_on_batch(shown)
    found = {name: np.asarray(values) for name, values in found.items()}
    found["boxes"] = to_original(
        found["boxes"], shown["image_shapes"], about["original_shapes"]
    )
    return per_image(found, found.pop("valid"))[0]
