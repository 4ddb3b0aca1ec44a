"""Distillation: the added loss by hand, and a teacher that stays as it is."""

import keras
import numpy as np
import pytest

from keras_resnet.training import checkpoint
from keras_resnet.training.averaging import AverageWeights
from keras_resnet.training.callbacks import Steps
from keras_resnet.training.distillation import with_teacher


def net(classes=4, seed=0, dropout=0.0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(16)(inputs))
    x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_the_loss_is_the_labels_and_t_squared_times_the_teachers():
    # The teacher's dropout stays out of it.
    student, teacher = net(seed=1), net(seed=2, dropout=0.5)
    model = with_teacher(student, teacher, temperature=20.0)
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, 4, 8)
    logits = np.asarray(student(x, training=True))
    soft = log_softmax(np.asarray(teacher(x)) / 20)
    hard = -log_softmax(logits)[np.arange(8), y].mean()
    added = 400 * -(np.exp(soft) * log_softmax(logits / 20)).sum(-1).mean()
    assert float(model.train_on_batch(x, y)) == pytest.approx(hard + added, rel=1e-5)
    # Nothing is added in validation.
    logits = np.asarray(student(x))
    hard = -log_softmax(logits)[np.arange(8), y].mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(hard, rel=1e-5)


@pytest.mark.slow
def test_the_student_learns_and_the_teacher_does_not():
    student, teacher = net(seed=1), net(seed=2)
    model = with_teacher(student, teacher, temperature=20.0)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = [w.copy() for w in teacher.get_weights()]
    own = [w.copy() for w in student.get_weights()]
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    labels = np.asarray(teacher(x)).argmax(-1)
    model.fit(x, labels, batch_size=16, epochs=20, verbose=0)
    for a, b in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(student.get_weights(), own, strict=True))
    assert (np.asarray(student(x)).argmax(-1) == labels).mean() > 0.8


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match="must have the student's classes"):
        with_teacher(net(4), net(5), temperature=20.0)


def taught(teacher_seed=2):
    """A student in training with dropout, and its averages."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(16)(inputs))
    logits = keras.layers.Dense(4)(keras.layers.Dropout(0.5)(x))
    model = with_teacher(keras.Model(inputs, logits), net(seed=teacher_seed), 20.0)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    steps = Steps(8)
    return model, steps, AverageWeights(0.5, steps=steps, keep=False)


def fit(model, steps, averages, first, last):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6)).astype("float32"), rng.integers(0, 4, 32)
    steps.done = first
    own = slice(4 * first, 4 * last)
    callbacks = [steps, averages]
    model.fit(
        *(x[own], y[own]), batch_size=4, shuffle=False, verbose=0, callbacks=callbacks
    )


def test_the_student_alone_is_saved_averaged_and_gone_on_with(tmp_path):
    whole = taught()
    fit(*whole, 0, 8)
    model, steps, averages = taught()
    fit(model, steps, averages, 0, 5)
    checkpoint.save(tmp_path, model, {"average": averages.state()}, 5)
    student = len(model.variables) - len(net().variables)
    assert len(averages.averages) == student - 1  # Without the dropout's generator.
    with np.load(tmp_path / "step_00000005" / "variables.npz") as file:
        assert sum(name.startswith("model.") for name in file) == student

    other, steps, averages = taught()
    checkpoint.restore(tmp_path, other, {"average": averages})
    fit(other, steps, averages, 5, 8)
    for a, b in zip(other.variables, whole[0].variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(averages.averages, whole[2].averages, strict=True):
        np.testing.assert_array_equal(a, b)


def test_going_on_with_another_teacher_is_refused(tmp_path):
    model, steps, averages = taught()
    fit(model, steps, averages, 0, 1)
    checkpoint.save(tmp_path, model, {}, 1)
    with pytest.raises(ValueError, match="with the teacher that training goes on"):
        checkpoint.restore(tmp_path, taught(teacher_seed=3)[0], {})
