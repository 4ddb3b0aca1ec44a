"""Exports are run through the loader that TF Serving uses, and compared with Keras.

A load alone proves nothing: TensorFlow loads SavedModels whose variables are missing.
"""

import re

import keras
import numpy as np
import pytest

from keras_resnet.export.checks import features_of
from keras_resnet.outputs import gives_probabilities
from tests.helpers.exported import NAMES, classifier, decoder, export, normalize
from tests.helpers.file_systems import bucket  # noqa: F401
from tests.helpers.served import Served

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"),
    reason="a SavedModel needs the TensorFlow or JAX backend",
)


def load_signatures(path):
    """Returns a function that runs a signature in a session, as TF Serving does."""

    def run(signature, **inputs):
        with Served(path) as served:
            return served(signature, **inputs)

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


def test_features_are_what_the_classifier_gets(exported):
    model, path, channels = exported
    images = np.random.default_rng(2).integers(0, 256, (3, 16, 16, channels), "uint8")
    run = load_signatures(path)
    features = run("features", images=images)["features"]
    assert features.shape == (3, 16) and features.dtype == np.float32
    kernel, bias = map(np.asarray, model.layers[-1].weights)
    scores = np.asarray(tf.nn.softmax(features @ kernel + bias))
    np.testing.assert_allclose(
        scores, run("images", images=images)["scores"], atol=1e-5
    )


def test_features_come_before_the_last_layer_with_weights():
    inputs = keras.Input((16,))
    pooled = keras.layers.Dropout(0.5, name="kept")(keras.layers.Dense(5)(inputs))
    logits = keras.layers.Dense(4)(pooled)
    model = keras.Model(inputs, keras.layers.Softmax()(logits))
    assert features_of(model) is pooled
    nested = keras.Sequential([keras.Input((16,)), model])
    with pytest.raises(ValueError, match="one graph"):
        features_of(nested)


def test_an_empty_request_gets_an_empty_answer(exported):
    _, path, channels = exported
    run = load_signatures(path)
    for answer in (
        run("serving_default", image_bytes=np.array([], object)),
        run("images", images=np.zeros((0, 16, 16, channels), "uint8")),
    ):
        assert answer["classes"].shape == answer["probabilities"].shape == (0, 5)
        assert answer["scores"].shape == (0, 7)
    nothing = run("features", images=np.zeros((0, 16, 16, channels), "uint8"))
    assert nothing["features"].shape == (0, 16)


def test_labels_lie_beside_the_graph(exported):
    _, path, _ = exported
    text = (path / "assets.extra/labels.txt").read_text(encoding="utf-8")
    assert text.splitlines() == NAMES


def test_files_given_lie_beside_the_labels(tmp_path):
    path = export(classifier(), tmp_path, files={"preprocessing.json": "{}\n"})
    assert (path / "assets.extra/preprocessing.json").read_text() == "{}\n"


@pytest.mark.slow
def test_the_same_export_has_the_same_bytes_but_for_names_of_functions(tmp_path):
    """TensorFlow numbers them through the process; the fingerprint is of that."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = classifier()
    one, two = export(model, tmp_path), export(model, tmp_path, version=2)
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file())
    differ = {
        str(name)
        for name in names
        if (one / name).read_bytes() != (two / name).read_bytes()
    }
    assert differ <= {"saved_model.pb", "fingerprint.pb"}

    def without_numbers(path):
        graph = SavedModel.FromString((path / "saved_model.pb").read_bytes())
        return sorted(re.sub(r"\d+", "0", str(graph)).splitlines())

    assert without_numbers(one) == without_numbers(two)


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


def test_batch_norm_is_folded(tmp_path):
    from keras_resnet.config.preprocessing import Preprocessing
    from keras_resnet.runs.export import export_model

    prepared = Preprocessing(
        channels=3, resize=None, size=(16, 16), mean=(127.5,) * 3, std=(60.0,) * 3
    )
    model = classifier()
    stored = export_model(model, tmp_path, prepared, NAMES) / "variables/variables"
    shapes = [
        tuple(shape) for _, shape in tf.train.list_variables(str(stored)) if shape
    ]
    assert sorted(shapes) == [(3, 3, 3, 16), (7,), (16,), (16, 7)]


@pytest.mark.slow
def test_a_bucket_takes_a_version_file_by_file(tmp_path, bucket):  # noqa: F811
    keras.utils.set_random_seed(0)
    model = classifier(classes=3)
    path = export(model, tmp_path, names=NAMES[:3])
    assert [one.name for one in tmp_path.iterdir()] == ["1"]
    images = np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), "uint8")
    answer = load_signatures(path)("images", images=images)
    expected = expected_scores(model, images)
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)


@pytest.mark.slow
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
        # As networks in mixed precision end.
        keras.layers.Activation("linear", dtype="float32")(keras.ops.softmax(logits)),
    ):
        assert gives_probabilities(keras.Model(inputs, outputs))
    assert not gives_probabilities(keras.Model(inputs, logits))
    linear = keras.layers.Activation("linear", dtype="float32")(logits)
    assert not gives_probabilities(keras.Model(inputs, linear))
    with pytest.raises(ValueError, match="sigmoid"):
        gives_probabilities(
            keras.Model(inputs, keras.layers.Activation("sigmoid")(logits))
        )


@pytest.mark.slow
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
        ({}, {"names": (*NAMES[:6], "two\nlines")}, "must be one line of text"),
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


@pytest.mark.exhaustive
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend's answers are enough"
)
def test_photographs_get_the_answer_of_predict(shared_data, tmp_path):
    """All 200, as files.

    Published weights can't be had without a network. This is ResNet-18 with random
    convolutions, batch-norm statistics of these photographs, and a classifier that
    tells them apart (least squares) with random logits of standard deviation 2 besides.
    """
    from keras_resnet.applications import create
    from keras_resnet.config.architectures import ARCHITECTURES
    from keras_resnet.config.preprocessing import default_preprocessing
    from keras_resnet.data.images import normalize, prepare
    from keras_resnet.runs.export import export_model
    from keras_resnet.runs.load import Run
    from keras_resnet.training import batch_norm

    files = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))
    assert len(files) == 200
    prepared = default_preprocessing(ARCHITECTURES["resnet18"])
    keras.utils.set_random_seed(0)
    model = create("resnet18")
    images = [prepare(file.read_bytes(), prepared).numpy() for file in files]
    batches = [
        normalize(np.stack(images[i : i + 20]), prepared) for i in range(0, 200, 20)
    ]
    batch_norm.recompute(model, [(batch, None) for batch in batches[::2]])
    pooled = keras.Model(model.inputs, features_of(model))
    features = np.concatenate([pooled(batch).numpy() for batch in batches])
    mean, std = features.mean(0), features.std(0) + 1e-3
    standard = (features - mean) / std
    width = len(mean)
    random = np.random.default_rng(0).normal(0, 2 / width**0.5, (width, 1000))
    targets = np.zeros((200, 1000))
    targets[np.arange(200), 5 * np.arange(200)] = 12.0
    gram = standard @ standard.T + np.eye(200)
    kernel = (random + standard.T @ np.linalg.solve(gram, targets)) / std[:, np.newaxis]
    model.layers[-1].set_weights([kernel, -mean @ kernel])

    names = tuple(f"class {i}" for i in range(1000))
    run = Run(model, names, prepared, record={}, folder=tmp_path)
    with Served(export_model(model, tmp_path, prepared, names)) as served:
        greatest = right = 0
        for i in range(0, 200, 20):
            expected = run.predict(files[i : i + 20])
            answer = served(
                "serving_default",
                image_bytes=[file.read_bytes() for file in files[i : i + 20]],
            )
            for j, row in enumerate(expected):
                named = [name.decode() for name in answer["classes"][j]]
                assert named == [name for name, _ in row], files[i + j].name
                given = answer["probabilities"][j] - [share for _, share in row]
                greatest = max(greatest, np.abs(given).max())
                right += row[0][0] == f"class {5 * (i + j)}"
    assert right >= 150  # Each photograph has an answer of its own.
    assert greatest <= 1e-4
    print(f"greatest difference of a probability: {greatest:.1e}, named: {right}")
