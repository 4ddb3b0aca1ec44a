"""A trained or converted network in its folder: load, predict, evaluate."""

import json
import os
import pathlib
import re
from dataclasses import asdict, dataclass

import keras
import numpy as np

from keras_resnet import request, run_folder
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import folders, pipelines, preprocessing, sources
from keras_resnet.data.examples import join
from keras_resnet.evaluation import environment, records
from keras_resnet.evaluation.evaluate import evaluate as measure
from keras_resnet.models.resnet import allow_depth

BATCH = 32  # Images that are predicted at once.
EXPORTED = ("form.json", "saved_model.pb")  # What a folder that export wrote has.


@dataclass(frozen=True)
class Run:
    """A trained network with all that is needed to use it.

    Attributes:
        model: Gives logits ``(batch, classes)`` for normalized images.
        classes: Names of the classes, in the order of the logits.
        preprocessing: What the model's images go through.
        record: The contents of ``record.json``; of a converted network, those of
            ``source.json``.
        folder: Where the run lies.
    """

    model: keras.Model
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    record: dict
    folder: pathlib.Path

    def predict(self, images, *, top=5):
        """Names what is on images.

        Args:
            images: Paths of image files, or uint8 images of one size, shape
                ``(n, height, width, channels)``.
            top: How many classes to name at most.

        Returns:
            For each image a list of ``(class name, probability)``, likeliest first.

        Raises:
            FileNotFoundError, ValueError: If an image is missing or can't be read,
                there is none, or ``top`` is not a positive integer.
        """
        check_top(top)
        one_path = isinstance(images, (str, os.PathLike))
        images = [] if one_path else list(images)
        if not images:
            raise ValueError(
                "`images` must be a list of paths, or an array of images, with one at "
                f"least. Received: {'a path' if one_path else 'none'}."
            )
        pipelines.leave_gpus_to_keras()
        prepared = np.stack([self._prepare(image) for image in images])
        rows = [
            row
            for start in range(0, len(prepared), BATCH)
            for row in self.scores(prepared[start : start + BATCH])
        ]
        return [ranked(row, self.classes, top) for row in rows]

    def scores(self, images):
        """Probabilities of all classes, of a batch that fits into memory.

        Args:
            images: uint8 of the model's size, shape ``(n, height, width, channels)``.

        Returns:
            float32 ``(n, classes)``.
        """
        # XLA compiles each size of a batch anew, so JAX gets only powers of two.
        count = len(images)
        if keras.backend.backend() == "jax":
            more = 2 ** max(0, count - 1).bit_length() - count
            images = np.pad(images, [(0, more), (0, 0), (0, 0), (0, 0)])
        normalized = preprocessing.normalize(images, self.preprocessing)
        logits = self.model.predict_on_batch(np.asarray(normalized))
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))[:count]

    def _prepare(self, image):
        if not isinstance(image, (str, os.PathLike)):
            return np.asarray(preprocessing.resize_and_crop(image, self.preprocessing))
        return read_image(image, self.preprocessing)


def check_top(top):
    """Raises `ValueError` unless ``top`` is a number of classes to name."""
    if not isinstance(top, int) or top < 1:
        raise ValueError(
            "`top` (--top) must be a positive integer, the number of classes to name. "
            f"Received: top={top!r}."
        )


def read_image(path, prepare):
    """An image file as a network takes it, before normalization.

    Args:
        path: Of the file.
        prepare: A `Preprocessing`.

    Returns:
        uint8 array ``(height, width, channels)``.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it can't be decoded.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There must be an image at {path}; there is no file.")
    try:
        return np.asarray(preprocessing.prepare(path.read_bytes(), prepare))
    except Exception as error:  # TensorFlow's decoders raise many kinds.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} must be a JPEG, PNG, GIF or BMP image. Decoding it failed: {reason}"
        ) from error


def ranked(scores, classes, top):
    """The likeliest classes of an image: pairs of name and probability, best first."""
    return [(classes[i], float(scores[i])) for i in np.argsort(-scores)[:top]]


def load(folder):
    """Loads a trained run, or what `keras-resnet convert` wrote.

    Args:
        folder: The run's, e.g. ``"runs/quickstart_seed0"``.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: If there is no finished run.
        ValueError: If its files can't be read.
    """
    folder = pathlib.Path(folder)
    if (folder / "source.json").is_file():
        record = _read_source(folder / "source.json")
    elif (folder / "record.json").is_file():
        record = records.read(folder / "record.json")
    else:
        state = "training has not finished" if folder.is_dir() else "there is no folder"
        advice = "Make one with `keras-resnet train`."
        if any((folder / name).is_file() for name in EXPORTED):
            state, advice = "it is an export", "Name the run that it was made of."
        raise FileNotFoundError(
            f"{folder} must hold a finished run with a record.json: {state}. {advice}"
        )
    if record["network"] in ARCHITECTURES:
        allow_depth(ARCHITECTURES[record["network"]].depth)
    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder / 'model.keras'} can't be read: {error} See that you may read it and "
            "that Keras is as new as in record.json. If it is damaged, put a copy back, "
            "or train (or convert) again in another folder."
        ) from error
    model.preprocessing = Preprocessing.from_json(record["preprocessing"])
    if keras.backend.backend() == "tensorflow":
        # On a GPU Keras would compile each size of a batch anew.
        model.jit_compile = False
    return Run(
        model=model,
        classes=tuple(record["classes"]),
        preprocessing=model.preprocessing,
        record=record,
        folder=folder,
    )


def _read_source(path):
    """What `keras-resnet convert` wrote of a network."""
    try:
        source = json.loads(path.read_text(encoding="utf-8"))
        Preprocessing.from_json(source["preprocessing"])
        tuple(source["classes"]), str(source["network"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be as `keras-resnet convert` wrote it; it is damaged "
            f"({type(error).__name__}: {error}). Convert again."
        ) from error
    return source


def evaluate(folder, *, data=None, data_dir=None, split=None, batch_size=256):
    """Measures a run on a split and writes ``evaluation.json`` beside its record.

    Args:
        folder: The run's.
        data: Another folder of images, or data set, than the run was trained on: of
            a folder all of it, or what lies in its folder ``test``. A converted network
            needs one.
        data_dir: Where TensorFlow Datasets keeps its data.
        split: ``"test"`` (the default) or ``"validation"``; not with another folder.
        batch_size: Images at a time.

    Returns:
        What was written: data, split (``"all"`` for all of a folder), top1_error and
        top5_error (percent), loss, n.

    Raises:
        ValueError: If the data has other classes than the run, or no such split.
    """
    run = load(folder)
    pipelines.leave_gpus_to_keras()
    splits, split, examples = examples_of(run, data, data_dir, split)
    # The same data has the same classes, also where they got their names later.
    same = splits.sha256 == run.record.get("dataset", {}).get("sha256")
    if not same and not has_classes(run, splits.class_names):
        raise ValueError(
            f"The data must have the run's classes {run.classes[:5]}…. "
            f"Received: {splits.class_names[:5]}… in {splits.name}."
        )
    if examples is None:
        raise ValueError(f"{splits.name} has no {split} split: use --split validation.")
    batches = pipelines.evaluation_batches(
        examples, run.preprocessing, batch_size=min(examples.size, batch_size)
    )
    result = {
        "data": splits.name,
        "sha256": splits.sha256,
        "split": split,
        **asdict(measure(run.model, batches)),
        "versions": environment.versions(),
    }
    text = json.dumps(result, indent=2) + "\n"
    run_folder.replace_file(
        run.folder / "evaluation.json", lambda path: path.write_text(text)
    )
    return result


def has_classes(run, names):
    """Whether data has the run's classes, in their order."""
    if tuple(names) == run.classes:
        return True
    # ImageNet's folders have WordNet numbers. Sorted, these are the classes of all
    # published weights but darknet's files, which have an order of their own.
    numbers = list(names) == sorted(names) and all(
        re.fullmatch(r"n\d{8}", name) for name in names
    )
    standard = not str(run.record.get("source", ".weights")).endswith(".weights")
    return standard and numbers and len(names) == len(run.classes) == 1000


def examples_of(run, data, data_dir, split):
    """The splits of the data; name and examples of the one to measure on."""
    if "dataset" in run.record:
        trained_on = run.record["overrides"].get("data", run.record["dataset"]["name"])
        own = data is None or request.where(data) == trained_on
    elif data is None:
        raise ValueError(
            f"{run.folder} was converted, not trained here: name the images or the data "
            "set to measure on with `data` (--data)."
        )
    else:
        trained_on, own = None, False
    data = trained_on if own else request.where(data)
    if split is not None and not own and data not in DATASETS:
        raise ValueError(
            "`split` (--split) goes with the run's own data or a data set; of another "
            "folder all images are measured on, or those of its folder 'test'. Leave it "
            f"out, or name the folder of the split. Received: split={split!r}, "
            f"data={data!r}."
        )
    split = split or "test"
    if data in DATASETS:
        splits = sources.load(data, data_dir=data_dir)
        return splits, split, getattr(splits, split)
    if own:
        # The same fraction, or images of the training set would be measured on.
        fraction = run.record["overrides"]["val_fraction"]
        splits = folders.load(data, val_fraction=fraction)
        if splits.sha256 != run.record["dataset"]["sha256"]:
            raise ValueError(
                f"{data} must hold the images that the run was trained on, and it has "
                "changed since: which of them are validation images is no longer known. "
                "Give other images with --data."
            )
        return splits, split, getattr(splits, split)
    splits = folders.load(data, val_fraction=0)
    if splits.test is not None:
        return splits, "test", splits.test
    if splits.validation is None:
        return splits, "all", splits.train
    return splits, "all", join(splits.train, splits.validation)
