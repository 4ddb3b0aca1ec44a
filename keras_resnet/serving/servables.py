"""What the server's workers ask for answers: a classifier, or a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from keras_resnet.serving.queries import DATATYPES, Refused, Tensor, Tensors

TOP = 5  # Classes named in an answer, as in the SavedModel.


class AnyServable(Protocol):
    """What a worker needs of a network."""

    @property
    def in_batches(self) -> bool:
        """Whether images of several requests are computed together."""

    def warm_up(self, picture: bytes, batch: int) -> None:
        """Computes once what the first requests would wait for.

        Args:
            picture: A small image file.
            batch: The most images that are computed at once.
        """

    @property
    def prepare(self) -> Callable[[bytes], Any]:
        """From the bytes of an image file to what `columns` takes.

        It raises `ValueError` if they can't be decoded, and is called in several threads.
        """

    def prepare_pixels(self, images: np.ndarray) -> list[Any]:
        """The same of decoded images, uint8 ``(n, height, width, channels)``.

        Raises:
            Refused: If they are of another shape than it takes.
        """

    def columns(self, prepared: Sequence[Any]) -> dict[str, np.ndarray]:
        """The answers by name, each with a row for each image: as `tensors` says.

        Numbers are float32 or int32, text comes as objects.
        """

    @property
    def tensors(self) -> Tensors:
        """What it takes and gives."""


@dataclass(frozen=True)
class Servable:
    """A classifier, as it is served.

    Attributes:
        scores: Function from uint8 ``(n, *shape)`` to probabilities, float32
            ``(n, classes)``.
        prepare: As of `AnyServable`, to uint8 of ``shape``.
        class_names: In the order of the scores.
        shape: Height, width and channels of the images.
        in_batches: As of `AnyServable`.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    prepare: Callable[[bytes], np.ndarray]
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    in_batches: bool = True

    def warm_up(self, picture: bytes, batch: int) -> None:
        """As of `AnyServable`."""
        self.prepare(picture)
        # The first calls trace and compile; JAX does for each power of two.
        for power in range((batch - 1).bit_length() + 1):
            self.scores(np.zeros((min(2**power, batch), *self.shape), np.uint8))

    def prepare_pixels(self, images: np.ndarray) -> list[np.ndarray]:
        """As of `AnyServable`."""
        if images.shape[1:] != self.shape:
            raise Refused(
                400,
                f"'images' must be of shape {('n', *self.shape)}. Received: "
                f"{images.shape}.",
            )
        return list(images)

    def columns(self, prepared: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """As of `AnyServable`: what `named` gives."""
        scores = np.zeros((0, len(self.class_names)), np.float32)
        if len(prepared):
            scores = self.scores(np.stack(prepared))
        return named(scores, self.class_names)

    @property
    def tensors(self) -> Tensors:
        """As of `AnyServable`."""
        classes = len(self.class_names)
        top = min(TOP, classes)
        return Tensors(
            _inputs(*self.shape),
            (
                Tensor("classes", "BYTES", (-1, top)),
                Tensor("probabilities", "FP32", (-1, top)),
                Tensor("scores", "FP32", (-1, classes)),
            ),
        )


def _inputs(height, width, channels):
    return (
        Tensor("image_bytes", "BYTES", (-1,)),
        Tensor("images", "UINT8", (-1, height, width, channels)),
    )


def named(scores: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """What is answered of a classifier's scores.

    Args:
        scores: Probabilities, float32 ``(n, classes)``.
        class_names: Names in the order of the scores.

    Returns:
        ``classes``, ``probabilities`` and ``scores``, as of the SavedModel.
    """
    scores = np.asarray(scores, np.float32)
    # Equal ones in their order, as `tf.math.top_k` has them.
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    return {
        "classes": np.array(class_names, object)[best],
        "probabilities": np.take_along_axis(scores, best, 1),
        "scores": scores,
    }


@dataclass(frozen=True)
class DetectorServable:
    """A detector, as it is served.

    Each image is computed by itself as soon as it is decoded, in the threads that decode:
    images have many sizes, and canvases for all images of a request could take gigabytes.
    So no request has to wait for those that came with it.

    Attributes:
        detect: Function from uint8 ``(height, width, 3)`` of any size to ``boxes``,
            ``scores``, ``classes`` and ``count``, as of `export.detector`. Called in
            several threads.
        decode: Function from the bytes of an image file to that; raises `ValueError` if
            they can't be decoded. Called in several threads.
        class_names: In the order of the classes' numbers.
        in_batches: As of `AnyServable`.
    """

    detect: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    decode: Callable[[bytes], np.ndarray]
    class_names: tuple[str, ...]
    in_batches: bool = False

    def warm_up(self, picture: bytes, batch: int) -> None:
        """As of `AnyServable`."""
        self.prepare(picture)
        # After a square, a wide and a high one Keras has a graph for all sizes.
        for sides in ((8, 16), (16, 8)):
            self.detect(np.zeros((*sides, 3), np.uint8))

    def prepare(self, file: bytes) -> dict[str, Any]:
        """As of `AnyServable`: what is answered for an image file."""
        return self._answer(self.decode(file))

    def prepare_pixels(self, images: np.ndarray) -> list[dict[str, Any]]:
        """As of `AnyServable`, of images of any one size."""
        if images.shape[3] != 3 or 0 in images.shape[1:]:
            raise Refused(
                400,
                "'images' must be of shape ('n', 'height', 'width', 3), RGB. Received: "
                f"{images.shape}.",
            )
        return [self._answer(image) for image in images]

    def columns(self, prepared: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        """As of `AnyServable`: the outputs of the SavedModel."""
        if not prepared:
            return {
                one.name: np.empty(
                    [max(0, side) for side in one.shape], DATATYPES[one.datatype]
                )
                for one in self.tensors.outputs
            }
        return {
            one.name: np.stack([answer[one.name] for answer in prepared])
            for one in self.tensors.outputs
        }

    @property
    def tensors(self) -> Tensors:
        """As of `AnyServable`."""
        return Tensors(
            _inputs(-1, -1, 3),
            (
                Tensor("boxes", "FP32", (-1, -1, 4)),
                Tensor("scores", "FP32", (-1, -1)),
                Tensor("classes", "INT32", (-1, -1)),
                Tensor("names", "BYTES", (-1, -1)),
                Tensor("count", "INT32", (-1,)),
            ),
        )

    def _answer(self, image):
        found = self.detect(image)
        # The last one, of number -1, is what fills up.
        names = np.array((*self.class_names, ""), object)
        return {
            "boxes": np.asarray(found["boxes"], np.float32),
            "scores": np.asarray(found["scores"], np.float32),
            "classes": np.asarray(found["classes"], np.int32),
            "names": names[found["classes"]],
            "count": np.int32(found["count"]),
        }
