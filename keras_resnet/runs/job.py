"""A run before it runs: recipe, data, network and machine, settled and checked.

From what a user asks for to a compiled model and its batches; nothing is written.
"""

import contextlib
from dataclasses import dataclass, replace

import keras

from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.lookup import find
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipe import Distillation, Recipe, first_steps
from keras_resnet.config.spec import ResNetSpec
from keras_resnet.data import folders, pipelines
from keras_resnet.data.examples import Splits
from keras_resnet.devices import distribute
from keras_resnet.devices.find import Devices
from keras_resnet.devices.precision import (
    be_deterministic,
    choose_precision,
    choose_xla,
)
from keras_resnet.models import resnet
from keras_resnet.runs import request
from keras_resnet.runs.evaluate import has_classes
from keras_resnet.runs.folder import settings
from keras_resnet.runs.load import load
from keras_resnet.training import batch_norm
from keras_resnet.training.distillation import with_teacher
from keras_resnet.training.fit import compile_model
from keras_resnet.training.steps import trainer
from keras_resnet.weights.load import load_weights

# What of a teacher's preprocessing must be the student's.
COLOURS = ("channels", "mean", "std", "channel_order")


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that decides a run.

    Attributes:
        name: Of the recipe, or of network and data.
        recipe: With the user's changes.
        seed: Of initialization, shuffling and augmentation.
        overrides: What the user asked for other than the recipe, for the record.
        splits: The data.
        spec: The network.
        prepare: What images go through.
        hardware: What is computed on.
        precision: Keras dtype policy of training.
        xla: Whether training is compiled.
        weights: To begin from, or `None`.
        freeze: Stages that don't train, or `None`.
        sync_batch_norm: Whether batch statistics are taken over all devices.
        accumulate: Micro-batches per batch.
        steps_per_execution: Updates that Python starts at a time.
        teacher: Folder of a run to learn from, or `None`.
    """

    name: str
    recipe: Recipe
    seed: int
    overrides: dict
    splits: Splits
    spec: ResNetSpec
    prepare: Preprocessing
    hardware: Devices
    precision: str
    xla: bool
    weights: str | None
    freeze: int | None
    sync_batch_norm: bool
    accumulate: int
    steps_per_execution: int
    teacher: str | None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.splits.class_names)

    @property
    def shape(self):
        """Of one image, as it is evaluated and served."""
        return resnet.with_channels(self.prepare.size, self.prepare.channels)

    @property
    def micro_batch(self) -> int:
        """Images that a device computes on at a time."""
        return self.recipe.batch_size // (self.hardware.replicas * self.accumulate)

    def settings(self):
        """What makes it this run and no other; see `runs.folder.settings`."""
        return settings(
            self.recipe,
            self.seed,
            self.splits.sha256,
            self.overrides,
            backend=keras.backend.backend(),
            precision=self.precision,
            xla=self.xla,
        )

    def notes(self):
        """What of the recipe is done otherwise here, and why: sentences."""
        notes = list(self.recipe.deviations)
        count = self.hardware.replicas
        if count > 1 and not self.sync_batch_norm and keras.backend.backend() != "jax":
            notes.append(
                f"Batch norm takes its statistics over {self.recipe.batch_size // count} "
                f"images, each device's share, instead of {self.recipe.batch_size}; "
                "--sync-batch-norm takes them over all."
            )
        if self.accumulate > 1:
            notes.append(
                f"Batch norm takes its statistics over micro-batches, {self.accumulate} "
                "of each device's share."
            )
        images = self.splits.validation.size
        size, batches = validation_in_fit(self)
        if size * batches < images:
            notes.append(
                f"Validation during training sees {size * batches:,} of {images:,} "
                "images, which divide among the devices; the record is measured on all."
            )
        if self.precision != "float32":
            notes.append(
                f"Training computes in {self.precision}; --precision float32 does not."
            )
        notes += [
            f"{name}={value!r} was asked for."
            for name, value in self.overrides.items()
            if (name, value) != ("val_fraction", folders.VAL_FRACTION)
        ]
        return notes


def settle(asked, hardware):
    """Loads the data and decides what is to be trained, on what and how.

    Args:
        asked: The options of `reproduce.train`, completed by `request.complete`.
        hardware: `devices.find.Devices`.

    Returns:
        A `Job`.

    Raises:
        ValueError: If a name, a value or the data is wrong, or things don't fit together.
    """
    name, recipe, splits = request.choose(
        asked["recipe"],
        asked["data"],
        asked["network"],
        asked["weights"],
        val_fraction=asked["val_fraction"],
        data_dir=asked["data_dir"],
        batch_size=asked["batch_size"],
    )
    recipe = request.override(recipe, splits.train.size, asked)
    spec = find(ARCHITECTURES, recipe.network, kind="network")
    spec = replace(
        spec,
        zero_gamma=recipe.zero_gamma or spec.zero_gamma,
        dropout=recipe.dropout or spec.dropout,
    )
    prepare = request.preprocessing_of(recipe, spec, splits)
    request.check_batch_size(recipe, splits, hardware, asked["accumulate"])
    request.check_steps_per_execution(
        recipe, asked["steps_per_execution"], hardware, keras.backend.backend()
    )
    if asked["freeze"] is not None and asked["weights"] is None:
        raise ValueError(
            "`freeze` (--freeze) keeps weights that were given: give them as `weights` "
            f"(--weights). Received: freeze={asked['freeze']}, weights=None."
        )
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Training needs channels last, as images come: set "
            "`keras.config.set_image_data_format('channels_last')`; weights are the "
            f"same. Received: {keras.config.image_data_format()!r}."
        )
    if asked["deterministic"]:
        be_deterministic(asked["xla"])
        asked = asked | {"xla": "off"}
    job = Job(
        name=name,
        recipe=recipe,
        seed=asked["seed"],
        overrides=request.overrides(asked),
        splits=splits,
        spec=spec,
        prepare=prepare,
        hardware=hardware,
        precision=choose_precision(asked["precision"], hardware, spec),
        xla=choose_xla(asked["xla"], hardware, asked["sync_batch_norm"]),
        weights=asked["weights"],
        freeze=asked["freeze"],
        sync_batch_norm=asked["sync_batch_norm"],
        accumulate=asked["accumulate"],
        steps_per_execution=asked["steps_per_execution"],
        teacher=request.where(asked["teacher"]),
    )
    validation_in_fit(job)  # Raises an error if it can't be shared out.
    return job


def as_begun(job, asked, begun):
    """The job in the precision, and with or without XLA, that its run began with.

    ``"auto"`` can mean something else on another machine, and a run doesn't change on
    its way.

    Args:
        job: A `Job`.
        asked: As of `settle`.
        begun: As of `runs.folder.begun`.

    Returns:
        The `Job`, changed where ``"auto"`` was asked for and the run began otherwise.

    Raises:
        ValueError: If this machine can't go on so.
    """
    changes = {}
    try:
        if asked["precision"] == "auto" and "precision" in begun:
            changes["precision"] = choose_precision(
                begun["precision"], job.hardware, job.spec
            )
        if asked["xla"] == "auto" and "xla" in begun:
            changes["xla"] = choose_xla(
                "on" if begun["xla"] else "off", job.hardware, job.sync_batch_norm
            )
    except ValueError as error:
        said = ", ".join(f"{name}={value!r}" for name, value in begun.items())
        raise ValueError(
            f"The run began with {said} and must go on so. {error} Go on where that can "
            "be had, or train anew in another --output-dir."
        ) from error
    return replace(job, **changes)


def _teacher(job):
    """The teacher, for images of any size, and the job whose recipe says so."""
    wanted = job.recipe.distillation
    if job.teacher is None:
        if wanted is not None:
            raise ValueError(
                f"The recipe needs a teacher, a {wanted.teacher} trained on the same "
                "classes: give its folder as `teacher` (--teacher); `keras-resnet "
                "convert` makes one of published weights. Received: none."
            )
        return None, job
    teacher = load(job.teacher)
    network = teacher.record["network"]
    if wanted is not None and network != wanted.teacher:
        raise ValueError(
            f"The recipe's teacher must be a {wanted.teacher}. Received: "
            f"teacher={job.teacher!r}, a {network}."
        )
    names = job.splits.class_names
    if not has_classes(teacher, names):
        raise ValueError(
            "The teacher must know the data's classes, in their order. Received: "
            f"{len(teacher.classes)}, {teacher.classes[:5]}…; the data has "
            f"{len(names)}, {names[:5]}…."
        )
    for colour in COLOURS:
        theirs, ours = (
            getattr(p, colour) for p in (teacher.preprocessing, job.prepare)
        )
        if theirs != ours:
            raise ValueError(
                "The teacher must see the same colours as the data has. Received: "
                f"{colour}={theirs!r}; the data has {ours!r}."
            )
    model = resnet.build(
        find(ARCHITECTURES, network, kind="network"),
        input_shape=resnet.with_channels((None, None), job.prepare.channels),
        classes=len(names),
    )
    model.set_weights(teacher.model.get_weights())
    distillation = wanted or Distillation(teacher=network)
    return model, replace(job, recipe=replace(job.recipe, distillation=distillation))


@contextlib.contextmanager
def computing_in(policy):
    """Where new layers have this dtype policy, whatever the user's is."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def scope(job):
    """Where to build and fit: the job's devices and precision."""
    with computing_in(job.precision), distribute.distribution(job.hardware):
        yield


def build(job):
    """The network and the compiled model that trains it, inside of `scope`.

    Returns:
        The job, with the preprocessing that its weights want and what its teacher
        changes; the network; what to fit, which need not be the network itself.

    Raises:
        ValueError: If weights, teacher or stages to freeze don't fit.
    """
    keras.utils.set_random_seed(job.seed)
    shape = job.shape
    if job.recipe.image_sizes:  # One after the other, of one network.
        shape = resnet.with_channels((None, None), job.prepare.channels)
    network = resnet.build(job.spec, input_shape=shape, classes=job.classes)
    if job.weights is not None:
        known = load_weights(
            network,
            job.weights,
            job.spec,
            network=job.recipe.network,
            new_classifier=True,
        )
        job = replace(job, prepare=request.as_weights_want(job.prepare, known))
    if job.sync_batch_norm:
        batch_norm.synchronize(network, True)
    else:
        network = batch_norm.fused(network)
    if job.freeze is not None:
        resnet.freeze(network, job.freeze)
    teacher, job = _teacher(job)
    model = network
    if teacher is not None:
        model = with_teacher(network, teacher, job.recipe.distillation.temperature)
    model = trainer(model, job.hardware, xla=job.xla, accumulate=job.accumulate)
    compile_model(
        model, job.recipe, xla=job.xla, steps_per_execution=job.steps_per_execution
    )
    return job, network, model


def stages(recipe, done=0):
    """The updates whose images have one size: first, end, and side or `None`.

    Of those that are left after the first ``done``.
    """
    begins = first_steps(recipe.image_sizes, recipe.steps) or [0]
    sides = [side for _, side in recipe.image_sizes] or [None]
    ends = [*begins[1:], recipe.steps]
    # A very short run has no room for every size.
    spans = zip(begins, ends, sides, strict=True)
    left = [(max(begin, done), end, side) for begin, end, side in spans]
    return [stage for stage in left if stage[0] < stage[1]]


def training_batches(job, start=0, steps=None, share=(0, 1)):
    """The batches of the updates from ``start`` on, to the recipe's last by default."""
    recipe = job.recipe if steps is None else replace(job.recipe, steps=steps)
    return pipelines.training_batches(
        job.splits.train,
        job.prepare,
        recipe,
        classes=job.classes,
        seed=job.seed,
        start_step=start,
        share=share,
    )


def batches_in_fit(job, start=0):
    """This worker's share of the batches from the update ``start`` on, for `fit`."""
    return distribute.placed(
        training_batches(job, start, share=share_of(job)), job.hardware
    )


def share_of(job):
    """The worker's number, and how many there are."""
    return job.hardware.worker, job.hardware.workers


def validation_in_fit(job):
    """The batch size of the validation in `fit`, and how many batches it has."""
    replicas = job.hardware.replicas
    return request.validation_in_fit(
        job.micro_batch * replicas, job.splits.validation.size, replicas
    )


def validation_batches(job):
    """The validation images as `fit` sees them, and how many batches they are."""
    batch_size, count = validation_in_fit(job)
    batches = pipelines.evaluation_batches(
        job.splits.validation,
        job.prepare,
        batch_size=batch_size,
        one_hot=job.classes if job.recipe.soft_labels else None,
        share=share_of(job),
        keep=True,
    ).take(count)
    return distribute.placed(batches, job.hardware), count
