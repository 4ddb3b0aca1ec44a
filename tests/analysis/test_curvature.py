"""The top eigenvalue of the loss's Hessian."""

import keras
import numpy as np
import pytest

from keras_resnet.analysis.curvature import power_iteration, top_hessian_eigenvalue
from keras_resnet.analysis.differentiation import as_array, hessian_products
from tests.helpers.small_nets import data, shared_net


def quadratic(n=6, top=-8.0):
    """A symmetric matrix whose eigenvalues are known."""
    random = np.random.default_rng(0)
    q, _ = np.linalg.qr(random.normal(size=(n, n)))
    values = np.array([top, 3, 1, 0.5, 0, -2])
    return (q * values) @ q.T


def products_of(matrix):
    """Products with the Hessian of the quadratic form of a matrix, and its variables."""
    form = keras.ops.convert_to_tensor(matrix.astype("float32"))

    def function(values):
        x = keras.ops.concatenate([keras.ops.reshape(v, (-1,)) for v in values])
        return keras.ops.sum(x * keras.ops.matmul(form, x)) / 2

    product = hessian_products(function)
    at = [np.ones((2, 2), "float32"), np.zeros(2, "float32")]
    return lambda vectors: [as_array(one) for one in product(at, vectors)]


@pytest.mark.parametrize("top", [-8.0, 8.0])
def test_the_hessian_of_a_quadratic_is_exact(top):
    matrix = quadratic(top=top)
    product = products_of(matrix)
    columns = [
        np.concatenate([x.ravel() for x in product([one[:4].reshape(2, 2), one[4:]])])
        for one in np.eye(6, dtype="float32")
    ]
    np.testing.assert_allclose(columns, matrix, atol=2e-6)
    done = []
    found = power_iteration(
        product,
        [(2, 2), (2,)],
        tolerance=1e-6,
        seed=3,
        progress=lambda *n: done.append(n),
    )
    assert found["eigenvalue"] == pytest.approx(top, rel=1e-5)
    assert found["converged"] and found["change"] <= 1e-6
    assert found["residual"] < 2e-3
    assert found["iterations"] == len(found["estimates"]) == len(done) < 30
    assert done[-1] == (found["iterations"], 100)
    assert found["parameters"] == 6


def test_a_vector_that_ends_early_says_so():
    product = products_of(quadratic())
    first = power_iteration(product, [(2, 2), (2,)], most_iterations=2, seed=1)
    assert first["iterations"] == 2 and not first["converged"]
    assert first["change"] > first["tolerance"] == 1e-3
    again = power_iteration(product, [(2, 2), (2,)], most_iterations=2, seed=1)
    np.testing.assert_array_equal(first["estimates"], again["estimates"])
    other = power_iteration(product, [(2, 2), (2,)], most_iterations=2, seed=2)
    assert (first["estimates"] != other["estimates"]).all()


def test_no_curvature_is_zero():
    found = power_iteration(lambda vectors: [0 * one for one in vectors], [(3,)])
    assert (found["eigenvalue"], found["residual"]) == (0, 0)
    assert found["iterations"] == 1 and found["converged"]


def test_the_hessian_of_softmax_regression():
    # (1/n) sum of (diag p - p p') x x', with a 1 behind each x for the bias.
    random = np.random.default_rng(0)
    x = random.normal(size=(10, 4)).astype("float32")
    labels = np.arange(10) % 3
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    kernel = random.normal(size=(5, 3)).astype("float32")
    model.set_weights([kernel[:4], kernel[4]])
    rows = np.hstack([x, np.ones((10, 1))])
    powers = np.exp(rows @ kernel)
    p = powers / powers.sum(axis=1, keepdims=True)
    hessian = np.mean(
        [
            np.kron(np.outer(a, a), np.diag(b) - np.outer(b, b))
            for a, b in zip(rows, p, strict=True)
        ],
        axis=0,
    )
    expected = np.linalg.eigvalsh(hessian)[-1]
    found = top_hessian_eigenvalue(model, (x, labels), tolerance=1e-6, batch_size=4)
    assert found.eigenvalue == pytest.approx(expected, rel=1e-4)
    assert (found.images, found.parameters) == (10, 15)


def test_a_network_stays_as_it_is():
    model, (x, y) = shared_net(), data(4)
    before = model.get_weights()
    found = top_hessian_eigenvalue(model, (x, y), most_iterations=2)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert found.parameters == sum(
        w.size for w in map(np.asarray, model.trainable_variables)
    )
    assert np.isfinite(found.estimates).all() and found.iterations == 2


def test_what_does_not_fit_is_refused():
    model, (x, y) = shared_net(), data(4)
    with pytest.raises(ValueError, match="0 ... 4"):
        top_hessian_eigenvalue(model, (x, y + 4))
    with pytest.raises(ValueError, match="at least 1.*most_iterations=0"):
        top_hessian_eigenvalue(model, (x, y), most_iterations=0)
    with pytest.raises(ValueError, match="finite.*iteration 1"):
        power_iteration(lambda vectors: [np.nan * one for one in vectors], [(3,)])
    inputs = keras.Input((4,))
    frozen = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="frozen")
    frozen.trainable = False
    with pytest.raises(ValueError, match="trainable weights.*'frozen'"):
        top_hessian_eigenvalue(frozen, (x[:, 0, 0, :1].repeat(4, 1), y))
    frozen.trainable = True
    frozen.layers[1].bias.assign([0, np.nan, 0])
    with pytest.raises(ValueError, match="finite"):
        top_hessian_eigenvalue(frozen, (x[:, 0, 0, :1].repeat(4, 1), y))
