"""What the server's workers ask for answers: a classifier, or a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from keras_resnet.serving.rest import Refused, named, short


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

    def columns(self, prepared: Sequence[Any]) -> dict[str, list[Any]]:
        """The answers by name, each with a value of JSON for each image."""


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

    def columns(self, prepared: Sequence[np.ndarray]) -> dict[str, list[Any]]:
        """As of `AnyServable`: what `rest.named` gives."""
        scores = np.zeros((0, len(self.class_names)), np.float32)
        if len(prepared):
            scores = self.scores(np.stack(prepared))
        return named(scores, self.class_names)


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

    def columns(self, prepared: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
        """As of `AnyServable`: the outputs of the SavedModel."""
        names = ("boxes", "scores", "classes", "names", "count")
        return {name: [answer[name] for answer in prepared] for name in names}

    def _answer(self, image):
        found = self.detect(image)
        names = (*self.class_names, "")  # The last one, of number -1, is what fills up.
        return {
            "boxes": short(found["boxes"]),
            "scores": short(found["scores"]),
            "classes": found["classes"].tolist(),
            "names": [names[number] for number in found["classes"]],
            "count": int(found["count"]),
        }
