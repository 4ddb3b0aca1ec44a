"""Recipes as users bring them: a file, another network, photographs of their own."""

import shutil
from dataclasses import replace

import pytest

import keras_resnet
from keras_resnet.__main__ import main
from keras_resnet.config import RECIPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(shared_data, tmp_path_factory):
    """Twelve real photographs in two folders."""
    folder = tmp_path_factory.mktemp("own") / "photos"
    files = sorted((shared_data / "imagenet_samples").glob("*.JPEG"))[:12]
    for index, file in enumerate(files):
        place = folder / ("even" if index % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return folder


@pytest.mark.exhaustive
def test_a_recipe_file_trains_on_imagenette(shared_data, tmp_path, capsys):
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [data]")
    assert main(["show", "imagenette_fast", "--toml"]) == 0
    text = capsys.readouterr().out.replace(
        'network = "resnet18d"', 'network = "resnet20"'
    )
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("batch_size = 64", "batch_size = 8"))
    # Small images: all of the validation and test splits are measured.
    small = (
        "{channels = 3, resize = 36, size = [32, 32], mean = [124.0, 116.0, 104.0], "
    )
    small += "std = [58.0, 57.0, 57.0]}"
    words = ["--set", "schedule.learning_rate=0.02", "--set", "image_sizes=[[0, 32]]"]
    words += ["--set", f"preprocessing={small}"]
    place = ["--data-dir", str(shared_data / "tfds"), "--output-dir", str(tmp_path)]
    machine = ["--steps", "3", "--precision", "float32", "--quiet"]
    assert main(["train", str(file), *words, *place, *machine]) == 0
    record = keras_resnet.load(tmp_path / "mine_seed0").record
    assert record["recipe"] == "mine"
    assert record["network"] == "resnet20"
    assert record["recipe_values"]["batch_size"] == 8
    assert record["recipe_values"]["schedule"]["learning_rate"] == 0.02
    assert record["overrides"]["changes"]["image_sizes"] == [[0, 32]]


@pytest.mark.exhaustive
def test_a_published_recipe_trains_on_photographs(photos, tmp_path, capsys):
    words = [
        "--network",
        "resnet20",
        "--batch-size",
        "4",
        "--steps",
        "2",
        "--seeds",
        "0-1",
    ]
    recipe, place = "resnet50_tv2_imagenet", ["--output-dir", str(tmp_path)]
    machine = ["--precision", "float32"]
    assert main(["train", recipe, "--data", str(photos), *words, *place, *machine]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{recipe}_on_photos, seeds 0, 1: validation top-1 error ")
    run = keras_resnet.load(tmp_path / f"{recipe}_on_photos_seed1")
    assert run.classes == ("even", "odd")
    own = replace(RECIPES[recipe].preprocessing, exif_orientation=True)
    assert run.preprocessing == own
    values = run.record["recipe_values"]
    assert values["label_smoothing"] == RECIPES[recipe].label_smoothing
    assert [mixing["kind"] for mixing in values["mixing"]] == ["MixUp", "CutMix"]
    assert run.predict([next(photos.rglob("*.JPEG"))])[0][0][0] in ("even", "odd")
