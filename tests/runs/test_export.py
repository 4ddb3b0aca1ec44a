"""Runs in forms other than SavedModel: each against Keras, on real images."""

import json
import shutil

import keras
import numpy as np
import pytest

from keras_resnet.__main__ import main
from keras_resnet.applications import create
from keras_resnet.config.architectures import ARCHITECTURES
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.data import sources
from keras_resnet.export import compare, converters, saved_model
from keras_resnet.export import load as load_module
from keras_resnet.export.load import find_exported, load_exported
from keras_resnet.models import layers
from keras_resnet.models.resnet import build
from keras_resnet.runs.export import (
    compared,
    export,
    export_model,
    whole_float32,
)
from keras_resnet.runs.load import load
from tests.conftest import REPOSITORY
from tests.helpers import contract
from tests.helpers.cut import cut

tf = pytest.importorskip("tensorflow")
pytestmark = [
    pytest.mark.usefixtures("never_autotuned"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="converted from TensorFlow's graph",
    ),
]
TRAINED = REPOSITORY / "saved_models/quickstart_seed0"
NEEDS = {
    "onnx": ("tf2onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "openvino": ("openvino",),
}


def installed(format, precision="float32"):
    for package in NEEDS.get(format, ()):
        pytest.importorskip(package)
    if (format, precision) == ("openvino", "int8"):
        pytest.importorskip("nncf")


@pytest.fixture(scope="session")
def images():
    """Real images that the trained run has not seen, and their labels."""
    test = sources.load("fashion_mini").test
    return test.images, test.labels


@pytest.fixture(scope="module")
def trained():
    return load(TRAINED)


@pytest.fixture(scope="module")
def classifier():
    """Five classes of 16x16 images, from small weights: its answers are not all 1."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 16, 3))
    for stride in (1, 2):
        x = keras.layers.ZeroPadding2D(1)(x)
        x = keras.layers.Conv2D(16, 3, strides=stride, use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5)(x))


def normalize(images):
    return (tf.cast(images, tf.float32) - 127.5) / 60.0


def softmax_of(model, images):
    return np.asarray(tf.nn.softmax(model(normalize(images).numpy(), training=False)))


def noise(count, size=16):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, size, size, 3), "uint8")


def written(model, path, format, precision="float32", **options):
    """The model in a form, uncompared."""
    if format == "saved_model":
        size = model.input_shape[1:]
        prepare = {"size": size[:2], "channels": size[2]}
        return saved_model.export_saved_model(
            model,
            path,
            decode=lambda contents: tf.zeros(size, tf.uint8),
            normalize=normalize,
            class_names=[str(number) for number in range(model.output_shape[-1])],
            files={"preprocessing.json": json.dumps(prepare)},
        )
    return converters.export_classifier(
        model,
        path,
        converters.Form(format, precision),
        normalize=normalize,
        class_names=[f"class {number}" for number in range(model.output_shape[-1])],
        preprocessing={"size": model.input_shape[1:3], "channels": 3},
        **options,
    )


@pytest.mark.parametrize("format", NEEDS)
def test_any_batch_gets_the_answer_of_keras(format, classifier, tmp_path):
    installed(format)
    path = written(classifier, tmp_path / "net", format)
    loaded = load_exported(path)
    assert loaded.class_names == tuple(f"class {number}" for number in range(5))
    assert loaded.format == format
    for count in (3, 1, 7, 3):
        found = loaded.scores(noise(count))
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            found, softmax_of(classifier, noise(count)), atol=1e-5
        )
    assert loaded.scores(noise(0)).shape == (0, 5)
    np.testing.assert_array_equal(
        loaded.scores(noise(2).astype("float32")), loaded.scores(noise(2))
    )
    for wrong in (noise(2, 17), noise(2)[0]):
        with pytest.raises(ValueError, match="must be of shape"):
            loaded.scores(wrong)


def names_in_onnx(folder):
    graph = pytest.importorskip("onnx").load(str(folder / "model.onnx")).graph
    kinds = {1: "float32", 2: "uint8"}  # onnx.TensorProto's.
    return [
        {
            end.name: (
                kinds[end.type.tensor_type.elem_type],
                tuple(d.dim_value or -1 for d in end.type.tensor_type.shape.dim),
            )
            for end in ends
        }
        for ends in (graph.input, graph.output)
    ]


def names_in_openvino(folder):
    import openvino

    network = openvino.Core().read_model(folder / "model.xml")
    return [
        {
            end.get_any_name(): (
                end.get_element_type().to_dtype().name,
                tuple(
                    -1 if d.is_dynamic else d.get_length() for d in end.partial_shape
                ),
            )
            for end in ends
        }
        for ends in (network.inputs, network.outputs)
    ]


def names_in_litert(folder):
    """Of the signature: tensors have names of the converter's own."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / "model.tflite")).get_signature_runner()
    return [
        {
            name: (one["dtype"].__name__, tuple(map(int, one["shape_signature"])))
            for name, one in ends.items()
        }
        for ends in (runner.get_input_details(), runner.get_output_details())
    ]


@pytest.mark.parametrize(
    "precision",
    ["float32", pytest.param("int8", marks=pytest.mark.exhaustive)],
)
@pytest.mark.parametrize(
    ("format", "read"),
    [
        ("onnx", names_in_onnx),
        ("litert", names_in_litert),
        ("openvino", names_in_openvino),
    ],
)
def test_names_of_the_forms_are_a_contract(
    format, read, precision, classifier, tmp_path
):
    """As those of SavedModels are: other servers' clients and programs name them."""
    installed(format, precision)
    calibration = {"calibration": noise(16)} if precision == "int8" else {}
    path = written(classifier, tmp_path / "net", format, precision, **calibration)
    assert tuple(read(path)) == contract.FORM


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_onnx_s_batch_axis_has_one_name(precision, classifier, tmp_path):
    """At both ends: other runtimes take axes of the same name to be of the same size."""
    installed("onnx")
    calibration = {"calibration": noise(16)} if precision == "int8" else {}
    path = written(classifier, tmp_path / "net", "onnx", precision, **calibration)
    graph = pytest.importorskip("onnx").load(str(path / "model.onnx")).graph
    shapes = [
        [axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim]
        for end in (*graph.input, *graph.output)
    ]
    assert shapes == [["batch", 16, 16, 3], ["batch", 5]]
    assert load_exported(path).scores(noise(3)).shape == (3, 5)


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        ("litert", "float16"),
        pytest.param("openvino", "float16", marks=pytest.mark.exhaustive),
        pytest.param("openvino", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_half_precision(format, precision, classifier, tmp_path):
    installed(format)
    full = written(classifier, tmp_path / "full", format)
    half = written(classifier, tmp_path / "half", format, precision=precision)
    found = load_exported(half).scores(noise(4))
    np.testing.assert_allclose(found, softmax_of(classifier, noise(4)), atol=2e-2)
    if precision == "float16":
        assert compare.size(half) < compare.size(full) - 2500  # Of 2,837 weights.


@pytest.mark.slow
def test_groups_are_exported_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "_only_cpus", lambda: False)  # As with a GPU.
    inputs = keras.Input((8, 8, 3))
    x = layers.conv(layers.conv(inputs, 16, 3, name="a"), 16, 3, groups=4, name="b")
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    prepare = Preprocessing(
        channels=3, resize=None, size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    export_model(model, tmp_path / "m", prepare, ["a", "b", "c"])
    graph = (tmp_path / "m" / "1" / "saved_model.pb").read_bytes()
    assert b"_XlaMustCompile" not in graph


def test_float32_is_compared_as_it_is():
    config = tf.config.experimental
    with whole_float32():
        assert not config.tensor_float_32_execution_enabled()
    assert config.tensor_float_32_execution_enabled()


def test_what_does_not_fit_is_an_error(classifier, tmp_path):
    path = tmp_path / "net"
    with pytest.raises(ValueError, match="onnx, litert, openvino"):
        written(classifier, path, "coreml")
    with pytest.raises(ValueError, match="float32, int8 for onnx"):
        written(classifier, path, "onnx", precision="bfloat16")
    installed("onnx")
    with pytest.raises(ValueError, match="`calibration` must be given for int8"):
        written(classifier, path, "onnx", precision="int8")
    with pytest.raises(ValueError, match="and only then"):
        written(classifier, path, "onnx", calibration=noise(2))
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_told_otherwise(
    classifier, tmp_path, monkeypatch
):
    installed("onnx")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        written(classifier, tmp_path / "net", "onnx")
    with pytest.raises(FileExistsError, match="which has no form.json"):
        written(classifier, tmp_path / "net", "onnx", overwrite=True)
    (tmp_path / "net/mine.txt").rename(tmp_path / "net/form.json")

    def no_space(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setitem(converters._WRITERS, "onnx", no_space)
    with pytest.raises(OSError, match="No space"):
        written(classifier, tmp_path / "net", "onnx", overwrite=True)
    assert [file.name for file in tmp_path.rglob("*")] == ["net", "form.json"]


def test_what_cannot_be_loaded_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold an exported network"):
        load_exported(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(FileNotFoundError, match="labels.txt must lie beside"):
        load_exported(tmp_path)
    installed("onnx")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "preprocessing.json").write_text('{"size": [8, 8], "channels": 3}')
    with pytest.raises(ValueError, match="Reading it failed"):
        load_exported(tmp_path)


def test_labels_that_do_not_fit_are_an_error(classifier, tmp_path):
    installed("onnx")
    folder = written(classifier, tmp_path / "net", "onnx")
    (folder / "labels.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="has 2 names for 5 classes"):
        load_exported(folder)


def test_a_report_compares(images):
    pixels = images[0][:10]
    labels = np.array([0] * 10)

    def original(batch):
        return np.tile(np.float32([0.75, 0.25, 0]), (len(batch), 1))

    exported = original(pixels)
    exported[0] = [0.25, 0.5, 0.25]
    assert compared(exported, compare.answers(original, pixels), labels) == {
        "images": 10,
        "max_difference": 0.5,
        "top1_agreement": 90.0,
        "accuracy": 90.0,
        "original_accuracy": 100.0,
    }
    speeds = compare.speeds({"one": original, "other": original}, pixels, rounds=1)
    assert set(speeds) == {"one", "other"} and min(speeds.values()) > 0


# --- A trained run, by the command line ---------------------------------------------


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A folder with the trained run's record and network, to export into."""
    folder = tmp_path_factory.mktemp("runs") / "quickstart_seed0"
    folder.mkdir()
    for name in ("record.json", "model.keras", "settings.json"):
        (folder / name).write_bytes((TRAINED / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def small_run(own_run, tmp_path_factory):
    """The same with an untrained network of few layers, which is exported sooner."""
    folder = tmp_path_factory.mktemp("small") / own_run.name
    shutil.copytree(own_run, folder)
    spec = cut(ARCHITECTURES["resnet20"], repeats=1)
    build(spec, input_shape=(28, 28, 1), classes=10).save(folder / "model.keras")
    return folder


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        pytest.param("saved_model", "float32", marks=pytest.mark.slow),
        pytest.param("onnx", "float32", marks=pytest.mark.slow),
        pytest.param("onnx", "int8", marks=pytest.mark.exhaustive),
        pytest.param("litert", "float32", marks=pytest.mark.exhaustive),
        pytest.param("litert", "int8", marks=pytest.mark.exhaustive),
        pytest.param("openvino", "float32", marks=pytest.mark.exhaustive),
        pytest.param("openvino", "int8", marks=pytest.mark.slow),
    ],
)
def test_a_trained_run(format, precision, own_run, trained, images, capsys, tmp_path):
    installed(format, precision)
    arguments = ["--format", format, "--precision", precision]
    assert main(["export", str(own_run), *arguments]) == 0
    folder, told = capsys.readouterr().out.splitlines()
    assert f"{format} {precision}; " in told

    # The report says what is so on the validation images...
    found = json.loads((find_exported(folder)[0] / "export.json").read_text())
    assert found["data"] == "fashion_mini validation" and found["images"] == 500
    measured = 100 - trained.record["validation"]["top1_error"]
    assert found["original_accuracy"] == pytest.approx(measured)
    # A point is five of these images.
    near = pytest.approx(measured, abs=0.01 if precision == "float32" else 1.0)
    assert found["accuracy"] == near
    assert found["bytes"] == pytest.approx(
        compare.size(find_exported(folder)[0]), abs=4000
    )

    # ... and on 2,000 others, the answers are as Keras's.
    pixels, labels = images
    ours = compare.answers(load_exported(folder).scores, pixels)
    theirs = compare.answers(trained.scores, pixels)
    if precision == "float32":
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        assert found["max_difference"] < 1e-3
        assert found["top1_agreement"] == 100
    else:
        lost = np.mean(theirs.argmax(1) == labels) - np.mean(ours.argmax(1) == labels)
        assert lost <= 0.005
        assert 1e-4 < found["max_difference"]  # It is quantized.
        weights = trained.model.count_params()
        assert found["bytes"] < 2.5 * weights  # 1 byte each, and what names the layers.

    # The folder answers by itself.
    alone = tmp_path / "alone"
    find_exported(folder)[0].rename(alone)
    file = tmp_path / "shoe.png"
    file.write_bytes(tf.io.encode_png(pixels[0]).numpy())
    assert main(["predict", str(alone), str(file), "--top", "1"]) == 0
    best = trained.classes[ours[0].argmax()]
    assert f"shoe.png: {best} " in capsys.readouterr().out


def test_without_data_float32_is_compared_on_noise_and_int8_refused(
    small_run, tmp_path, capsys
):
    installed("onnx")
    source = tmp_path / "converted"
    source.mkdir()
    record = json.loads((small_run / "record.json").read_text())
    kept = {key: record[key] for key in ("preprocessing", "classes", "network")}
    (source / "source.json").write_text(json.dumps(kept))
    (source / "model.keras").write_bytes((small_run / "model.keras").read_bytes())
    arguments = ["export", str(source), "--format", "onnx"]
    assert main([*arguments, "--precision", "int8"]) == 2
    assert "name a folder of them with `data` (--data)" in capsys.readouterr().err
    assert sorted(file.name for file in source.iterdir()) == [
        "model.keras",
        "source.json",
    ]
    folder, result = export(source, format="onnx")
    assert result["data"] is None and "of noise" in compare.line(result)
    with pytest.raises(FileExistsError, match="--overwrite"):
        export(source, format="onnx", output=folder)


def test_an_export_that_answers_otherwise_is_not_kept(small_run, monkeypatch, tmp_path):
    installed("onnx")
    monkeypatch.setitem(
        load_module._OPENERS,
        "onnx",
        lambda folder, precision: lambda x: np.full((len(x), 10), np.nan, np.float32),
    )
    with pytest.raises(RuntimeError, match="must give Keras's probabilities"):
        export(small_run, format="onnx", output=tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_saved_model_that_answers_otherwise_leaves_the_old_one(
    small_run, monkeypatch, tmp_path
):
    folder, _ = export(small_run, output=tmp_path)
    before = (folder / "saved_model.pb").read_bytes()
    monkeypatch.setitem(
        load_module._OPENERS,
        "saved_model",
        lambda folder, precision: lambda x: np.full((len(x), 10), np.nan, np.float32),
    )
    with pytest.raises(RuntimeError, match="must give Keras's probabilities"):
        export(small_run, output=tmp_path, overwrite=True)
    assert (folder / "saved_model.pb").read_bytes() == before


def test_only_an_exports_folder_is_overwritten(small_run, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "keras_resnet.runs.sample.examples_of", lambda *_: pytest.fail("read")
    )
    (tmp_path / "photos/1").mkdir(parents=True)
    (tmp_path / "photos/1/cat.png").write_text("mine")
    with pytest.raises(FileExistsError, match="which has no saved_model.pb"):
        export(small_run, output=tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos/1/cat.png").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="file is a file"):
        export(small_run, output=tmp_path / "file")


@pytest.mark.slow
def test_versions_lie_side_by_side(small_run, tmp_path):
    models = tmp_path / "models"
    arguments = ["export", str(small_run), "--output", str(models)]
    assert main(arguments) == 0
    assert main([*arguments, "--version", "2"]) == 0
    (models / "3").mkdir()  # Being copied.
    assert find_exported(models) == (models / "2", "saved_model")


def test_int8_is_measured_on_other_images_than_it_is_calibrated_on(small_run, tmp_path):
    installed("onnx", "int8")
    pixels = sources.load("fashion_mini").test.images[:40]
    for number, image in enumerate(pixels):
        folder = tmp_path / "photos" / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        tf.io.write_file(str(folder / f"{number}.png"), tf.io.encode_png(image))
    folder, told = export(
        small_run,
        format="onnx",
        precision="int8",
        data=str(tmp_path / "photos"),
        output=tmp_path / "net",
    )
    assert told["data"].endswith("validation") and told["images"] < 20
    # Two classes of its own, of which the run knows nothing.
    assert "accuracy" not in told and "no accuracy, as these" in compare.line(told)


@pytest.mark.slow
def test_no_data_set_is_downloaded_for_a_report(small_run, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "is_here", lambda name, data_dir: False)
    monkeypatch.setattr(sources, "load", lambda *_, **__: pytest.fail("loaded"))
    _, result = export(small_run, output=tmp_path)
    assert result["data"] is None
    assert result["max_difference"] < 1e-3


def test_formats_and_precisions_that_do_not_exist(capsys, small_run):
    assert main(["export", str(small_run), "--precision", "int8"]) == 2
    assert "A SavedModel is float32" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be saved_model or onnx or litert or"):
        export(small_run, format="tflite")
    with pytest.raises(ValueError, match="`version` .* is a SavedModel's"):
        export(small_run, format="onnx", version=2)
    arguments = ["--format", "onnx", "--precision", "bfloat16"]
    assert main(["export", str(small_run), *arguments]) == 2
    assert "float32, int8 for onnx" in capsys.readouterr().err


# --- The networks of the papers -----------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("name", "format"),
    [
        (name, format)
        for name in ("resnet50d", "resnet20", "resnet50", "resnet50_v2", "resnetv2_50")
        for format in ("saved_model", *NEEDS)
    ],
)
def test_published_networks(name, format, tmp_path):
    installed(format)
    keras.utils.set_random_seed(0)
    size = 32 if name == "resnet20" else 96  # Which the kernels do not know.
    model = create(name, input_shape=(size, size, 3), classes=10)
    pixels = noise(4, size)
    # As after a training: statistics of what passes, logits of ordinary size.
    for _ in range(20):
        model(normalize(pixels), training=True)
    expected = softmax_of(model, pixels)
    assert expected.max() < 0.999
    loaded = load_exported(written(model, tmp_path / "net", format))
    np.testing.assert_allclose(loaded.scores(pixels), expected, atol=1e-3)
