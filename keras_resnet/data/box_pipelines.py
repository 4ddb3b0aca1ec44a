"""From images with boxes to batches of one size, with ground truth of one length.

A batch is the dictionary that keras-cv's layers take, too:

- ``images``: float32 ``(batch, height, width, 3)``, RGB, from 0 to 255, resized, and padded
  with 0 at the bottom and at the right;
- ``bounding_boxes``: ``boxes``, float32 ``(batch, n, 4)``, ``x1, y1, x2, y2`` in pixels of
  the padded image, and ``classes``, float32 ``(batch, n)``, from 0; both -1 where an image
  has fewer than ``n`` objects;
- ``image_shapes``: int32 ``(batch, 2)``, heights and widths without the padding.

The batches to train on are a function of the seed and the step alone, as of `pipelines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnet.config.box_batches import BoxBatches
from keras_resnet.config.words import counted
from keras_resnet.data import canvases, order, threads
from keras_resnet.data.box_transforms import augmented, one_image, to_train_on
from keras_resnet.data.boxes import BoxedExamples
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.pipelines import WHOLE, finished
from keras_resnet.devices.host import Dataset, tensorflow


def training_batches(
    examples: BoxedExamples,
    settings: BoxBatches,
    *,
    steps: int,
    seed: int,
    start_step: int = 0,
    augment: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    share: tuple[int, int] = WHOLE,
) -> Dataset:
    """Makes batches to train on, one for each step.

    Images that are wider than high and others are never in one batch. The steps are divided
    among the two kinds in proportion to their numbers, evenly, and each kind is seen in
    permutations of its own.

    Args:
        examples: A split's.
        settings: How images are resized, padded and flipped, and which objects count.
        steps: The last step, and how many there are in all.
        seed: Determines order, sizes and flips, together with the step.
        start_step: Step of the first batch, where a run goes on.
        augment: Function of a batch of ``images`` and ``bounding_boxes``, such as a layer
            of keras-cv. It may change the images' size and the number of boxes, which is
            then that of the settings' ``max_boxes`` if they have one. What it draws at
            random isn't a function of our seed: a resumed run then sees other images.
        share: A worker's number and how many there are, as of `pipelines`.

    Returns:
        `tf.data.Dataset` of ``steps - start_step`` dictionaries (see the module). Boxes of
        crowds are left out, and so are difficult objects if the settings say so.

    Raises:
        ValueError: If there is no step ``start_step``, or no image to train on.
    """
    tf = tensorflow()
    if not 0 <= start_step <= steps:
        raise ValueError(
            "`start_step` must be between 0 and `steps`. Received: "
            f"start_step={start_step}, steps={steps}."
        )
    objects = to_train_on(examples, settings)
    wanted = np.full(examples.size, True)
    if not settings.without_objects:
        wanted = objects.counts > 0
    groups = canvases.by_orientation(examples.sizes, wanted)
    if not groups:
        raise ValueError(
            "There must be an image with an object to train on. Received: "
            f"{counted(examples.size, 'image')} without any."
        )
    batch_size = settings.batch_size
    records = _in_turn(examples, groups, batch_size, seed, start_step, steps)
    first, end = start_step * batch_size, steps * batch_size
    numbered = tf.data.Dataset.zip(tf.data.Dataset.range(first, end), records)
    load = one_image(examples, objects, groups, settings, seed)
    batches = _batched(numbered, load, batch_size, share, drop_remainder=True)
    if augment is not None:
        sizes = {canvases.canvas(examples.sizes[group], settings) for group in groups}
        change = augmented(augment, settings.max_boxes, sorted(sizes))
        batches = batches.map(change, num_parallel_calls=threads.batches_at_a_time())
    batches = batches.map(lambda batch, about: batch)
    return finished(batches, steps - start_step)


def evaluation_batches(
    examples: BoxedExamples,
    settings: BoxBatches,
    *,
    share: tuple[int, int] = WHOLE,
) -> Dataset:
    """Makes batches of all images, each once: the wider ones first, then the others.

    Args:
        examples: A split's.
        settings: How images are resized and padded; the last of its ``shorter_sides``
            counts. The last batch of each kind holds what is left.
        share: A worker's number and how many there are; each batch must divide among them.

    Returns:
        `tf.data.Dataset` of pairs: a dictionary (see the module), and another one that
        tells where its images are from: ``indices``, int32 ``(batch,)``, their positions in
        ``examples``, and ``original_shapes``, int32 ``(batch, 2)``, their heights and
        widths as they were, for `canvases.to_original`. Ground truth for evaluation is
        that of ``examples``, which has difficult objects and crowds as well.
    """
    objects = to_train_on(examples, settings)
    groups = canvases.by_orientation(examples.sizes, np.full(examples.size, True))
    load = one_image(examples, objects, groups, settings)
    batches, count = None, 0
    for group in groups:
        records = _records(examples, group).enumerate()
        ones = _batched(records, load, settings.batch_size, share)
        batches = ones if batches is None else batches.concatenate(ones)
        count += -(-len(group) // settings.batch_size)
    return finished(batches, count)


def _in_turn(examples, groups, batch_size, seed, start, steps):
    """Records of the steps from ``start`` on, each step's of one group.

    Before step k, ``(k * others + all // 2) // all`` batches are of the second group, so
    that each step adds one batch to one of the two streams, whatever came before.
    """
    tf = tensorflow()
    total = sum(map(len, groups))
    others = len(groups[1]) if len(groups) > 1 else 0

    def of_second(step):
        return (step * others + total // 2) // total

    def before(step):
        return [step - of_second(step), of_second(step)]

    streams = []
    bounds = zip(before(start), before(steps), strict=True)
    for group, (first, end) in zip(groups, bounds, strict=False):
        first, end = first * batch_size, end * batch_size
        part = _part(examples, group)
        stream = order.shuffled_records(part, seed, first, end).take(end - first)
        streams.append(stream)
    if len(streams) == 1:
        return streams[0]

    def times(step):
        which = of_second(step + 1) - of_second(step)
        return tf.data.Dataset.from_tensors(which).repeat(batch_size)

    choices = tf.data.Dataset.range(start, steps).flat_map(times)
    return tf.data.Dataset.choose_from_datasets(
        streams, choices, stop_on_empty_dataset=False
    )


def _part(examples, group):
    """Those of a group, which keep their positions among all as labels."""
    whole = examples.examples
    if not isinstance(whole, StreamedExamples):
        return Examples(whole.images[group], whole.labels[group])
    tf = tensorflow()
    is_in = np.isin(np.arange(examples.size), group)

    def read():
        records = whole.read().filter(lambda image, place: tf.gather(is_in, place))
        return threads.without_autotuning(records)

    return StreamedExamples(read, len(group), whole.shuffle_buffer)


def _records(examples, group):
    """Records of a group in order: an encoded image or path, and its position."""
    tf = tensorflow()
    part = _part(examples, group)
    if isinstance(part, StreamedExamples):
        return part.read()
    return order.look_up(part, tf.data.Dataset.range(part.size))


def _batched(numbered, load, batch_size, share, *, drop_remainder=False):
    images = order.own(numbered, batch_size, share).map(
        load, num_parallel_calls=threads.images_at_a_time()
    )
    return images.batch(batch_size // share[1], drop_remainder=drop_remainder)
