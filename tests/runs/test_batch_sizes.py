"""How many images are computed at a time, where little memory is allowed."""

import keras
import numpy as np
import pytest

from keras_resnet import applications
from keras_resnet.analysis.complexity import output_sizes
from keras_resnet.config.protocols import PROTOCOLS, Protocol
from keras_resnet.devices import limits
from keras_resnet.runs import measure as measuring
from keras_resnet.runs.batch_sizes import images_at_once
from tests.helpers.small_nets import SIZE, shared_net
from tests.runs.test_analyze import examples, run_of

MIB = 2**20


@pytest.fixture(scope="module")
def one_image():
    """Bytes that an image takes: four of the largest maps, of numbers of four bytes."""
    return 4 * 4 * max(output_sizes(shared_net()))


@pytest.fixture
def allowed(monkeypatch):
    """Lets the process use so many bytes of memory."""
    return lambda size: monkeypatch.setattr(limits, "memory", lambda: size)


def test_a_quarter_of_the_memory_holds_what_is_computed_at_a_time(allowed, one_image):
    model = shared_net()
    allowed(4 * 10 * one_image)
    assert images_at_once(model, 256) == 10
    assert images_at_once(model, 7) == 7
    # For gradients all outputs are kept.
    allowed(4 * 10 * 3 * 4 * sum(output_sizes(model)))
    assert images_at_once(model, 256, derivatives=1) == 10
    # The Hessian's products differentiate those once more.
    assert images_at_once(model, 256, derivatives=2) == 7
    assert images_at_once(model, 256) > 100
    allowed(1000)
    assert images_at_once(model, 256) == 1
    allowed(None)
    assert images_at_once(model, 256) == 256


def test_outputs_are_counted():
    inputs = keras.Input(SIZE)
    maps = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    maps = keras.layers.Conv2D(2, 3, strides=2)(keras.layers.Add()([maps, maps]))
    sizes = [8 * 8 * 3, 8 * 8 * 4, 8 * 8 * 4, 3 * 3 * 2]
    assert sorted(output_sizes(keras.Model(inputs, maps))) == sorted(sizes)


def test_outputs_of_a_network_inside_are_counted_and_unknown_ones_are_not():
    model = shared_net()
    inputs = keras.Input(SIZE)
    whole = keras.Model(inputs, keras.layers.Softmax()(model(inputs)))
    assert sum(output_sizes(whole)) == sum(output_sizes(model)) + 8 * 8 * 3 + 5
    inputs = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    assert output_sizes(keras.Model(inputs, mean)) == [3]


def test_runs_are_measured_with_as_many_images_as_fit(
    allowed, one_image, monkeypatch, tmp_path
):
    run, given = run_of(shared_net(), tmp_path), []

    def noted(*arguments, batch_size):
        given.append(batch_size)
        return iter(())

    monkeypatch.setattr(measuring, "batches_of_views", noted)
    monkeypatch.setattr(measuring.pipelines, "evaluation_batches", noted)
    allowed(4 * 10 * one_image)
    for protocol in (Protocol(crops=2, source="test"), PROTOCOLS["single_crop"]):
        with pytest.raises(ValueError, match="at least one image"):
            measuring.measure(run, examples(12, 0), protocol, batch_size=256)
    assert given == [10, 10]


def test_a_run_predicts_as_many_images_at_a_time_as_fit(
    allowed, one_image, monkeypatch, tmp_path
):
    images, sizes = examples(12, 0).images, []
    whole = run_of(shared_net(), tmp_path).scores(images)
    allowed(4 * 5 * one_image)
    run = run_of(shared_net(), tmp_path)
    predict = run.model.predict_on_batch

    def noted(batch):
        sizes.append(len(batch))
        return predict(batch)

    monkeypatch.setattr(run.model, "predict_on_batch", noted)
    np.testing.assert_allclose(run.scores(images), whole, atol=1e-6)
    assert sizes == [5, 5, 2]
    assert run.scores(images[:0]).shape == (0, whole.shape[1])


@pytest.mark.slow
def test_resnet50_on_large_images_fits_into_two_gibibytes(allowed):
    """On TensorFlow it takes 13.1 MB for an image of 224 pixels, 119 for 640 x 853."""
    allowed(2 * 1024 * MIB)
    views = images_at_once(applications.create("resnet50_v1_5"), 128)
    assert 30 <= views <= 128 and views * 13.1 <= 600
    dense = max(1, views * 224 * 224 // (640 * 853))
    assert 1 <= dense <= 4 and dense * 119 <= 600
