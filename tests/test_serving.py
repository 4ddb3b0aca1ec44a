"""docs/serving.md is run as it stands: against a stub, or a real server where one is.

``KERAS_RESNET_TF_SERVING=host:rest_port:grpc_port`` names a TensorFlow Serving that has
the model of the first two commands of the page, under the name ``fashion``.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess

import keras
import numpy as np
import pytest

from keras_resnet.__main__ import main
from tests.conftest import REPOSITORY

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same page on every backend"
)

REAL = "KERAS_RESNET_TF_SERVING"
PAGE = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
MODELS = "/models"  # In the container: the image's MODEL_BASE_PATH.
# tensorflow/serving, model_servers/main.cc.
FLAGS = {
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "rest_api_timeout_in_ms",
    "enable_batching",
    "batching_parameters_file",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def block(language, part):
    found = [text for text in blocks(language) if part in text]
    assert len(found) == 1, f"one {language} block with {part!r}"
    return found[0]


EXPORT, DOCKER, WAIT, CURL = block("bash", "docker").splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a run, the page's image, and what its first command exports."""
    folder = tmp_path_factory.mktemp("site")
    run = shlex.split(EXPORT)[2]
    shutil.copytree(REPOSITORY / "saved_models" / run.split("/")[1], folder / run)
    with contextlib.chdir(folder):
        exec(block("python", "imsave"), {})
        program, *arguments = shlex.split(EXPORT)
        assert program == "keras-resnet"
        assert main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def ports(site):
    """Host and ports of the server: a real one's, or a stub's with the same export."""
    if REAL in os.environ:
        host, rest, rpc = os.environ[REAL].split(":")
        yield f"{host}:{rest}", f"{host}:{rpc}"
        return
    from tests.helpers import serving_stub
    from tests.helpers.served import Served

    # What the second command gives to the container.
    assert shlex.split(DOCKER)[:3] == ["docker", "run", "-d"]
    name = re.search(r"-e MODEL_NAME=(\w+) tensorflow/serving$", DOCKER)[1]
    mounted = re.search(rf'-v "\$PWD/(\S+):{MODELS}/{name}" ', DOCKER)[1]
    assert set(re.findall(r"-p 127\.0\.0\.1:(\d+):\1 ", DOCKER)) == {"8500", "8501"}
    with Served(site / mounted / "1") as served:
        with serving_stub.running(name, served) as (rest, rpc):
            yield f"localhost:{rest}", f"localhost:{rpc}"


def addressed(text, ports):
    assert "localhost:850" in text
    rest, rpc = ports
    return text.replace("localhost:8501", rest).replace("localhost:8500", rpc)


def shell(line, site, ports):
    done = subprocess.run(
        ["bash", "-c", addressed(line, ports)],
        cwd=site,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def python(text, site, ports):
    names = {}
    with contextlib.chdir(site):
        exec(addressed(text, ports), names)
    return names


@pytest.fixture(scope="module")
def predicted(site):
    """The top five of the page's image by `keras-resnet predict`'s function."""
    from keras_resnet import load

    (answer,) = load(site / shlex.split(EXPORT)[2]).predict([site / "shoe.png"])
    return answer


def agrees(names, probabilities, predicted):
    assert list(names) == [name for name, _ in predicted]
    np.testing.assert_allclose(probabilities, [p for _, p in predicted], atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_four_commands_lead_to_an_answer(site, ports, predicted):
    status = shell(WAIT, site, ports)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    (answer,) = shell(CURL, site, ports)["predictions"]
    agrees(answer["classes"], answer["probabilities"], predicted)
    shown = json.loads(blocks("json")[0])["predictions"][0]
    assert set(answer) == set(shown)
    # The page shows what comes of its image.
    assert answer["classes"][:2] == shown["classes"][:2]
    assert sum(answer["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_a_damaged_file_is_the_clients_error(site, ports):
    error = shell(block("bash", "head -c"), site, ports)
    assert list(error) == ["error"]
    (answer,) = shell(CURL, site, ports)["predictions"]  # The next one is answered.
    assert len(answer["classes"]) == 5


@pytest.mark.slow
def test_python_gets_features_by_rest(site, ports):
    features = python(block("python", '"features"'), site, ports)["features"]
    assert features.shape == (2, 64)
    np.testing.assert_allclose(features[0], features[1], rtol=1e-4)
    assert np.ptp(features) > 1


@pytest.mark.slow
def test_python_gets_the_same_answer_by_grpc(site, ports, predicted, capsys):
    names = python(block("python", "grpc"), site, ports)
    classes = [name.decode() for name in names["classes"][0]]
    agrees(classes, names["probabilities"][0], predicted)
    assert classes[0] in capsys.readouterr().out

    request = names["request"]
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"no image"]))
    with pytest.raises(grpc.RpcError) as caught:
        names["service"].Predict(request, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "JPEG, PNG, BMP, GIF or WebP" in caught.value.details()


def batching_parameters():
    """TF Serving's message, which its Python package lacks.

    The fields are those of servables/tensorflow/session_bundle_config.proto.
    """
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        wrappers_pb2,  # noqa: F401 (into the pool)
    )

    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto",
        package="serving_test",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(
        (
            "max_batch_size",
            "batch_timeout_micros",
            "max_enqueued_batches",
            "num_batch_threads",
        ),
        start=1,
    ):
        message.field.add(
            name=name,
            number=number,
            type="TYPE_MESSAGE",
            type_name=".google.protobuf.Int64Value",
            label="LABEL_OPTIONAL",
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("serving_test.BatchingParameters")
    )()


def test_files_of_the_server_fit_each_other():
    yaml = pytest.importorskip("yaml")
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    (service,) = yaml.safe_load(blocks("yaml")[0])["services"].values()
    assert service["image"].startswith("tensorflow/serving:")
    assert service["volumes"] == [f"./models:{MODELS}:ro"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    flags = dict(argument[2:].split("=") for argument in service["command"])
    assert set(flags) == FLAGS

    # Both files are said to lie in models/, where the container looks for them.
    for flag, name in (
        ("model_config_file", "models.config"),
        ("batching_parameters_file", "batching.config"),
    ):
        assert flags[flag] == f"{MODELS}/{name}"
        assert f"`models/{name}`" in PAGE

    config = text_format.Parse(
        block("protobuf", "model_config_list"), ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert model.model_platform == "tensorflow"
    assert model.base_path == f"{MODELS}/{model.name}"
    # The export of the first command is that model.
    assert shlex.split(EXPORT)[-1] == f"models/{model.name}"

    batching = text_format.Parse(
        block("protobuf", "max_batch_size"), batching_parameters()
    )
    for _, value in batching.ListFields():
        assert value.value > 0


def test_files_of_openvino_model_server_fit_each_other():
    export, docker = block("console", "openvino/model_server").splitlines()
    [model] = json.loads(block("json", "model_config_list"))["model_config_list"]
    folder = model["config"]["base_path"].removeprefix(f"{MODELS}/")
    assert export.endswith(f" --output models/{folder}/1")
    assert f'-v "$PWD/models:{MODELS}:ro" ' in docker
    name = re.search(rf" --config_path {MODELS}/(\S+) ", docker)[1]
    assert f"`models/{name}` names the models" in PAGE
    port = re.search(r" --rest_port (\d+)", docker)[1]
    asked = f"http://localhost:{port}/v2/models/{model['config']['name']}/infer"
    assert asked in block("python", f"localhost:{port}")


def test_the_example_of_folding():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)])
    model.add(keras.layers.BatchNormalization())
    names = {"model": model}
    exec(block("python", "fold_batch_norm"), names)
    assert len(names["folded"].layers) == 2  # With the input's.


def test_no_block_of_the_page_is_new_to_these_tests():
    """Those of the console are run by hand: they start what does not end."""
    count = {
        language: len(blocks(language))
        for language in re.findall(r"^```(\w+)$", PAGE, re.M)
    }
    assert count == {
        "bash": 2,
        "json": 2,
        "python": 6,  # Two of them in tests/serving/test_contract.py.
        "protobuf": 2,
        "yaml": 1,
        "console": 5,
    }
