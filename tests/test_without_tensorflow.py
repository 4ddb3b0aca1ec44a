"""What works on JAX and PyTorch where TensorFlow, a dependency, was left out."""

import pytest

from tests.helpers.guides import scripts

EACH = pytest.mark.parametrize(
    "backend", ["jax", pytest.param("torch", marks=pytest.mark.exhaustive)]
)
WITHOUT = """
import importlib.util
assert importlib.util.find_spec("tensorflow") is None
import keras, numpy as np, keras_resnet
from keras_resnet import analysis
from keras_resnet.__main__ import main

model = keras_resnet.create("resnet20", classes=3, input_shape=(32, 32, 3))
images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype="uint8")
x, y = keras_resnet.preprocess_input(images, model), np.arange(8) % 3
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, verbose=0)
assert len(analysis.layer_responses(model, x).layers) > 18
assert len(analysis.delete_each(model, (x, y)).loss) == 9
assert np.isfinite(analysis.gradient_norms(model, x, y).norms).all()
direction = analysis.random_direction(model, seed=0)
found = analysis.line(model, (x, y), direction, positions=(0.0, 0.1))
assert np.isfinite(found.loss).all()
model.save("own.keras")
open("names.txt", "w").write("ant\\nbee\\ncat\\n")
own = ["own.keras", "folder", "--network", "resnet20", "--classes", "names.txt"]
assert main(["convert", *own]) == 0
again = keras.saving.load_model("folder/model.keras")
found = (keras.ops.convert_to_numpy(one(x)) for one in (again, model))
np.testing.assert_allclose(*found, atol=1e-5)
detector = keras_resnet.detection.FasterRCNN("fasterrcnn_resnet18_fpn", num_classes=3)
assert detector.features.count_params() > 11e6
"""


@EACH
@pytest.mark.multiprocess
def test_networks_are_built_fitted_analysed_and_converted(
    without_tensorflow, backend, tmp_path
):
    pytest.importorskip(backend)
    done = without_tensorflow(backend, WITHOUT, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_guides_script_runs(without_tensorflow, backend, tmp_path):
    pytest.importorskip(backend)
    done = without_tensorflow(backend, scripts("your_own_loop.md")[0], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "own.keras").exists()


@EACH
@pytest.mark.multiprocess
def test_to_train_by_a_recipe_says_what_it_lacks_in_one_line(
    without_tensorflow, backend, tmp_path
):
    pytest.importorskip(backend)
    code = "from keras_resnet.__main__ import main; raise SystemExit(main(['train']))"
    done = without_tensorflow(backend, code, tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "makes the batches on every backend: pip install tensorflow" in done.stderr
    assert not [*tmp_path.iterdir()]
