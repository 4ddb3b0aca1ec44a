"""The smoke twin of every recipe trains: four updates with all that the recipe says.

Networks are cut to two blocks a stage and a quarter of the width, so that they
take seconds each: what they are is the matter of test_resnet.py. Most train eagerly, some
compiled, one the whole way. One of each kind is in every run of CI.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_resnet
from keras_resnet import reproduce
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import sources
from keras_resnet.data.images import normalize
from keras_resnet.devices.find import find_devices
from keras_resnet.runs import build as building
from keras_resnet.runs.build import build, data_of, scope
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import settle
from keras_resnet.training.fit import fit
from keras_resnet.training.history import read_history
from tests.helpers.cut import cut
from tests.helpers.smoke import smoke

SIDE = 64  # Of large images, so that the deepest nets take seconds as well.


def random_splits(dataset, train=12):
    """Images of a data set's kind, some of them held as JPEG files."""
    spec = DATASETS[dataset]
    rng = np.random.default_rng(0)

    def examples(n):
        side, channels = 80, spec.preprocessing.channels
        if spec.storage == "pixels":
            side = spec.preprocessing.size[0]
        images = rng.integers(0, 256, (n, side, side, channels), "uint8")
        labels = rng.integers(0, spec.classes, n).astype("int32")
        if spec.storage == "pixels":
            return sources.Examples(images, labels)
        encoded = [tf.io.encode_jpeg(image).numpy() for image in images]
        return sources.Examples(np.array(encoded, dtype=object), labels)

    names = tuple(map(str, range(spec.classes)))
    parts = examples(train), examples(4), examples(4)
    return sources.Splits(*parts, names, name=dataset, version="", sha256="")


def small(recipe):
    """The twin, on small images, with a rate that so small batches bear."""
    schedule = replace(recipe.schedule, learning_rate=0.01)
    recipe = replace(smoke(replace(recipe, schedule=schedule)), batch_size=2)
    if DATASETS[recipe.dataset].storage == "pixels":
        return recipe
    prepare = recipe.preprocessing or DATASETS[recipe.dataset].preprocessing
    prepare = replace(prepare, resize=SIDE, size=(SIDE, SIDE))
    sizes = tuple(
        (share, 48 + 16 * i) for i, (share, _) in enumerate(recipe.image_sizes)
    )
    return replace(recipe, preprocessing=prepare, image_sizes=sizes)


# One of each kind whose compiled step differs.
COMPILED = (
    "resnet110_cifar10",  # Warm-up until the error falls.
    "resnet50_tv2_imagenet",  # Smoothing, mixing, and averages of weights.
)
# The same, in shards, since they take 20 seconds each. Their parts are in other twins.
LATER = (
    "imagenette_fast",  # Sizes that change, smoothing.
    "resnet50d_distill_imagenet",
)
# Precise batch norm, on the way from the trained network to the saved one.
WHOLE = "resnet18_imagenet"


def parts(recipe):
    """What makes a recipe's batches, updates and network others than another's."""
    return (
        DATASETS[recipe.dataset].storage,
        type(recipe.schedule),
        recipe.warmup_learning_rate is not None,
        recipe.nesterov,
        recipe.decay_all,
        recipe.zero_gamma,
        recipe.label_smoothing > 0,
        type(recipe.augmentation),
        recipe.rand_augment is not None,
        recipe.erasing > 0,
        tuple(map(type, recipe.mixing)),
        bool(recipe.image_sizes),
        recipe.average is not None,
        recipe.precise_batch_norm > 0,
        recipe.distillation is not None,
        recipe.dropout > 0,
        recipe.mean,
    )


def covering(rows, chosen):
    """Names of rows: these, and as many as have each part of the others once."""
    chosen = list(chosen)
    left = set().union(*rows.values()).difference(*map(rows.get, chosen))
    while left:
        chosen.append(max(rows, key=lambda name: len(left & rows[name])))
        left -= rows[chosen[-1]]
    return chosen


PARTS = {name: set(enumerate(parts(recipe))) for name, recipe in RECIPES.items()}
KINDS = covering(PARTS, (*COMPILED, WHOLE))
EACH = [
    pytest.param(
        name, marks=pytest.mark.slow if name in KINDS else pytest.mark.exhaustive
    )
    for name in RECIPES
    if name not in (*COMPILED, WHOLE)
]


@pytest.fixture
def twin(monkeypatch):
    """A function that puts a recipe's twin into the tables, and gives its options."""

    def put(name):
        recipe = small(RECIPES[name])
        splits = random_splits(recipe.dataset)
        monkeypatch.setattr(sources, "load", lambda name, data_dir=None: splits)
        monkeypatch.setitem(RECIPES, name, recipe)
        for network in {recipe.network, "resnet152d"}:
            smaller = cut(ARCHITECTURES[network], narrower=4)
            monkeypatch.setitem(ARCHITECTURES, network, smaller)
        options = {"precision": "float32", "devices": "cpu"}
        if recipe.distillation:
            run = teacher(recipe, splits)
            monkeypatch.setattr("keras_resnet.runs.build.load", lambda folder: run)
            options["teacher"] = "a folder"
        return options

    return put


def train(name, options, folder, eagerly):
    hardware = find_devices("cpu")
    job = settle(TrainRequest(recipe=name, **options), hardware)
    with scope(job):
        job, network, model = build(job)
        model.run_eagerly = eagerly
        before = network.get_weights()
        fit(
            model,
            job.recipe,
            data_of(job),
            folder,
            devices=hardware,
            verbose=0,
        )
    check(RECIPES[name], folder, before, network.get_weights())


def check(recipe, folder, before, after):
    rows = read_history(folder / "history.csv")
    assert [row["step"] for row in rows] == [2, 4]
    assert all(np.isfinite(row["loss"]) for row in rows)
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    # Behind a last gamma of 0, the first updates leave some kernels as they are.
    assert np.mean(moved) > (0.3 if recipe.zero_gamma else 0.9)


@pytest.mark.parametrize("name", EACH)
def test_the_smoke_twin_trains(name, twin, tmp_path):
    # Tracing takes longer than four updates.
    train(name, twin(name), tmp_path, eagerly=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*COMPILED, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in LATER)],
)
def test_the_compiled_step_trains(name, twin, tmp_path):
    train(name, twin(name), tmp_path, eagerly=False)


@pytest.mark.slow
def test_the_whole_way_to_export_and_record(twin, tmp_path, monkeypatch):
    options = twin(WHOLE)
    built = []

    def noted(job):
        job, network, model = build(job)
        built[:] = network, network.get_weights()
        return job, network, model

    monkeypatch.setattr(building, "build", noted)
    folder = reproduce.train(WHOLE, output_dir=tmp_path, verbose=0, **options)
    network, before = built
    run = keras_resnet.load(folder)
    check(RECIPES[WHOLE], folder, before, run.model.get_weights())
    # Statistics are taken anew, all else is as it was trained.
    pairs = zip(network.weights, run.model.weights, strict=True)
    differ = {a.name for a, b in pairs if not np.array_equal(a.numpy(), b.numpy())}
    assert differ == {"moving_mean", "moving_variance"}

    assert run.record["steps"] == 4
    assert np.isfinite(run.record["test"]["loss"])
    images = np.random.default_rng(1).integers(
        0, 256, (2, *run.model.input_shape[1:]), "uint8"
    )
    served = tf.saved_model.load(folder / "saved_model" / "1").signatures["images"]
    np.testing.assert_allclose(
        served(images=tf.constant(images))["scores"],
        tf.nn.softmax(run.model(normalize(images, run.preprocessing))),
        atol=1e-5,
    )


def teacher(recipe, splits):
    """A run of the recipe's teacher, with random weights."""
    from keras_resnet.applications import create
    from keras_resnet.runs.load import Run

    prepare = recipe.preprocessing
    model = create(
        recipe.distillation.teacher,
        classes=len(splits.class_names),
        input_shape=(*prepare.size, 3),
    )
    record = {"network": recipe.distillation.teacher}
    return Run(model, splits.class_names, prepare, record, None)


@pytest.fixture(autouse=True)
def forget():
    yield
    keras.backend.clear_session()
