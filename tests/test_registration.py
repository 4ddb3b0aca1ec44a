"""Models with our classes load, whichever of Keras and the package is imported first."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_resnet import layers
from keras_resnet.analysis.routed_add import RoutedAdd
from keras_resnet.config.spec import ResNetSpec, doubling
from keras_resnet.detection import Ensemble, FasterRCNN, MultiScale, Refined
from keras_resnet.detection.pyramid import UpsampleAdd
from keras_resnet.models.layers import FrozenBatchNormalization, GroupedConv2D
from keras_resnet.models.resnet import build
from keras_resnet.training import (
    batch_norm,
    distillation,
    optimizers,
    schedules,
    steps,
)
from keras_resnet.training.faster import faster

REPOSITORY = pathlib.Path(__file__).parents[1]
# By these names files of earlier versions ask for the classes.
NAMES = {
    FrozenBatchNormalization: "keras_resnet>FrozenBatchNormalization",
    GroupedConv2D: "keras_resnet>GroupedConv2D",
    schedules.BurnIn: "keras_resnet>BurnIn",
    optimizers.CoupledSGD: "keras_resnet>CoupledSGD",
    distillation.DistillationLoss: "keras_resnet>DistillationLoss",
    distillation.Teacher: "keras_resnet>Teacher",
    batch_norm.FusedBatchNormalization: "keras_resnet>FusedBatchNormalization",
    steps.LossScale: "keras_resnet>LossScale",
    layers.PointwiseConv2D: "keras_resnet>PointwiseConv2D",
    layers.RandomColorBlend: "keras_resnet>RandomColorBlend",
    layers.RandomInceptionCrop: "keras_resnet>RandomInceptionCrop",
    layers.RandomPCAColor: "keras_resnet>RandomPCAColor",
    layers.RandomPadCropFlip: "keras_resnet>RandomPadCropFlip",
    layers.RandomScaleCrop: "keras_resnet>RandomScaleCrop",
    RoutedAdd: "keras_resnet>RoutedAdd",
    Ensemble: "keras_resnet>Ensemble",
    FasterRCNN: "keras_resnet>FasterRCNN",
    MultiScale: "keras_resnet>MultiScale",
    Refined: "keras_resnet>Refined",
    UpsampleAdd: "keras_resnet>UpsampleAdd",
}
LOAD = """
import sys
{imports}
import numpy as np
model = keras.saving.load_model(sys.argv[1])
assert type(model.optimizer).__name__ == "LossScale", model.optimizer
images, answers = np.load(sys.argv[2]).values()
np.testing.assert_allclose(np.asarray(model(images)), answers, rtol=1e-5)
finders = [type(finder).__name__ for finder in sys.meta_path]
assert "_RegisterAfterKeras" not in finders, finders
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    ).stdout


@pytest.mark.parametrize("kind", NAMES)
def test_classes_keep_the_names_of_earlier_files(kind):
    assert keras.saving.get_registered_name(kind) == NAMES[kind]


def network():
    """A narrow ResNeXt whose batch norms are fused."""
    spec = ResNetSpec(
        stem="cifar",
        stem_filters=16,
        stages=doubling("bottleneck_v1_5", (1, 1), 16),
        groups=4,
        dataset="cifar10",
        paper="none",
        source="none",
    )
    return faster(build(spec))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model with all of the classes, and what it answers to which images."""
    folder = tmp_path_factory.mktemp("saved")
    model = distillation.with_teacher(network(), network(), temperature=2.0)
    schedule = schedules.BurnIn(0.1, steps=10, warmup_steps=2, power=4)
    optimizer = steps.LossScale(optimizers.CoupledSGD(schedule, 0.9))
    model.compile(optimizer, "mse")
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    answers = np.asarray(model(images))
    model.save(folder / "model.keras")
    np.savez(folder / "answers.npz", images=images, answers=answers)
    return folder / "model.keras", folder / "answers.npz"


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import keras\nimport keras_resnet",
        # Looking whether Keras is installed is not importing it.
        "import importlib.util, keras_resnet\n"
        "assert importlib.util.find_spec('keras')\n"
        "import keras",
    ],
    ids=["keras first", "keras_resnet first"],
)
def test_a_model_loads_in_another_process(imports, saved):
    run(LOAD.format(imports=imports), *saved)


def test_a_run_of_an_earlier_version_loads():
    (file,) = (REPOSITORY / "saved_models/quickstart_seed0").glob("*.keras")
    model = keras.saving.load_model(file)
    assert model.output_shape == (None, 10)


EVERY_MODULE_FIRST = """
import importlib, pathlib, sys
import keras
import keras_resnet
package = pathlib.Path(keras_resnet.__file__).parent
registered = keras.saving.get_custom_objects()
expected = {name: kind.__name__ for name, kind in registered.items()}
modules = [".".join(path.with_suffix("").parts)
           for path in (p.relative_to(package.parent) for p in package.rglob("*.py"))
           if not path.name.startswith("__") and "bundled" not in path.parts]
for module in modules:
    for name in [*sys.modules]:
        if name == "keras" or name.split(".")[0] == "keras_resnet":
            del sys.modules[name]
    registered.clear()
    importlib.import_module(module)
    import keras
    found = {name: kind.__name__ for name, kind in registered.items()}
    assert found == expected, (module, expected.keys() - found.keys())
print(len(modules), *expected)
"""


@pytest.mark.exhaustive
def test_classes_are_registered_whichever_module_comes_first():
    # A module that imports Keras is not yet whole when Keras is, and others of the
    # package import from it.
    count, *names = run(EVERY_MODULE_FIRST).split()
    assert int(count) > 80
    assert set(names) == set(NAMES.values())
