"""Exports are run through the loader that TF Serving uses, and compared with Keras.

A load alone proves nothing: TensorFlow loads SavedModels whose variables are missing.
"""

import keras
import numpy as np
import pytest

from keras_resnet.export.saved_model import export_saved_model, gives_probabilities

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"),
    reason="a SavedModel needs the TensorFlow or JAX backend",
)
NAMES = ["cat", "dog", "Käfer", "ship", "truck", "frog", "deer"]


def classifier(*, channels=3, classes=7, activation=None, filters=16, **options):
    return keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            keras.layers.Conv2D(filters, 3, padding="same", **options),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )


def decoder(channels):
    def decode(image_bytes):
        image = tf.io.decode_image(
            image_bytes, channels=channels, expand_animations=False
        )
        image.set_shape([None, None, channels])
        image = tf.image.resize(image, (16, 16), antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

    return decode


def normalize(images):
    return (tf.cast(images, tf.float32) - 127.5) / 60.0


def export(model, path, *, channels=3, names=NAMES, **options):
    return export_saved_model(
        model,
        path,
        decode=decoder(channels),
        normalize=normalize,
        class_names=names,
        **options,
    )


def load_signatures(path):
    """Returns a function that runs a signature in a session, as TF Serving does."""

    def run(signature, **inputs):
        graph = tf.Graph()
        with tf.compat.v1.Session(graph=graph) as session:
            loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(path))
            definition = loaded.signature_def[signature]
            assert set(definition.inputs) == set(inputs)
            feed = {definition.inputs[k].name: value for k, value in inputs.items()}
            fetch = {k: info.name for k, info in definition.outputs.items()}
            return session.run(fetch, feed)

    return run


def photographs(count, channels, encode):
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (count, 20, 30, channels), dtype="uint8")
    return [encode(image).numpy() for image in pixels]


def expected_scores(model, images):
    logits = np.asarray(model(normalize(images).numpy(), training=False))
    return np.asarray(tf.nn.softmax(logits))


@pytest.fixture(scope="module", params=[3, 1], ids=["colour", "greyscale"])
def exported(request, tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = classifier(channels=request.param)
    # Not the initial 0 and 1: a lost statistic would show.
    variables = model.layers[1].non_trainable_variables
    for variable in variables:
        variable.assign(np.linspace(0.5, 2, 16))
    path = tmp_path_factory.mktemp("export") / "saved_model"
    assert export(model, path, channels=request.param) == path / "1"
    return model, path / "1", request.param


@pytest.mark.parametrize("encode", [tf.io.encode_jpeg, tf.io.encode_png])
def test_image_files_get_the_answer_of_keras(exported, encode):
    model, path, channels = exported
    files = photographs(3, channels, encode)
    answer = load_signatures(path)("serving_default", image_bytes=files)
    images = tf.stack([decoder(channels)(file) for file in files])
    scores = expected_scores(model, images)
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)
    best = np.argsort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(
        answer["probabilities"], np.take_along_axis(scores, best, 1), atol=1e-5
    )
    names = [[name.decode() for name in row] for row in answer["classes"]]
    assert names == [[NAMES[index] for index in row] for row in best]


def test_decoded_images_get_the_answer_of_keras(exported):
    model, path, channels = exported
    images = np.random.default_rng(2).integers(0, 256, (4, 16, 16, channels), "uint8")
    answer = load_signatures(path)("images", images=images)
    np.testing.assert_allclose(
        answer["scores"], expected_scores(model, images), atol=1e-5
    )
    assert answer["classes"].shape == answer["probabilities"].shape == (4, 5)


def test_an_empty_request_gets_an_empty_answer(exported):
    _, path, channels = exported
    run = load_signatures(path)
    for answer in (
        run("serving_default", image_bytes=np.array([], object)),
        run("images", images=np.zeros((0, 16, 16, channels), "uint8")),
    ):
        assert answer["classes"].shape == answer["probabilities"].shape == (0, 5)
        assert answer["scores"].shape == (0, 7)


def test_labels_lie_beside_the_graph(exported):
    _, path, _ = exported
    text = (path / "assets.extra/labels.txt").read_text(encoding="utf-8")
    assert text.splitlines() == NAMES


def test_nothing_else_is_left_behind(exported):
    _, path, _ = exported
    assert [item.name for item in path.parent.iterdir()] == ["1"]


def test_weights_are_stored_once(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(256, 3),
            keras.layers.Conv2D(256, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(7),
        ]
    )
    stored = export(model, tmp_path) / "variables"
    size = sum(file.stat().st_size for file in stored.iterdir())
    weights = 4 * model.count_params()
    assert weights < size < 1.05 * weights


def test_a_softmax_is_not_added_to_a_softmax(tmp_path):
    model = classifier(activation="softmax", classes=3)
    path = export(model, tmp_path, names=NAMES[:3])
    images = np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), "uint8")
    answer = load_signatures(path)("images", images=images)
    expected = np.asarray(model(normalize(images).numpy()))
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    assert answer["classes"].shape == (2, 3)  # Fewer than five classes: all of them.


def test_softmax_is_recognised_however_it_is_written():
    inputs = keras.Input((16,))
    logits = keras.layers.Dense(4)(inputs)
    for outputs in (
        keras.layers.Softmax()(logits),
        keras.layers.Activation("softmax")(logits),
        keras.ops.softmax(logits),
    ):
        assert gives_probabilities(keras.Model(inputs, outputs))
    assert not gives_probabilities(keras.Model(inputs, logits))
    linear = keras.layers.Activation("linear", dtype="float32")(logits)
    assert not gives_probabilities(keras.Model(inputs, linear))
    with pytest.raises(ValueError, match="sigmoid"):
        gives_probabilities(
            keras.Model(inputs, keras.layers.Activation("sigmoid")(logits))
        )


def test_an_existing_version_is_kept_unless_told_otherwise(tmp_path):
    model = classifier()
    path = export(model, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, tmp_path)
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*")}

    names = [name.upper() for name in NAMES]
    export(model, tmp_path, names=names, overwrite=True)
    export(model, tmp_path, version=2)
    assert (path / "assets.extra/labels.txt").read_text().splitlines() == names
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1", "2"]


def test_a_failed_export_leaves_the_old_version_alone(tmp_path, monkeypatch):
    model = classifier()
    path = export(model, tmp_path)

    def no_space(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", no_space)
    with pytest.raises(OSError, match="No space"):
        export(model, tmp_path, overwrite=True)
    assert (path / "saved_model.pb").is_file()
    assert [item.name for item in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(
    "options, arguments, message",
    [
        ({"dtype": "mixed_bfloat16"}, {}, "float32"),
        ({}, {"names": NAMES[:3]}, "3 names, 7 classes"),
        ({}, {"version": 0}, "positive integer"),
        ({}, {"version": "1"}, "positive integer"),
    ],
)
def test_what_cannot_be_served_is_an_error(options, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(classifier(**options), tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_channels_first_is_an_error(tmp_path):
    inputs = keras.Input((3, 16, 16))
    pool = keras.layers.GlobalAveragePooling2D(data_format="channels_first")
    model = keras.Model(inputs, keras.layers.Dense(7)(pool(inputs)))
    with pytest.raises(ValueError, match="channels last"):
        export(model, tmp_path)
