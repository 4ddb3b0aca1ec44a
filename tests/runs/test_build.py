"""What is settled and built from a request, before anything is written."""

import json
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from keras_resnet.config.adapted import with_steps
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.recipe import Distillation
from keras_resnet.config.recipes import RECIPES
from keras_resnet.data import sources
from keras_resnet.devices.find import Devices
from keras_resnet.devices.precision import computing_in
from keras_resnet.models import resnet
from keras_resnet.runs.build import (
    build,
    scope,
    stages,
    training_batches,
    validation_batches,
)
from keras_resnet.runs.convert import own_state
from keras_resnet.runs.load import Run
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import as_begun, settle
from keras_resnet.weights.conventions import FORMATS
from keras_resnet.weights.to_torch import named_arrays
from tests.helpers.cut import cut
from tests.helpers.small_splits import small_splits
from tests.helpers.weight_files import assert_same_weights

ONE = Devices("cpu", ("cpu:0",))
TWO = Devices("cpu", ("cpu:0", "cpu:1"))
RESNET20 = ARCHITECTURES["resnet20"]


@pytest.fixture(scope="module", autouse=True)
def small_world():
    """Few images, and a recipe for them on a network of one block a stage."""
    patch = pytest.MonkeyPatch()
    splits = small_splits()
    patch.setattr(sources, "load", lambda name, data_dir=None: splits)
    small = with_steps(replace(RECIPES["quickstart"], batch_size=16), 12)
    patch.setitem(RECIPES, "quickstart", small)
    shallow = cut(ARCHITECTURES["resnet20"], repeats=1)
    patch.setitem(ARCHITECTURES, "resnet20", shallow)
    yield
    patch.undo()


def settled(hardware=ONE, **options):
    return settle(TrainRequest(**options), hardware)


def test_stages_are_the_updates_of_one_image_size():
    recipe = RECIPES["imagenette_fast"]
    assert stages(recipe) == [
        (0, 896, 64),
        (896, 1568, 96),
        (1568, 2240, 128),
    ]
    assert stages(with_steps(recipe, 2)) == [(0, 1, 64), (1, 2, 96)]
    assert stages(RECIPES["quickstart"]) == [(0, 12, None)]
    assert stages(recipe, 1000) == [(1000, 1568, 96), (1568, 2240, 128)]


def test_what_is_settled_is_the_recipe_on_this_machine():
    job = settled()
    assert (job.name, job.precision, job.xla) == ("quickstart", "float32", False)
    assert (job.classes, job.shape, job.micro_batch) == (10, (28, 28, 1), 16)
    assert job.overrides == {}
    other = settled(TWO, accumulate=2, seed=3, learning_rate=0.5)
    assert (other.request.seed, other.micro_batch) == (3, 4)
    assert other.overrides == {"accumulate": 2, "learning_rate": 0.5}
    assert other.recipe.schedule.learning_rate == 0.5


def test_dropout_and_last_gammas_are_the_recipes(monkeypatch):
    recipe = replace(RECIPES["quickstart"], network="wide_resnet16_4", dropout=0.3)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    assert settled().spec.dropout == 0.3
    recipe = replace(RECIPES["quickstart"], network="resnet20", dropout=0.0)
    monkeypatch.setitem(RECIPES, "quickstart", replace(recipe, zero_gamma=True))
    assert settled().spec.zero_gamma


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"steps": 8}, {"precision": "mixed_bfloat16"}], ids=str
)
def test_settings_tell_one_run_from_another(change):
    assert settled().settings() == settled().settings()
    assert settled(**change).settings() != settled().settings()


def test_notes_say_what_is_done_otherwise():
    assert settled().notes() == list(RECIPES["quickstart"].deviations)
    notes = " ".join(
        settled(TWO, accumulate=2, batch_size=12, precision="mixed_bfloat16").notes()
    )
    assert "over 6 images, each device's share, instead of 12" in notes
    assert "over micro-batches, 2 of each" in notes
    assert "Training computes in mixed_bfloat16" in notes
    assert "batch_size=12 was asked for." in notes
    # 32 validation images are no multiple of three devices.
    three = Devices("cpu", tuple(f"cpu:{n}" for n in range(3)))
    notes = " ".join(settled(three, batch_size=15, sync_batch_norm=True).notes())
    assert "sees 30 of 32 images, which divide among the devices" in notes
    assert "each device's share, instead" not in notes


def test_a_run_goes_on_as_it_began():
    begun = {"precision": "mixed_bfloat16", "xla": True}
    job = settled()
    other = as_begun(job, begun)
    assert (other.precision, other.xla) == ("mixed_bfloat16", True)
    assert as_begun(job, {}) == job
    # What is asked for is not changed.
    wanted = settled(precision="float32", xla="off")
    assert as_begun(wanted, begun) == wanted
    with pytest.raises(ValueError, match="began with precision='mixed_float16' and"):
        as_begun(job, {"precision": "mixed_float16"})


def test_a_run_is_built_alike_whatever_keras_is_told(keras_is_told):
    def decided():
        with scope(job := settled()):
            _, network, model = build(job)
        model.optimizer.build(model.trainable_variables)
        parts = [model.loss, *model.metrics, *model.optimizer.variables]
        return [
            network.get_config(),
            [part.dtype for part in parts],
            [layer.dtype_policy.name for layer in network.layers],
        ]

    expected = decided()
    keras_is_told()
    told = decided()
    # Its name counts the networks that were built.
    assert told[0].pop("name") and expected[0].pop("name")
    assert told == expected
    assert keras.config.floatx() == "float16"  # As it was told.


def test_a_policy_holds_inside_alone():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(ZeroDivisionError), computing_in("float64"):
            assert keras.config.dtype_policy().name == "float64"
            raise ZeroDivisionError
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_the_seed_decides_the_weights():
    def weights(seed):
        with scope(job := settled(seed=seed)):
            return build(job)[1].get_weights()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_a_network_that_sees_several_sizes_is_built_for_any(monkeypatch):
    recipe = replace(RECIPES["quickstart"], image_sizes=((0, 16), (0.5, 24)))
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    job = settled()
    with scope(job):
        _, network, model = build(job)
    assert network.input_shape == (None, None, None, 1)
    assert model is network  # Keras's own training step does.


def of_teacher(monkeypatch, network, classes=None):
    """Puts a trained network in the place of every folder."""
    job = settled()
    names = job.splits.class_names
    model = keras.Sequential([keras.Input(job.shape)])
    run = Run(model, classes or names, job.preprocessing, {"network": network}, None)
    monkeypatch.setattr("keras_resnet.runs.build.load", lambda folder: run)


@pytest.mark.parametrize(
    ("network", "classes", "message"),
    [
        ("resnet32", None, "must be a resnet56.*a resnet32"),
        ("resnet56", ("cat", "dog"), "must know the data's classes.*Received: 2,"),
    ],
)
def test_a_teacher_must_fit(monkeypatch, network, classes, message):
    of_teacher(monkeypatch, network, classes)
    wanted = Distillation(teacher="resnet56")
    recipe = replace(RECIPES["quickstart"], distillation=wanted)
    monkeypatch.setitem(RECIPES, "quickstart", recipe)
    with pytest.raises(ValueError, match="needs a teacher, a resnet56"):
        build(settled())
    with pytest.raises(ValueError, match=message):
        build(settled(teacher="a folder"))


def test_batches_are_the_recipes_from_any_update_on():
    job = settled()
    labels = [labels for _, labels in training_batches(job).as_numpy_iterator()]
    assert [len(batch) for batch in labels] == [16] * 12
    tail = training_batches(job, start=9).as_numpy_iterator()
    for (_, found), expected in zip(tail, labels[9:], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert training_batches(job, steps=5).cardinality() == 5
    shares = [training_batches(job, share=(n, 2), steps=1) for n in (0, 1)]
    halves = [next(share.as_numpy_iterator())[1] for share in shares]
    np.testing.assert_array_equal(np.concatenate(halves), labels[0])


def test_validation_sees_all_images_on_one_device():
    batches, count = validation_batches(settled())
    labels = [labels for _, labels in batches.as_numpy_iterator()]
    assert count == len(labels) == 2
    assert sum(map(len, labels)) == 32


# --- First weights ----------------------------------------------------------------


def with_weights(path):
    job = settled(weights=path)
    with scope(job):
        return build(job)


@pytest.mark.slow
def test_training_begins_with_the_weights_of_a_run(tmp_path):
    """Of a run's folder, or one that convert wrote, with its preprocessing."""
    spec = ARCHITECTURES["resnet20"]
    network = resnet.build(spec, input_shape=(28, 28, 1), classes=10, name="resnet20")
    prepared = replace(settled().preprocessing, mean=(7.0,), std=(3.0,))
    network.save(tmp_path / "model.keras")
    told = {
        "network": "resnet20",
        "preprocessing": prepared.as_json(),
        "classes": [str(number) for number in range(10)],
    }
    for name in ("record.json", "source.json"):
        (tmp_path / name).write_text(json.dumps(told))
        job, model, _ = with_weights(tmp_path)
        assert (job.preprocessing.mean, job.preprocessing.std) == ((7.0,), (3.0,))
        assert job.recipe.deviations == settled().recipe.deviations
        assert_same_weights(model, network)


def test_errors_about_weights_name_the_network_that_was_asked_for(tmp_path):
    """And not what Keras calls the model that is to be filled, "functional"."""
    deeper = cut(RESNET20, repeats=2)
    other = resnet.build(deeper, input_shape=(28, 28, 1), classes=10)
    other.save(tmp_path / "w.keras")
    other.save_weights(tmp_path / "named.weights.h5")
    other.save_weights(tmp_path / "nameless.weights.h5")
    with h5py.File(tmp_path / "nameless.weights.h5", "r+") as file:
        for layer in file["layers"].values():  # As at the beginning of Keras 3.
            layer["vars"].attrs.pop("name", None)
    np.savez(tmp_path / "own.npz", **own_state(other))
    theirs = named_arrays(other, deeper, FORMATS["torchvision"])
    theirs["conv1.weight"] = theirs["conv1.weight"][..., :2]
    np.savez(tmp_path / "torch.npz", **theirs)
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError) as error:
            with_weights(file)
        assert "'resnet20'" in str(error.value), file
        assert "functional" not in str(error.value), file


def test_a_preprocessing_that_is_assumed_is_said_and_recorded(tmp_path):
    spec = ARCHITECTURES["resnet20"]
    network = resnet.build(spec, input_shape=(28, 28, 1), classes=10, name="resnet20")
    network.save(tmp_path / "w.keras")
    with pytest.warns(UserWarning, match="doesn't tell .* assumed is that of the data"):
        job, _, _ = with_weights(tmp_path / "w.keras")
    assert job.preprocessing == settled().preprocessing
    assert job.recipe.deviations[-1] == (
        "preprocessing of the first weights: assumed, that of the data"
    )
