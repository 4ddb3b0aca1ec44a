"""Errors and loss, against numbers worked out another way."""

import keras
import numpy as np
import pytest

from keras_resnet.evaluation.calibration import fit_temperature, reliability
from keras_resnet.evaluation.metrics import (
    Metrics,
    evaluate,
    from_probabilities,
    predict,
)


def identity(classes, activation=None):
    """A model whose logits are its inputs."""
    inputs = keras.Input((classes,))
    return keras.Model(inputs, keras.layers.Activation(activation)(inputs))


def batched(values, labels, size):
    return [
        (values[start : start + size], labels[start : start + size])
        for start in range(0, len(values), size)
    ]


@pytest.fixture(scope="module")
def example():
    random = np.random.default_rng(0)
    logits = random.normal(size=(10, 8)).astype("float32")
    labels = random.integers(0, 8, size=10)
    labels[:3] = logits[:3].argmax(axis=1)  # Some are to be right.
    return logits, labels


def test_agrees_with_keras_and_counts_a_short_batch_rightly(example):
    logits, labels = example
    metrics = evaluate(identity(8), batched(logits, labels, 4))
    loss, top5 = map(
        keras.ops.convert_to_numpy,
        (
            keras.losses.sparse_categorical_crossentropy(labels, logits, True),
            keras.metrics.sparse_top_k_categorical_accuracy(labels, logits, k=5),
        ),
    )
    assert metrics.n == 10
    assert metrics.loss == pytest.approx(loss.mean(), rel=1e-5)
    assert metrics.top1_error == 100 * np.mean(logits.argmax(1) != labels)
    assert metrics.top5_error == pytest.approx(100 * (1 - top5.mean()))
    assert 0 < metrics.top5_error < metrics.top1_error < 100


def test_batch_size_does_not_matter(example):
    logits, labels = example
    whole = evaluate(identity(8), [(logits, labels)])
    parts = evaluate(identity(8), batched(logits, labels, 3))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    assert (parts.top1_error, parts.top5_error) == (whole.top1_error, whole.top5_error)


def test_predictions_are_measured_as_the_model_that_made_them(example):
    batches = batched(*example, 4)
    probabilities, labels = predict(identity(8), batches)
    found, expected = (
        from_probabilities(probabilities, labels),
        evaluate(identity(8), batches),
    )
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert (found.top1_error, found.top5_error, found.n) == (
        expected.top1_error,
        expected.top5_error,
        expected.n,
    )
    assert found.accuracy == 100 - found.top1_error


def test_predictions_that_do_not_fit_their_labels_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        from_probabilities(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ValueError, match="must be integers, one per image"):
        from_probabilities(np.full((2, 2), 0.5), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"must lie in 0 \.\.\. 1"):
        from_probabilities(np.full((2, 2), 0.5), np.array([0, 2]))


@pytest.mark.parametrize("measure", [from_probabilities, reliability, fit_temperature])
def test_logits_are_no_probabilities(measure):
    for wrong in ([[5.0, 3.0], [0.0, 1.0]], [[1.5, -0.5], [0.0, 1.0]]):
        with pytest.raises(ValueError, match="with a sum of 1.*take the softmax first"):
            measure(np.array(wrong), np.array([0, 1]))
    thousand = np.full((3, 1000), 0.001, "float16")  # What half precision makes of it.
    assert from_probabilities(thousand, np.arange(3)).n == 3


def test_probabilities_and_logits_give_the_same(example):
    logits, labels = example
    batches = batched(logits, labels, 5)
    by_logits = evaluate(identity(8), batches)
    by_softmax = evaluate(identity(8, "softmax"), batches, from_logits=False)
    assert by_softmax.loss == pytest.approx(by_logits.loss, rel=1e-5)


ENDS = {
    "activation": lambda x: keras.layers.Activation("softmax")(x),
    "layer": lambda x: keras.layers.Softmax()(x),
    "operation": lambda x: keras.ops.softmax(x),
    "dense": lambda x: keras.layers.Dense(8, activation=keras.ops.softmax)(x),
    "nested": lambda x: identity(8, "softmax")(x),
    "sequential": lambda x: keras.Sequential([keras.layers.Softmax()])(x),
    # As of networks in mixed precision.
    "float32": lambda x: keras.layers.Activation("linear")(keras.ops.softmax(x)),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_softmax_is_not_taken_for_logits(end, example):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, ENDS[end](inputs))
    with pytest.raises(ValueError, match="or `from_logits` must be False.*a softmax"):
        evaluate(model, batched(*example, 5))
    assert evaluate(model, batched(*example, 5), from_logits=False).n


class Gated(keras.Model):
    """Gives logits; what it made last is a softmax."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(8)
        self.gate = keras.layers.Dense(8, "softmax")

    def call(self, x):
        return self.head(x) * self.gate(x)


class Bare(keras.Model):
    """Has no layers."""

    def call(self, x):
        return x


def test_of_subclassed_models_nothing_is_refused(example):
    inputs = keras.Input((8,))
    around = keras.Model(inputs, Bare()(inputs))
    for model in (Gated(), Bare(), around):
        assert evaluate(model, batched(*example, 5)).n


def test_a_dense_layer_without_activation_gives_no_probabilities(example):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(8)(inputs))
    with pytest.raises(ValueError, match="or `from_logits` must be True"):
        evaluate(model, batched(*example, 5), from_logits=False)
    shares = keras.Model(inputs, keras.layers.Dense(8, "sigmoid")(inputs))
    with pytest.raises(ValueError, match="must give probabilities.*sums from"):
        evaluate(shares, batched(*example, 5), from_logits=False)


def test_large_logits_neither_overflow_nor_give_an_infinite_loss():
    logits = np.array([[2000.0, 0.0], [0.0, 2000.0]], "float32")
    metrics = evaluate(identity(2), [(logits, np.array([0, 0]))])
    assert metrics == Metrics(top1_error=50.0, top5_error=None, loss=1000.0, n=2)


@pytest.mark.parametrize(("classes", "top5"), [(4, None), (5, None), (6, 100 / 6)])
def test_five_classes_have_no_top5_error(classes, top5):
    logits = np.arange(classes)[None] * np.ones((classes, 1), "float32")
    metrics = evaluate(identity(classes), [(logits, np.arange(classes))])
    assert metrics.top5_error == (top5 and pytest.approx(top5))
    probabilities = np.full((classes, classes), 1 / classes)
    found = from_probabilities(probabilities, np.arange(classes))
    assert (found.top5_error is None) == (top5 is None)


def test_equal_logits_are_no_hit_for_every_class():
    logits = np.zeros((10, 10), "float32")
    metrics = evaluate(identity(10), [(logits, np.arange(10))])
    assert (metrics.top1_error, metrics.top5_error) == (90.0, 50.0)


def test_predict_gives_probabilities_in_order(example):
    logits, labels = example
    probabilities, predicted = predict(identity(8), batched(logits, labels, 4))
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    np.testing.assert_array_equal(predicted, labels)
    assert (probabilities.dtype, predicted.dtype) == ("float32", "int64")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_model_is_an_error(value):
    logits = np.array([[0.0, 1.0], [value, 0.0]], "float32")
    with pytest.raises(ValueError, match="1 of 2 images"):
        evaluate(identity(2), [(logits, np.array([0, 1]))])


@pytest.mark.parametrize(
    "labels", [np.array([0, 8]), np.array([-1, 0]), np.eye(2), np.zeros(2)]
)
def test_labels_that_do_not_fit_are_an_error(labels):
    with pytest.raises(ValueError, match="Labels must"):
        evaluate(identity(8), [(np.zeros((2, 8), "float32"), labels)])


def test_logits_taken_for_probabilities_are_an_error():
    logits = np.array([[-3.0, 3.0]], "float32")
    with pytest.raises(ValueError, match="from_logits=False"):
        evaluate(identity(2), [(logits, np.array([1]))], from_logits=False)


def test_no_images_are_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(identity(2), [])
    empty = [(np.zeros((0, 2), "float32"), np.zeros(0, int))]
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(identity(2), empty)
