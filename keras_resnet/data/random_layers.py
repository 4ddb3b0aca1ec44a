"""Random augmentation as Keras layers, each image with draws of its own.

They work like Keras's own: in a model, in `tf.data.Dataset.map` on every backend, on one
image ``(height, width, channels)`` or a batch. Images are of any dtype; results have the
layer's. At inference (``training=False``) nothing is random. Draws follow from ``seed``,
but in `tf.data` only with ``num_parallel_calls=1``: several threads draw in any order.
"""

from typing import TYPE_CHECKING, Any, Literal

import keras

if TYPE_CHECKING:
    _PreprocessingLayer = keras.layers.Layer
else:
    # What makes Keras's layers compute with TensorFlow within `tf.data` on any backend
    # is their base class, which has no public name.
    _PreprocessingLayer = keras.layers.RandomCrop.__base__


class RandomImages(_PreprocessingLayer):
    """What these layers have in common: float32 images, channels last, and drawing."""

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed: int | None = seed
        self.generator: keras.random.SeedGenerator = keras.random.SeedGenerator(seed)

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """What is random of ``count`` images of this size, drawn by ``uniform(shape)``."""
        raise NotImplementedError

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The images, changed as `draw` says."""
        raise NotImplementedError

    def at_inference(self, images: Any) -> Any:
        """The images as inference sees them."""
        return images

    def get_random_transformation(
        self, data: Any, training: bool = True, seed: Any = None
    ) -> dict[str, Any] | None:
        """Draws for each image; called by Keras."""
        if not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        shape = self.backend.shape(images)
        count = shape[0] if len(shape) == 4 else 1
        first = -2 if self.data_format == "channels_first" else -3
        seed = seed or self._get_seed_generator(self.backend.name)

        def uniform(shape: tuple[Any, ...]) -> Any:
            return self.backend.random.uniform(shape, dtype="float32", seed=seed)

        return self.draw(uniform, count, shape[first], shape[first + 1])

    def transform_images(
        self, images: Any, transformation: dict[str, Any] | None, training: bool = True
    ) -> Any:
        """Applies what `get_random_transformation` drew; called by Keras."""
        images = self.backend.cast(images, "float32")
        turned = self.data_format == "channels_first"
        if turned:
            images = self.backend.numpy.transpose(images, (0, 2, 3, 1))
        images = (
            self.change(images, transformation)
            if training
            else self.at_inference(images)
        )
        if turned:
            images = self.backend.numpy.transpose(images, (0, 3, 1, 2))
        return self.backend.cast(images, self.compute_dtype)

    def transform_labels(
        self, labels: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The labels as they are; called by Keras."""
        return labels

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Raises `NotImplementedError`: boxes would have to move with the images."""
        raise NotImplementedError(
            f"{type(self).__name__} takes images and labels, not bounding boxes."
        )

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Raises `NotImplementedError`: masks would have to move with the images."""
        raise NotImplementedError(
            f"{type(self).__name__} takes images and labels, not segmentation masks."
        )

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of the result for images of a shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"seed": self.seed}

    def integers(self, shares: Any, ends: Any) -> Any:
        """Integers from 0 to below ``ends``, all as float32, from shares in [0, 1)."""
        # A float32 just below 1, times the end, can round up to it.
        ops = self.backend.numpy
        return ops.minimum(ops.floor(shares * ends), ends - 1)

    def _check_rgb(self, images: Any) -> None:
        if images.shape[-1] != 3:
            raise ValueError(
                f"{type(self).__name__} takes RGB images. Received: images with "
                f"{images.shape[-1]} channels."
            )


@keras.saving.register_keras_serializable(package="keras_resnet")
class RandomPadCropFlip(RandomImages):
    """Pads, crops to the original size at random, and mirrors half of the images.

    He et al. 2016a, sec. 4.2. At inference it returns the images as they are.

    Args:
        padding: Pixels that are added on each side.
        mode: ``"zero"``, which expects normalized images, or ``"reflect"`` for the image,
            reflected at its outermost pixels (Zagoruyko & Komodakis 2016).
        flip: Whether half of the images are mirrored left to right.
        seed: Integer, or `None` for another one each time.
        **kwargs: Of `keras.layers.Layer`, and ``data_format``.

    Raises:
        ValueError: If ``padding`` is negative or ``mode`` is another.
    """

    def __init__(
        self,
        padding: int,
        mode: Literal["zero", "reflect"] = "zero",
        flip: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        if padding < 0 or mode not in ("zero", "reflect"):
            raise ValueError(
                "`padding` must be at least 0 and `mode` 'zero' or 'reflect'. "
                f"Received: padding={padding}, mode={mode!r}."
            )
        self.padding: int = padding
        self.mode: Literal["zero", "reflect"] = mode
        self.flip: bool = flip

    def draw(self, uniform: Any, count: Any, height: Any, width: Any) -> dict[str, Any]:
        """Where each image is cut out, and whether it is mirrored."""
        places = 2.0 * self.padding + 1
        return {
            "top": self.integers(uniform((count, 1)), places),
            "left": self.integers(uniform((count, 1)), places),
            "mirrored": uniform((count, 1)) < (0.5 if self.flip else 0.0),
        }

    def change(self, images: Any, drawn: dict[str, Any]) -> Any:
        """The images, cut out of the padded ones."""
        ops, pad = self.backend.numpy, self.padding
        count, height, width, channels = self.backend.shape(images)
        across = ops.arange(width, dtype="int32")[None]
        columns = ops.where(drawn["mirrored"], width - 1 - across, across)
        columns = columns + self.backend.cast(drawn["left"], "int32")
        rows = ops.arange(height, dtype="int32")[None]
        rows = rows + self.backend.cast(drawn["top"], "int32")
        padded = ops.pad(
            images,
            [[0, 0], [pad, pad], [pad, pad], [0, 0]],
            mode={"zero": "constant", "reflect": "reflect"}[self.mode],
        )
        # One gather over the pixels of the batch, laid end to end.
        rows = rows + ops.arange(count, dtype="int32")[:, None] * (height + 2 * pad)
        pixels = rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]
        return ops.take(ops.reshape(padded, (-1, channels)), pixels, axis=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {
            "padding": self.padding,
            "mode": self.mode,
            "flip": self.flip,
        }
