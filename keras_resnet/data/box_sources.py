"""Data sets of images with boxes by name, from TensorFlow Datasets."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_resnet.config.box_datasets import BOX_DATASETS
from keras_resnet.config.lookup import find
from keras_resnet.data import box_checks, image_sizes, threads
from keras_resnet.data.bad_examples import BAD_SHARE
from keras_resnet.data.box_checks import Annotation
from keras_resnet.data.boxes import BoxedExamples, BoxedSplits, with_fingerprint
from keras_resnet.data.download import prepared_builder
from keras_resnet.data.examples import Examples, StreamedExamples
from keras_resnet.data.voc import half_open
from keras_resnet.devices.host import Dataset, tensorflow


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    bad_share: float = BAD_SHARE,
) -> BoxedSplits:
    """Loads one of the data sets of `config.box_datasets`.

    Args:
        name: Key of `BOX_DATASETS`.
        data_dir: Folder of TensorFlow Datasets, as of `sources.load`.
        bad_share: Largest share of a split's images that may be left out.

    Returns:
        `BoxedSplits`. The validation set is drawn from the training set by a hash of the
        images' names. Objects of VOC's have its difficult flag, and of COCO's its crowds
        and areas.

    Raises:
        ValueError: If the name is unknown or too many images can't be used.
        FileNotFoundError: If the data set isn't there and can't be downloaded.
    """
    spec = find(BOX_DATASETS, name, kind="data set of detection")
    data_dir = None if data_dir is None else os.path.expanduser(data_dir)
    builders = {
        tfds_name: prepared_builder(tfds_name, data_dir)
        for tfds_name, _ in (*spec.train, *spec.test)
    }
    sets, skipped, problems, states = {}, (), [], []
    for split in ("train", "test") if spec.test else ("train",):
        parts = [(builders[one], part) for one, part in getattr(spec, split)]
        source = _Source(parts, f"the {split} images of {name}")
        states.append(source.state)
        sets[split], bad, new = _examples(source, spec, bad_share)
        skipped += bad
        problems += new
    sentences = box_checks.in_sentences(problems)
    box_checks.warn(name, sentences)
    train, validation = _split_off(sets["train"], spec.validation)
    splits = BoxedSplits(
        train=train,
        validation=validation,
        test=sets.get("test"),
        class_names=spec.class_names,
        category_ids=spec.category_ids,
        name=name,
        version=" ".join(sorted({str(one.version) for one in builders.values()})),
        skipped=skipped,
        problems=sentences,
    )
    return with_fingerprint(splits, lambda _: "\n".join(states))


@dataclass(frozen=True)
class _Source:
    """Splits of builders, one after the other.

    Attributes:
        parts: Pairs of a builder and the name of its split.
        what: Their name, for people.
    """

    parts: list[tuple[Any, str]]
    what: str

    def read(self) -> Dataset:
        """The records with encoded images, always in the same order."""
        import tensorflow_datasets as tfds

        joined = None
        for builder, split in self.parts:
            records = builder.as_dataset(
                split=split,
                shuffle_files=False,
                decoders={"image": tfds.decode.SkipDecoding()},
                read_config=tfds.ReadConfig(try_autocache=False),
            )
            joined = records if joined is None else joined.concatenate(records)
        return threads.without_autotuning(joined)

    @property
    def state(self) -> str:
        """The names and sizes of the files: a key to what they hold."""
        tf = tensorflow()
        lines = []
        for builder, split in self.parts:
            lines.append(f"{builder.info.full_name} {split}")
            for file in builder.info.splits[split].filepaths:
                size = tf.io.gfile.stat(os.fspath(file)).length
                lines.append(f"{os.path.basename(file)} {size}")
        return "\n".join(lines)


def _examples(source, spec, bad_share):
    """A split's examples, the images left out, and the problems of the others."""
    records = list(_without_images(source.read()))
    images = source.read().map(lambda record: record["image"])
    seen = image_sizes.of_records(images, len(records), source.state, source.what)
    annotations = [
        _annotation(index, record, seen[index], spec)
        for index, record in enumerate(records)
    ]
    labels = {name: label for label, name in enumerate(spec.class_names)}
    examples, skipped, problems = box_checks.checked(annotations, seen, labels)
    box_checks.check_skipped(skipped, len(records), source.what, bad_share)
    # Until here each image is its position among all.
    positions = np.array([int(image) for image in examples.images])
    held = _streamed if spec.stream else _in_memory
    filled = BoxedExamples(
        held(source, positions), examples.sizes, examples.objects, examples.ids
    )
    return filled, skipped, problems


def _without_images(records):
    """The records as dictionaries of arrays, but for their images."""

    def rest(record):
        return {key: value for key, value in record.items() if key != "image"}

    return threads.without_autotuning(records.map(rest)).as_numpy_iterator()


def _annotation(index, record, seen, spec):
    """What a record says of its image; ``image`` is its position.

    Coordinates are fractions of the image's sides, as float32. Multiplied and rounded to
    thousandths of a pixel, they are those of VOC's and COCO's files again.
    """
    objects = record["objects"]
    file = record["image/filename"].decode()
    size = seen.size if isinstance(seen, image_sizes.Seen) else (1, 1)
    fractions = np.reshape(objects["bbox"], (-1, 4)).astype(float)
    y1, x1, y2, x2 = np.round(fractions * np.tile(size, 2), 3).T
    boxes = np.stack([x1, y1, x2, y2], axis=1)
    if spec.from_one:
        boxes = np.reshape([half_open(tuple(box)) for box in boxes], (-1, 4))
    flags = {
        ours: np.asarray(objects[theirs])
        for ours, theirs in (
            ("difficult", "is_difficult"),
            ("crowd", "is_crowd"),
            ("areas", "area"),
        )
        if theirs in objects
    }
    return Annotation(
        id=int(record["image/id"]) if "image/id" in record else file,
        image=str(index),
        file=file,
        # Of the image as it is stored, which the boxes were drawn on.
        size=size,
        names=[
            spec.class_names[label] if 0 <= label < len(spec.class_names) else label
            for label in np.asarray(objects["label"]).tolist()
        ],
        boxes=boxes,
        flags=flags,
    )


def _in_memory(source, positions):
    """Encoded images as `Examples`."""
    wanted = set(positions.tolist())
    images = [
        image
        for index, image in enumerate(
            source.read().map(lambda record: record["image"]).as_numpy_iterator()
        )
        if index in wanted
    ]
    array = np.empty(len(images), object)
    array[:] = images
    return Examples(array, np.arange(len(images), dtype=np.int32))


def _streamed(source, positions):
    """Encoded images as `StreamedExamples`, numbered among those that are left."""
    return StreamedExamples(
        lambda: _numbered(
            source.read().map(lambda record: record["image"]).enumerate(), positions
        ),
        len(positions),
    )


def _numbered(pairs, positions):
    """Images at some positions, in their order, with new positions from 0."""
    tf = tensorflow()
    places = np.full(positions.max() + 1, -1)
    places[positions] = np.arange(len(positions))

    def place_of(index):
        inside = index < len(places)
        return tf.where(inside, tf.gather(places, tf.where(inside, index, 0)), -1)

    placed = pairs.map(lambda index, image: (image, place_of(index)))
    return threads.without_autotuning(placed.filter(lambda image, place: place >= 0))


def _split_off(examples, count):
    """Training and validation images, chosen by a hash of their names."""

    def by_hash(position):
        name = str(examples.ids[position])
        return hashlib.sha256(name.encode()).digest(), name

    ordered = sorted(range(examples.size), key=by_hash)
    held = np.zeros(examples.size, bool)
    held[ordered[:count]] = True
    return tuple(_some(examples, np.flatnonzero(mask)) for mask in (~held, held))


def _some(examples, positions):
    if not isinstance(examples.examples, StreamedExamples):
        return examples.take(positions)
    whole = examples.examples

    def read():
        swapped = whole.read().map(lambda image, place: (place, image))
        return _numbered(swapped, positions)

    return BoxedExamples(
        StreamedExamples(read, len(positions), whole.shuffle_buffer),
        examples.sizes[positions],
        examples.objects.take(positions),
        tuple(examples.ids[position] for position in positions),
    )
