"""Weight decay and schedules against the formulas of the papers."""

import keras
import numpy as np
import pytest

from keras_resnet.config.schedules import (
    CosineDecay,
    PlateauDecay,
    PolynomialDecay,
    StepDecay,
)
from keras_resnet.training.optimizers import CoupledSGD
from keras_resnet.training.schedules import learning_rate
from tests.helpers.by_keras import ByKeras


def caffe_sgd(weight, gradients, rate, momentum, decay):
    """Caffe's update: v <- m v + lr (g + d w); w <- w - v."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        velocity = momentum * velocity + rate * (gradient + decay * weight)
        weight = weight - velocity
    return weight


def test_decay_is_coupled_as_in_caffe():
    weight = np.linspace(-2, 2, 5).astype("float32")
    gradients = [np.full(5, g, "float32") for g in (0.3, -0.1, 0.2)]
    variable = keras.Variable(weight)
    optimizer = CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.05)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    expected = caffe_sgd(weight, gradients, 0.1, 0.9, 0.05)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)


def test_excluded_variables_do_not_decay():
    kernel, gamma = (
        keras.Variable(np.ones(2, "float32"), name=n) for n in ("kernel", "gamma")
    )
    optimizer = CoupledSGD(
        0.1, coupled_weight_decay=0.5, exclude_from_decay=("gamma", "beta", "bias")
    )
    zeros = keras.ops.zeros(2)
    optimizer.apply([zeros, zeros], [kernel, gamma])
    np.testing.assert_allclose(kernel.numpy(), 0.95, rtol=1e-6)
    np.testing.assert_allclose(gamma.numpy(), 1.0)


def test_decay_is_not_in_the_loss():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(16)])
    model.compile(CoupledSGD(0.1, coupled_weight_decay=10.0), "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 16), "float32")
    expected = np.mean(model.predict(x, verbose=0) ** 2)
    assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-5)


def test_optimizer_survives_serialization():
    optimizer = CoupledSGD(0.1, coupled_weight_decay=0.2, exclude_from_decay=("bias",))
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert again.coupled_weight_decay == 0.2
    assert again.exclude_from_decay == ("bias",)


def test_the_two_decays_exclude_each_other():
    with pytest.raises(ValueError, match="decoupled"):
        CoupledSGD(0.1, weight_decay=1e-4)
    with pytest.raises(ValueError, match="must not be negative"):
        CoupledSGD(0.1, coupled_weight_decay=-1)


def updating(kind, nesterov, count=2):
    """A function that updates variables, and these with the optimizer's."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.normal(size=(3, 500)).astype("float32"), name=name)
        for name in ["gamma", *["kernel"] * (count - 1)]
    ]
    schedule = learning_rate(CosineDecay(learning_rate=0.1, warmup=0.2), 9)
    optimizer = kind(
        schedule,
        momentum=0.9,
        nesterov=nesterov,
        coupled_weight_decay=0.01,
        exclude_from_decay=("gamma",),
    )
    optimizer.build(variables)
    update = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    return update, variables + optimizer.variables


@pytest.mark.slow
@pytest.mark.parametrize("nesterov", [False, True])
def test_one_operation_gives_the_bits_of_keras_own(nesterov):
    update, variables = updating(CoupledSGD, nesterov)
    update_by_keras, expected = updating(ByKeras, nesterov)
    rng = np.random.default_rng(1)
    for _ in range(4):
        gradients = [rng.normal(size=(3, 500)).astype("float32") for _ in range(2)]
        update(gradients)
        update_by_keras(gradients)
    for one, other in zip(variables, expected, strict=True):
        assert one.path == other.path
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_variables_update_is_few_operations():
    gradients = [np.zeros((3, 500), "float32")] * 20
    counts = [
        len(update.get_concrete_function(gradients[:n]).graph.get_operations())
        for n in (10, 20)
        for update, _ in [updating(CoupledSGD, True, n)]
    ]
    # The gradient's and the variables' places, a read, the decay and the update.
    assert counts[1] - counts[0] <= 10 * 7


def rate_at(schedule, step):
    return float(keras.ops.convert_to_numpy(schedule(step)))


def test_step_decay_at_the_papers_milestones():
    schedule = learning_rate(StepDecay(learning_rate=0.1, at=(32_000, 48_000)), 64_000)
    expected = {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001}
    for updates_done, rate in expected.items():
        assert rate_at(schedule, updates_done) == pytest.approx(rate, rel=1e-5)


def test_cosine_rises_linearly_and_ends_near_zero():
    schedule = learning_rate(CosineDecay(learning_rate=0.4, warmup=0.25), 100)
    assert rate_at(schedule, 0) == 0
    assert rate_at(schedule, 5) == pytest.approx(0.08)
    assert rate_at(schedule, 25) == pytest.approx(0.4)
    assert rate_at(schedule, 62.5) == pytest.approx(0.2)
    assert rate_at(schedule, 100) == pytest.approx(0, abs=1e-6)


def test_cosine_can_begin_at_a_share():
    row = CosineDecay(learning_rate=0.5, warmup=0.1, warmup_from=0.01)
    schedule = learning_rate(row, 100)
    assert rate_at(schedule, 0) == pytest.approx(0.005)
    assert rate_at(schedule, 10) == pytest.approx(0.5)


def test_polynomial_is_darknets():
    # darknet53.cfg: learning_rate 0.1, policy poly, power 4, burn_in 1000 of 800,000.
    row = PolynomialDecay(learning_rate=0.1, power=4, warmup=1 / 800)
    schedule = learning_rate(row, 800_000)
    assert rate_at(schedule, 0) == 0
    assert rate_at(schedule, 500) == pytest.approx(0.1 / 16)
    assert rate_at(schedule, 1_000) == pytest.approx(0.1 * (799 / 800) ** 4)
    assert rate_at(schedule, 400_000) == pytest.approx(0.1 / 16)
    assert rate_at(schedule, 800_000) == 0
    again = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    assert rate_at(again, 500) == rate_at(schedule, 500)


def test_rates_that_callbacks_lower_begin_as_numbers():
    assert (
        learning_rate(PlateauDecay(learning_rate=0.1, patience=1, min_delta=0), 9)
        == 0.1
    )
    assert learning_rate(StepDecay(learning_rate=0.1, at=()), 9) == 0.1


@pytest.mark.parametrize(
    "row",
    [
        StepDecay(learning_rate=0.1, at=(4, 7)),
        CosineDecay(learning_rate=0.1, warmup=0.2),
        PolynomialDecay(learning_rate=0.1, power=4, warmup=0.2),
    ],
)
def test_schedules_survive_serialization(row):
    schedule = learning_rate(row, 10)
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    config = keras.saving.serialize_keras_object(CoupledSGD(schedule))
    again = keras.saving.deserialize_keras_object(config)._learning_rate
    for step in range(10):
        assert float(again(step)) == float(schedule(step))


def test_what_is_no_schedule_is_refused():
    with pytest.raises(TypeError, match="Received: schedule=0.1"):
        learning_rate(0.1, 10)
