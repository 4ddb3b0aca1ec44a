"""Views of photographs by a protocol, and what networks say of them."""

import io
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnet import applications
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.protocols import PROTOCOLS, Protocol
from keras_resnet.data.examples import Examples
from keras_resnet.data.images import normalize, prepare, resize_and_crop
from keras_resnet.devices.precision import computing_in
from keras_resnet.evaluation.crops import batches_of_views, views
from keras_resnet.evaluation.metrics import predict
from keras_resnet.evaluation.resized import at_size, fully_convolutional
from keras_resnet.evaluation.views import Views, predict_views
from tests.helpers.cut import cut

P = Preprocessing(
    channels=3, resize=40, size=(32, 32), mean=(120.0, 110.0, 100.0), std=(60.0,) * 3
)
SIZES = ((60, 45), (40, 52), (47, 47), (45, 60), (33, 71))
TEN = Protocol(scales=(40,), crops=10, source="test")
DENSE = Protocol(scales=(36, 48), crops=2, dense=True, source="test")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photographs():
    files = [png(noise(*size, seed)) for seed, size in enumerate(SIZES)]
    return Examples(np.array(files, dtype=object), np.arange(len(SIZES), dtype="int32"))


@pytest.fixture(scope="module")
def network():
    """For 32x32, with weights that tell images apart."""
    keras.utils.set_random_seed(0)
    return applications.create("resnet20", classes=5)


def predicted(model, photographs, protocol, preprocessing=P, batch_size=16):
    batches = batches_of_views(
        photographs, preprocessing, protocol, batch_size=batch_size
    )
    return predict_views(model, batches, photographs.size, average=protocol.average)


def test_one_crop_is_the_preprocessing(photographs):
    for protocol in (PROTOCOLS["single_crop"], Protocol(scales=(40,), source="test")):
        for file in photographs.images:
            (cut,) = views(_decoded(file), P, protocol)
            np.testing.assert_array_equal(cut[0], prepare(file, P))


def _decoded(file):
    return np.asarray(Image.open(io.BytesIO(file)))


def test_ten_crops_are_four_corners_the_centre_and_their_mirror_images():
    image = noise(40, 53)  # 13 columns are left: the centre's place is rounded.
    (cut,) = views(image, P, TEN)
    places = ((0, 0), (0, 21), (8, 0), (8, 21), (4, 10))
    for number, (top, left) in enumerate(places):
        for first, one in ((0, image), (5, image[:, ::-1])):
            expected = one[top : top + 32, left : left + 32]
            np.testing.assert_array_equal(cut[first + number], expected)


@pytest.mark.parity
@pytest.mark.parametrize("size", [(500, 375), (333, 500), (301, 403), (224, 271)])
def test_ten_crops_are_torchvisions(torchvision, size):
    from torchvision.transforms import Compose, Resize, TenCrop

    small = Image.fromarray(noise(size[1] // 9, size[0] // 9))
    image = small.resize(size, Image.Resampling.BICUBIC)
    theirs = Compose([Resize(256), TenCrop(224)])(image)
    preprocessing = replace(P, resize=256, size=(224, 224))
    (ours,) = views(np.asarray(image), preprocessing, PROTOCOLS["he2015_10crop"])
    for one, other in zip(ours, theirs, strict=True):
        difference = np.asarray(one, int) - np.asarray(other, int)
        assert np.abs(difference).max() <= 1


def test_ten_crops_are_the_mean_of_ten_single_predictions(network, photographs):
    for average in ("softmax", "logits"):
        protocol = replace(TEN, average=average)
        found, labels = predicted(network, photographs, protocol)
        assert labels.tolist() == list(range(5))
        for row, file in zip(found, photographs.images, strict=True):
            (cut,) = views(_decoded(file), P, protocol)
            logits = np.concatenate(
                [network.predict_on_batch(normalize(one[None], P)) for one in cut]
            )
            if average == "softmax":
                expected = keras.ops.softmax(logits)
                expected = np.mean(expected, axis=0)
            else:
                expected = keras.ops.softmax(np.mean(logits, axis=0))
            np.testing.assert_allclose(row, expected, atol=1e-6)


@pytest.mark.slow
def test_an_average_over_mirror_images_does_not_see_a_mirror(network, photographs):
    mirrored = [png(_decoded(file)[:, ::-1]) for file in photographs.images]
    mirrored = Examples(np.array(mirrored, dtype=object), photographs.labels)
    two = Protocol(scales=(40,), crops=2, source="test")
    for protocol in (two, TEN):
        before, after = (
            predicted(network, some, protocol) for some in (photographs, mirrored)
        )
        np.testing.assert_allclose(before[0], after[0], atol=1e-5)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["resnet50_v2", "seresnet50"])
def test_dense_at_the_own_size_is_the_network(name):
    spec = cut(ARCHITECTURES[name], repeats=1)
    model = applications.create(spec, classes=3, input_shape=(64, 64, 3))
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    dense = fully_convolutional(model, (64, 64))
    np.testing.assert_allclose(
        dense.predict_on_batch(images), model.predict_on_batch(images), atol=1e-5
    )


def test_dense_scores_are_the_means_over_windows_of_the_map(network):
    images = np.random.default_rng(0).normal(size=(1, 48, 40, 3)).astype("float32")
    found = fully_convolutional(network, (32, 32)).predict_on_batch(images)
    maps = keras.Model(network.input, network.layers[-2].input)
    features = np.asarray(at_size(maps, (48, 40)).predict_on_batch(images))[0]
    kernel, bias = (np.asarray(w) for w in network.layers[-1].get_weights())
    assert features.shape[:2] == (12, 10)
    scores = [
        features[top : top + 8, left : left + 8].mean((0, 1)) @ kernel + bias
        for top in range(5)
        for left in range(3)
    ]
    np.testing.assert_allclose(found[0], np.mean(scores, axis=0), atol=1e-4)


@pytest.mark.parametrize("sides", [(24, 20), (24, 48)])
def test_a_map_smaller_than_the_window_is_pooled_as_far_as_it_goes(network, sides):
    images = np.random.default_rng(0).normal(size=(1, *sides, 3)).astype("float32")
    found = fully_convolutional(network, (32, 32)).predict_on_batch(images)
    maps = keras.Model(network.input, network.layers[-2].input)
    features = np.asarray(at_size(maps, sides).predict_on_batch(images))[0]
    kernel, bias = (np.asarray(w) for w in network.layers[-1].get_weights())
    assert features.shape[:2] == (6, sides[1] // 4)
    width = min(8, features.shape[1])
    scores = [
        features[:, left : left + width].mean((0, 1)) @ kernel + bias
        for left in range(features.shape[1] - width + 1)
    ]
    np.testing.assert_allclose(found[0], np.mean(scores, axis=0), atol=1e-4)


def test_a_fully_convolutional_network_is_saved_and_pools_in_float32(tmp_path):
    with computing_in("mixed_bfloat16"):
        model = applications.create("resnet20", classes=3, input_shape=(16, 16, 3))
        dense = fully_convolutional(model, (16, 16))
    [pool] = [layer for layer in dense.layers if "pool" in layer.name]
    assert pool.compute_dtype == "float32"
    dense.save(tmp_path / "dense.keras")
    again = keras.saving.load_model(tmp_path / "dense.keras")
    images = np.random.default_rng(0).normal(size=(1, 24, 40, 3)).astype("float32")
    np.testing.assert_array_equal(
        again.predict_on_batch(images), dense.predict_on_batch(images)
    )


@pytest.mark.slow
def test_dense_batches_hold_every_image_at_each_scale_once(photographs):
    batches = list(batches_of_views(photographs, P, DENSE, batch_size=4))
    seen = []
    for batch in batches:
        assert np.prod(batch.images.shape[:3]) <= 4 * 32 * 32 or (
            len(batch.images) == 2
        )
        shorter = min(batch.images.shape[1:3])
        seen += [(int(position), shorter) for position in batch.positions]
        np.testing.assert_array_equal(batch.positions, batch.labels)
        # The mirror image follows each; resizing it rounds some pixels otherwise.
        mirrored = batch.images[1][:, ::-1]
        np.testing.assert_allclose(batch.images[0], mirrored, atol=1.01 / 60)
    expected = [(n, scale) for n in range(5) for scale in (36, 48)] * 2
    assert sorted(seen) == sorted(expected)


@pytest.mark.slow
def test_of_larger_crops_fewer_are_in_a_batch(photographs):
    protocol = Protocol(scales=(64,), crop=64, source="test")
    batches = list(batches_of_views(photographs, P, protocol, batch_size=8))
    # 8 x 32 x 32 pixels are two crops of 64 x 64.
    assert [len(batch.images) for batch in batches] == [2, 2, 1]
    smaller = Protocol(scales=(40,), crop=16, source="test")
    batches = list(batches_of_views(photographs, P, smaller, batch_size=3))
    assert [len(batch.images) for batch in batches] == [3, 2]


def test_equal_shapes_share_a_batch():
    rows = [png(noise(40, 40, seed)) for seed in range(6)]
    examples = Examples(np.array(rows, dtype=object), np.zeros(6, "int32"))
    protocol = Protocol(scales=(40,), dense=True, source="test")
    batches = batches_of_views(examples, P, protocol, batch_size=5)
    # 5 x 32 x 32 pixels are three images of 40 x 40.
    assert [len(batch.images) for batch in batches] == [3, 3]


@pytest.mark.slow
def test_a_larger_crop_is_seen_by_the_same_network(network, photographs):
    protocol = Protocol(scales=(48,), crop=48, source="test")
    found, _ = predicted(at_size(network, (48, 48)), photographs, protocol)
    larger = replace(P, resize=48, size=(48, 48))
    cut = np.stack([prepare(file, larger) for file in photographs.images])
    expected = at_size(network, (48, 48)).predict_on_batch(normalize(cut, larger))
    np.testing.assert_allclose(found, keras.ops.softmax(expected), atol=1e-6)


def test_pixels_in_memory_are_mirrored_only():
    pixels = np.stack([noise(32, 32, seed) for seed in range(3)])
    examples = Examples(pixels, np.arange(3, dtype="int32"))
    own = replace(P, resize=None)
    two = Protocol(crops=2, source="test")
    (batch,) = batches_of_views(examples, own, two, batch_size=8)
    both = np.asarray(normalize(pixels, own))
    assert batch.positions.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(batch.images[0::2], both)
    np.testing.assert_array_equal(batch.images[1::2], both[:, :, ::-1])
    with pytest.raises(ValueError, match="larger images.*crops=10"):
        batches_of_views(examples, own, replace(two, crops=10), batch_size=8)
    # Of enlarged ones there are ten.
    ten = replace(two, crops=10, scales=(36,))
    (batch,) = batches_of_views(examples, own, ten, batch_size=30)
    assert batch.images.shape == (30, 32, 32, 3)


def test_one_view_gives_what_the_pipeline_gives(network, photographs):
    cut = np.stack([resize_and_crop(_decoded(f), P) for f in photographs.images])
    expected, _ = predict(network, [(normalize(cut, P), photographs.labels)])
    found, _ = predicted(network, photographs, PROTOCOLS["single_crop"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_bad_input_is_named(network, photographs):
    with pytest.raises(ValueError, match="smaller than the crop.*scales=\\(24,\\)"):
        batches_of_views(
            photographs, P, Protocol(scales=(24,), source="test"), batch_size=4
        )
    per_pixel = np.full((32, 32, 3), 9.0).tolist()
    per_pixel = tuple(tuple(tuple(pixel) for pixel in row) for row in per_pixel)
    with pytest.raises(ValueError, match="Received: a mean per pixel, of 32x32"):
        batches_of_views(photographs, replace(P, mean=per_pixel), DENSE, batch_size=4)
    with pytest.raises(ValueError, match="batch_size=0"):
        batches_of_views(photographs, P, TEN, batch_size=0)
    flat = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    with pytest.raises(ValueError, match="All layers must work on images of other"):
        at_size(flat, (9, 9))
    with pytest.raises(ValueError, match="must end in global average pooling"):
        fully_convolutional(flat, (8, 8))
    with pytest.raises(ValueError, match="none of 2 of them"):
        one = Views(np.zeros(1, int), np.zeros(1, int), np.zeros((1, 32, 32, 3)))
        predict_views(network, [one], 3)
    for fields, words in (
        (dict(crops=3), "crops=3"),
        (dict(scales=(0,)), r"scales=\(0,\)"),
        (dict(average="mean"), "average='mean'"),
        (dict(dense=True, crops=10), "crop=None, crops=10"),
        (dict(scales=(200,), crop=224), r"scales=\(200,\), crop=224"),
    ):
        with pytest.raises(ValueError, match=words):
            Protocol(source="test", **fields)
