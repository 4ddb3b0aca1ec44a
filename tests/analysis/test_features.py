"""Features, their similarity by linear CKA, and their embeddings."""

import importlib.util
import sys

import keras
import numpy as np
import pytest

from keras_resnet.analysis.embeddings import embed
from keras_resnet.analysis.features import cka_by_layer, linear_cka, network_features
from tests.helpers.reference import called
from tests.helpers.small_nets import data, shared_net


def test_features_are_what_the_classifier_takes():
    model, (x, _) = shared_net(), data(5)
    found = network_features(model, x, batch_size=3)
    assert found.shape == (5, 8) and found.dtype == "float32"
    logits = model.get_layer("logits")
    expected = found @ np.asarray(logits.kernel) + np.asarray(logits.bias)
    np.testing.assert_allclose(called(model, x), expected, atol=1e-4)
    # The layer by its name, pooled and flat.
    last = model.layers[-3].name
    np.testing.assert_allclose(network_features(model, x, layer=last), found, rtol=1e-5)
    flat = network_features(model, x, layer=last, pooled=False)
    mean = flat.reshape(5, 16, 8).mean(axis=1)
    np.testing.assert_allclose(mean, found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 5), (6, 20)])
def test_rotations_and_scales_do_not_change_cka(shape):
    random = np.random.default_rng(0)
    x = random.normal(size=shape) + 3
    q, _ = np.linalg.qr(random.normal(size=(shape[1], shape[1])))
    assert linear_cka(x, x @ q) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, 1e-7 * x + 5) == pytest.approx(1, abs=1e-7)
    other = random.normal(size=shape)
    assert linear_cka(x, other) == pytest.approx(linear_cka(other, x), abs=1e-12)
    assert linear_cka(x, other) < 0.95


def test_cka_by_hand():
    # Kornblith et al. 2019, eq. 3 and 4, with K and L centred.
    x, y = np.array([[1.0], [0], [-1]]), np.array([[1.0, 0], [0, 1], [-1, 1]])
    h = np.eye(3) - 1 / 3
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-12)
    wide = np.hstack([y, np.zeros((3, 5))])
    assert linear_cka(x, wide) == pytest.approx(expected, abs=1e-12)
    # What varies with nothing of the other.
    assert linear_cka(x, [[1], [-2], [1]]) == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_layers_of_a_network_and_of_another():
    model, other, (x, _) = shared_net(), shared_net("preactivation"), data(6)
    own = cka_by_layer(model, model, x)
    additions = [one.name for one in model.layers if isinstance(one, keras.layers.Add)]
    assert own.layers == own.other_layers == tuple(additions)
    np.testing.assert_allclose(np.diag(own.cka), 1, atol=1e-12)
    np.testing.assert_allclose(own.cka, own.cka.T, atol=1e-12)
    both = cka_by_layer(model, other, x, layers=additions[-1:], other_images=x)
    assert both.cka.shape == (1, 4) and len(both.other_layers) == 4
    rows = [
        network_features(one, x, layer=name, pooled=False)
        for one, name in ((model, additions[-1]), (other, both.other_layers[1]))
    ]
    assert both.cka[0, 1] == pytest.approx(linear_cka(*rows), abs=1e-6)


def test_features_that_do_not_fit_are_refused():
    model, (x, _) = shared_net(), data(4)
    with pytest.raises(ValueError, match="name of a layer.*'conv9'"):
        network_features(model, x, layer="conv9")
    with pytest.raises(ValueError, match=r"shape of the model's input.*\(2, 9, 8, 3\)"):
        network_features(model, np.zeros((2, 9, 8, 3)))
    maps = keras.Model(model.input, model.layers[-3].output, name="maps")
    with pytest.raises(ValueError, match="dense layer.*'maps'"):
        network_features(maps, x)
    y = np.arange(8.0).reshape(4, 2)
    for wrong, said in [
        (y[:1], "2 images at least"),
        (y * np.nan, "NaN"),
        (y[:3], "same images.*3 and 4 rows"),
        (np.full((4, 2), 0.1), "`features` that are all the same"),
    ]:
        with pytest.raises(ValueError, match=said):
            linear_cka(wrong, y)
    with pytest.raises(ValueError, match="2 at least.*4 and 3"):
        cka_by_layer(model, model, x, other_images=x[:3])
    inputs = keras.Input((4,))
    dense = keras.Model(inputs, keras.layers.Dense(3)(inputs), name="dense")
    with pytest.raises(ValueError, match="additions or convolutions.*'dense'"):
        cka_by_layer(dense, dense, np.ones((2, 4)))


def groups():
    """Features in three groups far apart, and the groups."""
    random = np.random.default_rng(0)
    groups = np.repeat(range(3), 12)
    return 10 * random.normal(size=(3, 20))[groups] + random.normal(
        size=(36, 20)
    ), groups


@pytest.mark.parametrize(
    ("method", "module"),
    [
        pytest.param("tsne", "sklearn", marks=pytest.mark.slow),
        # Compiles for ten seconds and more.
        pytest.param("umap", "umap", marks=pytest.mark.exhaustive),
    ],
)
def test_groups_stay_together_in_the_plane(method, module, request):
    if method == "umap" and importlib.util.find_spec("torchvision") is not None:
        request.getfixturevalue("torchvision")  # UMAP imports it, with its operators.
    pytest.importorskip(module, reason="needs pip install '.[analysis]'")
    rows, expected = groups()
    found = embed(rows, method, seed=1)
    assert found.points.shape == (36, 2) and found.neighbors == 11
    assert found.library.split()[0] in ("scikit-learn", "umap-learn")
    distances = np.linalg.norm(found.points[:, None] - found.points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(expected[distances.argmin(axis=1)], expected)
    again = embed(rows, method, seed=1)
    np.testing.assert_array_equal(again.points, found.points)


@pytest.mark.parametrize(
    ("method", "module", "said"),
    [("tsne", "sklearn", "t-SNE"), ("umap", "umap", "UMAP")],
)
def test_a_library_that_is_missing_is_named(monkeypatch, method, module, said):
    monkeypatch.setitem(sys.modules, module, None)
    message = f"{said} needs {module}, which is not installed: .*'.\\[analysis\\]'"
    with pytest.raises(ImportError, match=message):
        embed(groups()[0], method)


def test_embeddings_that_cannot_be_are_refused():
    rows, _ = groups()
    with pytest.raises(ValueError, match="'tsne' or 'umap'.*'pca'"):
        embed(rows, "pca")
    for wrong in (rows[:3], rows[0], rows * np.inf):
        with pytest.raises(ValueError, match="4 images at least"):
            embed(wrong)
    with pytest.raises(ValueError, match="from 2 to 35.*neighbors=36"):
        embed(rows, neighbors=36)
    with pytest.raises(ValueError, match="not be the same for all images"):
        embed(np.ones((20, 5)))
