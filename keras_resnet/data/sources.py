"""Raw examples, split into training, validation and test set.

`load` knows the data sets of `config/datasets.py`, `load_folder` reads folders of
images. Whatever is not the test set comes from the training set; the test set never
lends an example to the validation set.
"""

import hashlib
import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.lookup import find

BUNDLED = pathlib.Path(__file__).parent / "bundled" / "fashion_mini.npz"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
VALIDATION_FOLDERS = ("val", "validation")
VALIDATION_FRACTION = 0.1  # Of a folder that has no validation images of its own.


@dataclass(frozen=True, eq=False)
class Examples:
    """A split that is held in memory.

    Attributes:
        images: uint8 ``(n, height, width, channels)``, or an object array ``(n,)`` of
            encoded images (bytes) or of file paths (str).
        labels: int32 ``(n,)``, from 0.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        if len(self.images) != len(self.labels) or len(self.labels) == 0:
            raise ValueError(
                "`images` and `labels` must hold equally many examples, at least one. "
                f"Received: {len(self.images)} images, {len(self.labels)} labels."
            )

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def kind(self) -> str:
        """``"pixels"``, ``"encoded"`` or ``"files"``: what `images` holds."""
        if self.images.ndim == 4:
            return "pixels"
        return "encoded" if isinstance(self.images[0], bytes) else "files"

    def __repr__(self):
        return f"Examples(kind={self.kind!r}, size={self.size})"


@dataclass(frozen=True, eq=False)
class StreamedExamples:
    """A split that is read from disk in every epoch.

    Attributes:
        read: Returns a `tf.data.Dataset` of (encoded image, label), scalars of types
            string and integer, that is finite and always in the same order.
        size: Number of examples of that data set.
        shuffle_buffer: Examples that are held to draw the next one from. 8,192 JPEG
            files of ImageNet's 110 kB take 0.9 GB.
    """

    read: Callable
    size: int
    shuffle_buffer: int = 8_192


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set, split.

    Attributes:
        train, validation: `Examples` or `StreamedExamples`.
        test: The same, or `None` where nobody set examples apart for a test.
        class_names: One name per label.
        name, version: Of the data set.
        sha256: Fingerprint of the three splits. It covers the labels and, in their
            order, the pixels or encoded images; of files, path and size alone (not what
            is in them); of streamed examples, the names and sizes of the TFRecord files
            and the number of examples.
    """

    train: Examples | StreamedExamples
    validation: Examples | StreamedExamples
    test: Examples | StreamedExamples | None
    class_names: tuple[str, ...]
    name: str
    version: str
    sha256: str


def load(name, *, data_dir=None) -> Splits:
    """Loads one of the data sets of `config/datasets.py`.

    Args:
        name: Key of `DATASETS`.
        data_dir: Folder of TensorFlow Datasets, in which the data set is looked for and
            to which it is downloaded. Defaults to TFDS's own,
            ``~/tensorflow_datasets``. Not used for the bundled set.

    Returns:
        `Splits`. The validation set is drawn from the training set, balanced over the
        classes, by a fixed permutation; of a streamed set, it is the first part of the
        TFDS training split (which TFDS wrote in random order).

    Raises:
        ValueError: If the name is unknown or a file is corrupt.
        FileNotFoundError: If the data set isn't there and can't be downloaded.
    """
    spec = find(DATASETS, name, kind="data set")
    if spec.tfds is None:
        return _load_bundled(name, spec)
    builder = _prepared_builder(spec.tfds, data_dir)
    for split in (spec.train, spec.test):
        _check_files_exist(builder, split)
    load_from = _load_streamed if spec.storage == "stream" else _load_into_memory
    return load_from(name, spec, builder)


def _load_bundled(name, spec):
    if not BUNDLED.is_file():
        raise FileNotFoundError(
            f"The bundled data set must be at {BUNDLED}. Install the package again."
        )
    # zipfile, LZMA and NumPy have their own words for a damaged file.
    try:
        with np.load(BUNDLED) as archive:
            train, test = (
                Examples(
                    archive[f"{split}_images"][..., np.newaxis],
                    archive[f"{split}_labels"].astype(np.int32),
                )
                for split in ("train", "test")
            )
    except Exception as error:
        raise ValueError(
            f"The bundled data set {BUNDLED} is corrupt ({error}). "
            "Install the package again."
        ) from error
    train, validation = _split_off_validation(train, spec.validation)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=spec.class_names,
        name=name,
        version="1",
        sha256=_fingerprint((train, validation, test)),
    )


def _load_into_memory(name, spec, builder):
    train, test = (
        _read_split(builder, split, spec) for split in (spec.train, spec.test)
    )
    train, validation = _split_off_validation(train, spec.validation)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=_class_names(builder, spec),
        name=name,
        version=str(builder.version),
        sha256=_fingerprint((train, validation, test)),
    )


def _load_streamed(name, spec, builder):
    def streamed(split):
        return StreamedExamples(
            read=lambda: _records(builder, split),
            size=builder.info.splits[split].num_examples,
        )

    digest = hashlib.sha256(f"{spec.validation}".encode())
    for split in (spec.train, spec.test):
        digest.update(f"{split} {builder.info.splits[split].num_examples}".encode())
        for file in builder.info.splits[split].filepaths:
            size = pathlib.Path(file).stat().st_size
            digest.update(f"{pathlib.Path(file).name} {size}".encode())
    return Splits(
        # Drawing it balanced would take a pass over all of the files.
        train=streamed(f"{spec.train}[{spec.validation}:]"),
        validation=streamed(f"{spec.train}[:{spec.validation}]"),
        test=streamed(spec.test),
        class_names=_class_names(builder, spec),
        name=name,
        version=str(builder.version),
        sha256=digest.hexdigest(),
    )


def _class_names(builder, spec):
    """The copy's names of its classes, or ours where it has none."""
    names = tuple(builder.info.features["label"].names)
    # TFDS counts the classes of a copy without names.
    nameless = names == tuple(map(str, range(len(names))))
    return spec.class_names if nameless and spec.class_names else names


def _prepared_builder(tfds_name, data_dir):
    """Finds or downloads a data set of TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    try:
        builder.download_and_prepare()
    # Each data set fails in its own way: no network, a moved page, a manual download.
    except Exception as error:
        raise FileNotFoundError(
            f"The data set {tfds_name!r} must be prepared in TensorFlow Datasets' "
            f"format at {builder.data_path}; it isn't, and downloading it failed "
            f"({type(error).__name__}: {error}). Give the folder of a prepared copy as "
            f"data_dir (--data-dir). Received: data_dir={data_dir!r}."
        ) from error
    return builder


def _records(builder, split):
    """The (encoded image, label) pairs of a TFDS split, always in the same order."""
    import tensorflow_datasets as tfds

    records = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Copies exist whose records hold JPEG where features.json says PNG.
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    return records.map(lambda record: (record["image"], record["label"]))


def _read_split(builder, split, spec) -> Examples:
    """Reads a whole TFDS split into memory."""
    import tensorflow as tf

    records = _records(builder, split)
    if spec.storage == "pixels":
        from keras_resnet.data.preprocessing import decode

        records = records.map(
            lambda image, label: (decode(image, spec.preprocessing.channels), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    images, labels = [], []
    # TFDS itself compares the number of records with dataset_info.json.
    try:
        for image_batch, label_batch in records.batch(1_000).as_numpy_iterator():
            images.append(image_batch)
            labels.append(label_batch)
    except tf.errors.OpError as error:
        raise ValueError(
            f"The split {split!r} in {builder.data_path} can't be read "
            f"({error.message}). {_name_corrupt_file(builder, split)} "
            "Copy or download it again."
        ) from error
    return Examples(np.concatenate(images), np.concatenate(labels).astype(np.int32))


def _check_files_exist(builder, split):
    for file in builder.info.splits[split].filepaths:
        if not pathlib.Path(file).is_file():
            raise FileNotFoundError(
                f"The split {split!r} of {builder.info.full_name} must have the file "
                f"{file}. Copy or download it again."
            )


def _name_corrupt_file(builder, split) -> str:
    """Says which TFRecord file is damaged, or which ones could be."""
    import tensorflow as tf

    files = [str(file) for file in builder.info.splits[split].filepaths]
    for file in files:
        try:
            for _ in tf.data.TFRecordDataset(file).batch(1_000):
                pass
        except tf.errors.OpError:
            return f"The file {file} is corrupt."
    return f"Its files: {', '.join(files)}."


def load_folder(path, *, validation_fraction=VALIDATION_FRACTION) -> Splits:
    """Loads a folder that holds one folder of images per class.

    The images are ``path/CLASS/*.{jpg,jpeg,png,bmp,gif}``. Where ``path/train`` holds
    such class folders, it is the training set, ``path/val`` or ``path/validation`` the
    validation set, and ``path/test`` the test set, as far as they exist. Every image is
    decoded once, to find the damaged ones before the training does (about 1,000
    photographs of 500x375 a second on two cores).

    Args:
        path: The folder.
        validation_fraction: Part of the training images that becomes the validation set
            if there is no folder of that, balanced over the classes and the same in
            every run.

    Returns:
        `Splits` with the class names in alphabetical order.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no images.
        ValueError: If there are less than two classes, an image can't be decoded, or a
            validation or test folder has a class that the training folder lacks.
    """
    root = pathlib.Path(path)
    if not 0 < validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be between 0 and 1. "
            f"Received: validation_fraction={validation_fraction}."
        )
    if not root.is_dir():
        raise FileNotFoundError(
            f"`path` must be a folder with one folder of images per class. "
            f"Received: path={str(path)!r}, which isn't a folder."
        )
    if _folders(root / "train"):
        train_folder = root / "train"
        held_out = {
            name: root / name
            for name in (*VALIDATION_FOLDERS, "test")
            if (root / name).is_dir()
        }
    else:
        train_folder, held_out = root, {}
    class_names = tuple(folder.name for folder in _folders(train_folder))
    if len(class_names) < 2:
        raise ValueError(
            "A data set must have at least two classes, one folder each. "
            f"Received: {train_folder} with the folders {list(class_names)}."
        )
    train = _read_folder(train_folder, class_names)
    others = {
        name: _read_folder(folder, class_names) for name, folder in held_out.items()
    }
    validation = next((others[n] for n in VALIDATION_FOLDERS if n in others), None)
    test = others.get("test")
    if validation is None:
        size = round(validation_fraction * train.size)
        train, validation = _split_off_validation(train, size)
    return Splits(
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        name=root.resolve().name,
        version="",
        sha256=_fingerprint((train, validation, test), root),
    )


def join(first, second) -> Examples:
    """The examples of two splits held in memory, one after the other."""
    return Examples(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
    )


def _folders(path):
    """Sub-folders in alphabetical order, without hidden ones; none of no folder."""
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.is_dir() and f.name[0] != ".")


def _read_folder(path, class_names) -> Examples:
    """Lists and checks the images of one folder of class folders."""
    unknown = {folder.name for folder in _folders(path)} - set(class_names)
    if unknown:
        raise ValueError(
            f"{path} must hold classes of the training set alone. Received: the "
            f"folders {sorted(unknown)}, which are none of {list(class_names)}."
        )
    paths, labels = [], []
    for label, name in enumerate(class_names):
        if not (path / name).is_dir():
            continue  # A small validation or test set may lack a class.
        images = sorted(
            str(file)
            for file in (path / name).iterdir()
            if file.suffix.lower() in SUFFIXES and file.name[0] != "."
        )
        if not images:
            raise FileNotFoundError(
                f"The class folder {path / name} must hold images "
                f"({', '.join(SUFFIXES)}). Received: none. Add some or remove it."
            )
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise FileNotFoundError(f"{path} must hold class folders. Received: none.")
    _check_decodable(paths)
    return Examples(np.array(paths, dtype=object), np.array(labels, np.int32))


def _check_decodable(paths):
    """Decodes every file, and names the first that is no image."""
    import tensorflow as tf

    from keras_resnet.data.preprocessing import decode

    # The order is kept, so the n-th error belongs to the n-th path.
    shapes = iter(
        tf.data.Dataset.from_tensor_slices(paths).map(
            lambda path: tf.shape(decode(tf.io.read_file(path), 3)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
    )
    for path in paths:
        try:
            next(shapes)
        except tf.errors.OpError as error:
            raise ValueError(
                "Every image must be a JPEG, PNG, BMP or GIF file that can be decoded. "
                f"Received: {path} ({error.message.splitlines()[0]}). "
                "Repair or remove it."
            ) from error


def _split_off_validation(examples, size):
    """Splits ``size`` examples off, balanced over the classes, the same in every run.

    Returns:
        Training and validation `Examples`, each in the original order.

    Raises:
        ValueError: If a class would have no example left to train on.
    """
    if not 0 < size < examples.size:
        raise ValueError(
            "The validation set must take at least one example and leave some. "
            f"Received: {size} of {examples.size} examples. "
            "Add images or change `validation_fraction`."
        )
    counts = np.bincount(examples.labels)
    # Each class gives its share, rounded down; the largest remainders fill up.
    quotas, remainders = np.divmod(size * counts, examples.size)
    by_remainder = np.argsort(-remainders, kind="stable")
    quotas[by_remainder[: size - quotas.sum()]] += 1
    if np.any((quotas >= counts) & (counts > 0)):
        raise ValueError(
            "Every class must keep an example to train on. "
            f"Received: {counts.tolist()} examples per class, of which the validation "
            f"set takes {quotas.tolist()}. Add images or change `validation_fraction`."
        )
    order = np.random.default_rng(0).permutation(examples.size)
    chosen = np.zeros(examples.size, bool)
    for label, quota in enumerate(quotas):
        chosen[order[examples.labels[order] == label][:quota]] = True
    return (
        Examples(examples.images[~chosen], examples.labels[~chosen]),
        Examples(examples.images[chosen], examples.labels[chosen]),
    )


def _fingerprint(splits, root=None) -> str:
    """The sha256 that `Splits.sha256` describes; ``root`` is where paths start."""
    digest = hashlib.sha256()
    for examples in splits:
        if examples is None:
            continue
        digest.update(f"{examples.kind} {examples.images.shape}".encode())
        digest.update(examples.labels.astype("<i4").tobytes())
        if examples.kind == "pixels":
            digest.update(np.ascontiguousarray(examples.images))
            continue
        for image in examples.images:
            if examples.kind == "files":
                path = pathlib.Path(image)
                size = path.stat().st_size
                image = f"{path.relative_to(root).as_posix()} {size}".encode()
            digest.update(len(image).to_bytes(8, "little") + image)
    return digest.hexdigest()
