"""From a `Job` to its network, the compiled model that trains it, and their batches."""

import contextlib
from dataclasses import replace

import keras

from keras_resnet.config.architectures import network_of
from keras_resnet.config.recipe import Distillation, first_steps
from keras_resnet.data import pipelines
from keras_resnet.devices import distribute
from keras_resnet.devices.precision import be_deterministic
from keras_resnet.models import resnet
from keras_resnet.runs.evaluate import has_classes
from keras_resnet.runs.load import load
from keras_resnet.training import batch_norm
from keras_resnet.training.distillation import with_teacher
from keras_resnet.training.fit import compile_model
from keras_resnet.training.steps import trainer
from keras_resnet.weights.load import load_weights

# What of a teacher's preprocessing must be the student's.
COLOURS = ("channels", "mean", "std", "channel_order")


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
    if job.request.deterministic:
        be_deterministic()
    keras.utils.set_random_seed(job.request.seed)
    shape = job.shape
    if job.recipe.image_sizes:  # One after the other, of one network.
        shape = resnet.with_channels((None, None), job.preprocessing.channels)
    network = resnet.build(job.spec, input_shape=shape, classes=job.classes)
    if job.request.weights is not None:
        known = load_weights(
            network,
            job.request.weights,
            job.spec,
            network=job.spec.name,
            new_classifier=True,
        )
        job = replace(job, preprocessing=as_weights_want(job.preprocessing, known))
    if job.request.sync_batch_norm:
        batch_norm.synchronize(network, True)
    else:
        network = batch_norm.fused(network)
    if job.request.freeze is not None:
        resnet.freeze(network, job.request.freeze)
    teacher, job = _teacher(job)
    model = network
    if teacher is not None:
        model = with_teacher(network, teacher, job.recipe.distillation.temperature)
    model = trainer(model, job.hardware, xla=job.xla, accumulate=job.request.accumulate)
    compile_model(
        model,
        job.recipe,
        xla=job.xla,
        steps_per_execution=job.request.steps_per_execution,
    )
    return job, network, model


def _teacher(job):
    """The teacher, for images of any size, and the job whose recipe says so."""
    wanted = job.recipe.distillation
    if job.request.teacher is None:
        if wanted is not None:
            raise ValueError(
                f"The recipe needs a teacher, a {wanted.teacher} trained on the same "
                "classes: give its folder as `teacher` (--teacher); `keras-resnet "
                "convert` makes one of published weights. Received: none."
            )
        return None, job
    teacher = load(job.request.teacher)
    network = teacher.record["network"]
    if wanted is not None and network != wanted.teacher:
        raise ValueError(
            f"The recipe's teacher must be a {wanted.teacher}. Received: "
            f"teacher={job.request.teacher!r}, a {network}."
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
            getattr(p, colour) for p in (teacher.preprocessing, job.preprocessing)
        )
        if theirs != ours:
            raise ValueError(
                "The teacher must see the same colours as the data has. Received: "
                f"{colour}={theirs!r}; the data has {ours!r}."
            )
    model = resnet.build(
        network_of(teacher.record),
        input_shape=resnet.with_channels((None, None), job.preprocessing.channels),
        classes=len(names),
    )
    model.set_weights(teacher.model.get_weights())
    distillation = wanted or Distillation(teacher=network)
    return model, replace(job, recipe=replace(job.recipe, distillation=distillation))


def as_weights_want(own, weights):
    """A run's preprocessing with the colours as the weights that it begins from want.

    Args:
        own: The `Preprocessing` of the data set.
        weights: That of published weights, or `None` where nothing is known of them.

    Returns:
        A `Preprocessing` of ``own``'s size. Greyscale images keep their own mean.
    """
    if weights is None or weights.channels != own.channels:
        return own
    return replace(
        own,
        mean=weights.mean,
        std=weights.std,
        channel_order=weights.channel_order,
        interpolation=weights.interpolation,
    )


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
        job.preprocessing,
        recipe,
        classes=job.classes,
        seed=job.request.seed,
        start_step=start,
        share=share,
    )


def batches_in_fit(job, start=0):
    """This worker's share of the batches from the update ``start`` on, for `fit`."""
    return distribute.placed(
        training_batches(job, start, share=job.share), job.hardware
    )


def validation_batches(job):
    """The validation images as `fit` sees them, and how many batches they are."""
    batch_size, count = job.validation_in_fit()
    batches = pipelines.evaluation_batches(
        job.splits.validation,
        job.preprocessing,
        batch_size=batch_size,
        one_hot=job.classes if job.recipe.soft_labels else None,
        share=job.share,
        keep=True,
    ).take(count)
    return distribute.placed(batches, job.hardware), count
