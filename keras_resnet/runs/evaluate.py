"""A run measured on a split of its own data, or on other data."""

import re
from collections.abc import Sequence
from dataclasses import asdict

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders, pipelines, sources
from keras_resnet.data.examples import Splits, join
from keras_resnet.evaluation import metrics
from keras_resnet.files import write_json
from keras_resnet.runs import environment
from keras_resnet.runs.load import Run, load
from keras_resnet.runs.request import where


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
    if not labels_fit(run, splits):
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
        **asdict(metrics.evaluate(run.model, batches)),
        "versions": environment.versions(),
    }
    write_json(run.folder / "evaluation.json", result)
    return result


def labels_fit(run: Run, splits: Splits) -> bool:
    """Tells whether the labels of data are those of a run's classes."""
    # The same data has the same classes, also where they got their names later.
    same = splits.sha256 == run.record.get("dataset", {}).get("sha256")
    return same or has_classes(run, splits.class_names)


def has_classes(run: Run, names: Sequence[str]) -> bool:
    """Tells whether these names are a run's classes, in their order."""
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
        own = data is None or where(data) == trained_on
    elif data is None:
        raise ValueError(
            f"{run.folder} was converted, not trained here: name the images or the data "
            "set to measure on with `data` (--data)."
        )
    else:
        trained_on, own = None, False
    data = trained_on if own else where(data)
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
