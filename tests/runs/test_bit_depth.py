"""The bit depth of 16-bit images: asked for, found, recorded, and the same afterwards."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_resnet import load, train
from keras_resnet.__main__ import main
from keras_resnet.config.datasets import DATASETS
from keras_resnet.config.preprocessing import Preprocessing
from keras_resnet.config.recipes import RECIPES
from keras_resnet.devices.find import Devices
from keras_resnet.runs.evaluate import evaluate
from keras_resnet.runs.load import Run
from keras_resnet.runs.request import TrainRequest
from keras_resnet.runs.settle import as_begun, settle
from tests.helpers.deep import deep_png

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the same on every backend"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Grey images of 12 bits of two classes, which are all black in their upper 8 bits."""
    folder = tmp_path_factory.mktemp("x") / "rays"
    random = np.random.default_rng(0)
    for label, name in enumerate(("bone", "lung")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 120, (9, 9, 1)) + 120 * label
            pixels[0, 0] = 2100  # A pixel that is broken.
            (folder / name / f"{number}.png").write_bytes(deep_png(pixels))
    return folder


def settled(folder, **options):
    request = TrainRequest(data=folder, network="resnet20", **options)
    return settle(request, Devices("cpu", ("cpu:0",)))


def test_auto_is_a_number_from_then_on(folder, recwarn):
    found = {bits: settled(folder, bit_depth=bits) for bits in ("auto", 12)}
    for job in found.values():
        assert job.preprocessing.bit_depth == job.settings()["bit_depth"] == 12
        assert job.overrides["bit_depth"] == 12
    assert found["auto"].settings() == found[12].settings()
    assert not recwarn
    # A run of before goes on as it began.
    assert as_begun(found[12], {"bit_depth": 16}).preprocessing.bit_depth == 16


def test_without_it_a_warning_says_what_is_lost(folder):
    with pytest.warns(UserWarning) as caught:
        job = settled(folder)
    said = [str(one.message) for one in caught]
    alike = [text for text in said if "look the same once they are decoded" in text]
    assert len(said) == 4 and len(alike) == 2
    said = [text for text in said if text not in alike]
    for text, split, count in zip(
        said, ("training", "validation"), (22, 2), strict=True
    ):
        assert f"{count} of {count} {split} images of 16 bits" in text
        assert f"{folder}/bone/" in text and "'auto' finds it" in text
        assert "up to 2,100, a bit depth of 16 leaves 2 of 256 levels" in text
    assert job.preprocessing.bit_depth == 16
    assert "bit_depth" not in job.overrides


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_recipe_may_have_it(folder):
    mine = replace(
        RECIPES["quickstart"],
        name="mine",
        preprocessing=replace(DATASETS["fashion_mini"].preprocessing, bit_depth=10),
    )
    options = {"recipe": mine, "batch_size": 4, "data": folder}
    request = TrainRequest(**options)
    job = settle(request, Devices("cpu", ("cpu:0",)))
    assert job.preprocessing.bit_depth == 10
    job = settle(TrainRequest(**options, bit_depth=14), job.hardware)
    assert job.preprocessing.bit_depth == job.overrides["bit_depth"] == 14


@pytest.mark.parametrize("bits", [7, 17, 12.5, "twelve", True])
def test_impossible_depths_are_refused(folder, bits, capsys):
    with pytest.raises(
        ValueError, match="`bit_depth` .--bit-depth. must be an integer"
    ):
        TrainRequest(data=folder, network="resnet20", bit_depth=bits)
    words = ["train", "--data", str(folder), "--network", "resnet20", "--bit-depth"]
    assert main([*words, str(bits)]) == 2
    assert "must be an integer from 8 to 16, or 'auto'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`bit_depth` must be an integer from 8 to 16"):
        replace(DATASETS["cifar10"].preprocessing, bit_depth=bits)


def test_a_data_set_has_none():
    with pytest.raises(ValueError, match="those of a data set have 8 bits"):
        train(bit_depth=12)


@pytest.mark.slow
def test_evaluate_tells_it_as_well(folder, tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    prepare = Preprocessing(
        channels=1, resize=8, size=(8, 8), mean=(120.0,), std=(60.0,), bit_depth=16
    )
    run = Run(keras.Sequential(layers), ("bone", "lung"), prepare, {}, tmp_path)
    with (
        pytest.warns(UserWarning, match="24 of 24 measured images of 16 bits"),
        pytest.warns(UserWarning, match="All 24 measured images look the same"),
    ):
        evaluate(run, data=folder)


@pytest.mark.exhaustive
def test_a_run_keeps_it_in_all_that_comes_after(folder, tmp_path, capsys):
    from keras_resnet.runs.servable import servable
    from tests.helpers.served import Served

    options = {
        "data": folder,
        "network": "resnet20",
        "steps": 2,
        "batch_size": 4,
        "output_dir": tmp_path,
    }
    place = train(**options, bit_depth="auto", verbose=0)
    run = load(place)
    assert run.preprocessing.bit_depth == run.record["overrides"]["bit_depth"] == 12
    assert train(**options, bit_depth=12, verbose=0) == place  # It is finished.
    with (
        pytest.warns(UserWarning, match="16 bits"),
        pytest.raises(ValueError, match=r"overrides.*bit_depth|bit_depth.*there 12"),
    ):
        train(**options, verbose=0)
    paths = sorted(folder.glob("*/*.png"))
    files = [path.read_bytes() for path in paths]
    expected = [[share for _, share in answer] for answer in run.predict(files, top=2)]
    exported = place / "saved_model" / "1"
    with Served(exported) as served:
        given = served("serving_default", image_bytes=files)["scores"]
    np.testing.assert_allclose(np.sort(given)[:, ::-1], expected, atol=1e-4)
    for of in (place, exported):
        server = servable(of)
        scores = server.scores(np.stack([server.prepare(file) for file in files]))
        np.testing.assert_allclose(np.sort(scores)[:, ::-1], expected, atol=1e-4)
    capsys.readouterr()
    assert main(["predict", str(exported), *map(str, paths[:2])]) == 0
    assert f"{100 * expected[0][0]:.1f} %" in capsys.readouterr().out
