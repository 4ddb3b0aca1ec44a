"""A run -> its exported forms, each with a report of how it compares."""

import contextlib
import pathlib
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from keras_resnet.config.datasets import DATASETS
from keras_resnet.data import folders, pipelines, sources
from keras_resnet.data.examples import Examples, split_off_validation
from keras_resnet.data.images import normalize, prepare
from keras_resnet.export import compare, converters, saved_model
from keras_resnet.export.fold import fold_batch_norm
from keras_resnet.export.load import load_exported
from keras_resnet.files import check_target, to_json, write_json
from keras_resnet.models.layers import groups_apart
from keras_resnet.runs import environment
from keras_resnet.runs.evaluate import examples_of, has_classes
from keras_resnet.runs.load import load

CALIBRATION = 300  # Images: NNCF's default, and about what the others advise.
COMPARED = 1000  # Images at most: a figure of a tenth of a percent, in minutes.
BATCH = 32
# Of a form's probabilities with Keras's, at most. 8 bits change single answers as they
# will: how many is what the report says.
AGREEMENT = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 5e-2, "int8": 1.0}


def export(
    folder,
    *,
    format="saved_model",
    precision="float32",
    data=None,
    data_dir=None,
    output=None,
    version=1,
    overwrite=False,
):
    """Writes a run in a form that serves, and compares it with the run.

    Args:
        folder: The run's.
        format: ``"saved_model"`` or a key of `formats.PRECISIONS`.
        precision: One of `formats.PRECISIONS`; a SavedModel is float32.
        data: Folder of images or data set, if not the run's own: to compare on and, for
            int8, to calibrate on, then other ones of them.
        data_dir: Where TensorFlow Datasets keeps its data.
        output: Where to; ``saved_model`` or ``<format>_<precision>`` in the run's
            folder by default, which is replaced.
        version: Of a SavedModel, the name of its folder in ``output``. TF Serving serves
            the highest one.
        overwrite: Whether to replace what is at ``output``.

    Returns:
        The folder written, and the report, which also lies there as ``export.json``:
        format, precision, bytes; data, ``None`` if there was none and noise had to do;
        what `compare.compare` gives; images_per_second and speed_ratio, to Keras's on
        the same images in turns.

    Raises:
        ValueError: If format and precision don't fit, or int8 has no images.
        FileExistsError: If ``output`` exists and ``overwrite`` is false, or is not an
            export's.
        RuntimeError: If the exported network does not answer as the run, or can't be
            written on this backend.
    """
    if format not in ("saved_model", *converters.PRECISIONS):
        raise ValueError(
            "`format` (--format) must be saved_model or "
            f"{' or '.join(converters.PRECISIONS)}. Received: format={format!r}."
        )
    if format == "saved_model":
        if precision != "float32":
            raise ValueError(
                "A SavedModel is float32: choose another `format` (--format), or leave "
                f"`precision` (--precision) out. Received: precision={precision!r}."
            )
    else:
        if version != 1:
            raise ValueError(
                "`version` (--version) is a SavedModel's, for TF Serving: leave it out. "
                f"Received: version={version}, format={format!r}."
            )
        converters.check(format, precision)  # Last: it looks for the format's packages.
    pipelines.leave_gpus_to_keras()
    run = load(folder)
    name = format if format == "saved_model" else f"{format}_{precision}"
    target = pathlib.Path(output or run.folder / name)
    # The run's own export is a copy of its model: writing it again loses nothing.
    overwrite = overwrite or output is None
    # Before any image is read.
    if format == "saved_model":
        check_target(target / str(version), saved_model.GRAPH, overwrite)
    else:
        check_target(target, converters.FORM, overwrite)
    images = _images(run, data, data_dir, needed=precision == "int8")
    reports = []

    def finish(folder):
        reports.append(_report(run, images, folder, format, precision))

    if format == "saved_model":
        written = export_model(
            run.model,
            target,
            run.preprocessing,
            run.classes,
            finish=finish,
            version=version,
            overwrite=overwrite,
        )
    else:
        with groups_apart():
            written = converters.export_classifier(
                run.model,
                target,
                format=format,
                precision=precision,
                normalize=partial(normalize, preprocessing=run.preprocessing),
                class_names=run.classes,
                preprocessing=run.preprocessing.as_json(),
                calibration=images["calibration"] if precision == "int8" else None,
                finish=finish,
                overwrite=overwrite,
            )
    return written, reports[0]


def export_model(model, output, preprocessing, class_names, **options):
    """`saved_model.export_saved_model` with our preprocessing inside the graph.

    Batch norm is folded into the convolutions: docs/LOG.md says what that gives.

    Args:
        model: As of `export_saved_model`, as are ``output`` (its ``path``) and
            ``class_names``.
        output: Folder of the model's versions.
        preprocessing: A `Preprocessing`.
        class_names: Names of the model's classes.
        **options: Others of `export_saved_model`: finish, version, overwrite.
    """
    with groups_apart():
        return saved_model.export_saved_model(
            fold_batch_norm(model),
            output,
            decode=partial(prepare, preprocessing=preprocessing),
            normalize=partial(normalize, preprocessing=preprocessing),
            class_names=class_names,
            files={"preprocessing.json": to_json(preprocessing.as_json())},
            **options,
        )


def _report(run, images, folder, format, precision):
    """Compares an export with its run, writes the report and gives it."""
    exported = load_exported(folder).scores
    compared = images["images"]
    with whole_float32():
        answers = [
            compare.answers(scores, compared) for scores in (exported, run.scores)
        ]
    difference = compare.compare(*answers, images["labels"])
    limit = AGREEMENT[precision]
    if not difference["max_difference"] <= limit:  # It may be NaN.
        raise RuntimeError(
            f"The exported network must give Keras's probabilities to {limit}. Received: "
            f"a difference of {difference['max_difference']} over {len(compared)} images. "
            f"The versions of TensorFlow and of what writes or runs {format} don't go "
            "together: try others, or another format."
        )
    batch = np.resize(compared, (BATCH, *compared.shape[1:]))
    speeds = compare.speeds({"exported": exported, "keras": run.scores}, batch)
    result = {
        "format": format,
        "precision": precision,
        "bytes": compare.size(folder),
        "data": images["data"],
        **difference,
        "images_per_second": round(speeds["exported"], 1),
        "speed_ratio": round(speeds["exported"] / speeds["keras"], 3),
        **environment.describe(),
    }
    write_json(folder / "export.json", result)
    return result


@contextlib.contextmanager
def whole_float32():
    """Has GPUs compute in float32 as it is; since Ampere they round factors to TF32."""
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
        return
    import tensorflow as tf

    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)


def _images(run, data, data_dir, *, needed):
    """Images to calibrate and to compare on, with labels and the name of the data."""
    trained = "dataset" in run.record
    try:
        if data is None and not _own_data_is_here(run, data_dir):
            raise FileNotFoundError("the data set that it was trained on is not here.")
        splits, split, examples = examples_of(
            run, data, data_dir, "validation" if trained and data is None else None
        )
        if examples is None:
            raise ValueError(
                f"{splits.name} has no {split} split: name a folder of images with "
                "`data` (--data), or leave it out."
            )
    except (ValueError, FileNotFoundError, ImportError) as error:
        if data is not None:
            raise
        if needed:
            raise ValueError(
                "int8 needs real images to measure the activations' ranges on: name a "
                f"folder of them with `data` (--data). Of the run's own: {error}"
            ) from error
        shape = (BATCH, *run.preprocessing.size, run.preprocessing.channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, "uint8")
        return {"images": noise, "labels": None, "data": None}
    calibrating = splits.train
    if needed and split == "all":  # A folder: some of it calibrate, others compare.
        split, examples = "validation", splits.validation
        if examples is None:
            size = round(folders.VAL_FRACTION * calibrating.size)
            calibrating, examples = split_off_validation(calibrating, size)
    images, labels = prepared(examples, run.preprocessing, COMPARED)
    known = has_classes(run, splits.class_names)
    same = splits.sha256 == run.record.get("dataset", {}).get("sha256")
    result = {
        "images": images,
        "labels": labels if known or same else None,
        "data": f"{splits.name} {split}",
    }
    if needed:
        result["calibration"], _ = prepared(calibrating, run.preprocessing, CALIBRATION)
    return result


def _own_data_is_here(run, data_dir):
    """Whether a run's data can be read without a download, as far as it has any."""
    name = run.record.get("dataset", {}).get("name")
    return name not in DATASETS or sources.is_here(name, data_dir)


def prepared(examples, preprocessing, count):
    """Images as exported networks take them, and their labels.

    Args:
        examples: A split's.
        preprocessing: A `Preprocessing`.
        count: How many at most.

    Returns:
        uint8 ``(n, H, W, C)`` of the model's size, and integers ``(n,)``.
    """
    if isinstance(examples, Examples) and examples.size > count:
        # From everywhere: a folder's images lie class by class.
        chosen = np.linspace(0, examples.size - 1, count).astype(int)
        examples = Examples(examples.images[chosen], examples.labels[chosen])
    # A normalization that changes nothing.
    bare = replace(
        preprocessing,
        mean=(0.0,) * preprocessing.channels,
        std=(1.0,) * preprocessing.channels,
        channel_order="rgb",
    )
    batches = pipelines.evaluation_batches(examples, bare, batch_size=BATCH)
    pairs = list(batches.take(-(-count // BATCH)).as_numpy_iterator())
    images = np.concatenate([images for images, _ in pairs])[:count]
    return images.astype("uint8"), np.concatenate([labels for _, labels in pairs])[
        :count
    ]
