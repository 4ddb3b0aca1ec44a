"""The scripts of the guide on many images, run as a reader would."""

import os
import re
import signal
import subprocess
import sys

import pytest

from keras_resnet.data import sources
from tests.conftest import REPOSITORY
from tests.helpers.guides import many_images_script

TRAINED = REPOSITORY / "saved_models" / "quickstart_seed0"
COUNT = 120
# A worker that is killed in the middle of its second batch, once.
DIES = f"""
class Network(Network):
    batches = 0

    def __call__(self, batch):
        self.batches += 1
        if self.batches == 2:
            try:
                open("killed", "x").close()
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), {int(signal.SIGKILL)})
        return super().__call__(batch)


images ="""


def write_photos(folder):
    """Images in two folders, one of which is damaged; gives the good ones' paths."""
    import tensorflow as tf

    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    paths = []
    for number, image in enumerate(sources.load("fashion_mini").test.images[:COUNT]):
        path = folder / "ab"[number % 2] / f"{number:03}.png"
        path.write_bytes(tf.io.encode_png(image).numpy())
        paths.append(path)
    (folder / "a" / "damaged.png").write_bytes(b"damaged")
    return paths


def execute(folder, name, code, timeout=900):
    """Runs code as a script in a folder."""
    (folder / name).write_text(code)
    path = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(path), "RAY_USAGE_STATS_ENABLED": "0"}
    variables |= {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, name],
        env=os.environ | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def place(tmp_path):
    """A folder with photographs and the run that the scripts name."""
    write_photos(tmp_path / "photos")
    (tmp_path / "runs").symlink_to(TRAINED.parent)
    return tmp_path


def check_answers(place, top=3):
    """Compares what a script wrote with what the run itself says of each image."""
    import pyarrow.dataset

    import keras_resnet

    found = pyarrow.dataset.dataset(place / "answers", format="parquet")
    rows = sorted(found.to_table().to_pylist(), key=lambda row: row["image"])
    named = [row["image"].removeprefix("file:") for row in rows]
    files = sorted(str(path) for path in (place / "photos").rglob("*.png"))
    assert [str(place / name) for name in named] == files  # Each exactly once.
    good = [row for row in rows if "damaged" not in row["image"]]
    [bad] = [row for row in rows if "damaged" in row["image"]]
    assert "must be a JPEG" in bad["error"] and bad["class_1"] is None
    paths = [path for path in files if "damaged" not in path]
    expected = keras_resnet.load(TRAINED).predict(paths, top=top)
    for row, answer in zip(good, expected, strict=True):
        assert row["error"] is None
        for number, (name, share) in enumerate(answer, 1):
            assert row[f"class_{number}"] == name
            assert row[f"probability_{number}"] == pytest.approx(share, abs=1e-5)


def test_scripts_are_short():
    for name in ("predict_ray.py", "predict_beam.py", "predict_spark.py"):
        lines = [line for line in many_images_script(name).splitlines() if line.strip()]
        assert len(lines) <= 30


@pytest.mark.exhaustive
def test_ray_answers_each_image_once_though_a_worker_is_killed(place):
    pytest.importorskip("ray", reason="needs the extra [ray]")
    code = many_images_script("predict_ray.py").replace("batch_size=64", "batch_size=8")
    assert "size=2" in code  # Two workers.
    execute(place, "predict_ray.py", code.replace("\nimages =", DIES, 1))
    assert (place / "killed").exists()
    check_answers(place)


@pytest.mark.exhaustive
def test_ray_takes_other_exports(place):
    pytest.importorskip("ray", reason="needs the extra [ray]")
    pytest.importorskip("tf2onnx", reason="needs the extra [export]")
    from keras_resnet.runs.export import export

    export(TRAINED, format="onnx", output=place / "onnx")
    code = many_images_script("predict_ray.py")
    execute(place, "predict_ray.py", re.sub('abspath.".*"', 'abspath("onnx"', code))
    check_answers(place)


@pytest.mark.exhaustive
def test_beam_answers_each_image_once(place):
    pytest.importorskip("apache_beam")
    execute(place, "predict_beam.py", many_images_script("predict_beam.py"))
    check_answers(place)


@pytest.mark.exhaustive
def test_spark_answers_each_image_once(place):
    pytest.importorskip("pyspark")
    execute(place, "predict_spark.py", many_images_script("predict_spark.py"))
    check_answers(place, top=1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_shards_that_tfds_writes_are_trained_from(tmp_path, file_format, capsys):
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [data]")
    import keras_resnet
    from keras_resnet.__main__ import main

    write_photos(tmp_path / "photos" / "train")
    (tmp_path / "photos/train/a/damaged.png").unlink()
    code = many_images_script("photos_builder.py").replace("array_record", file_format)
    execute(tmp_path, "photos_builder.py", code)
    data = tmp_path / "shards/photos/1.0.0"
    words = [
        "train",
        "--data",
        str(data),
        "--network",
        "resnet20",
        "--batch-size",
        "16",
    ]
    words += ["--output-dir", str(tmp_path / "runs"), "--steps", "3"]
    assert main(words) == 0
    folder = tmp_path / "runs/resnet20_on_photos_seed0"
    run = keras_resnet.load(folder)
    assert run.classes == ("a", "b")
    assert run.record["dataset"]["name"] == "photos"
    assert main([*words]) == 0  # It is finished.
    assert main(["evaluate", str(folder), "--split", "validation"]) == 0
    assert "photos validation" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no test split"):
        run.evaluate()
    assert run.evaluate(split="validation")["n"] == 12
