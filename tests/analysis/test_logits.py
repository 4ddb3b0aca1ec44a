"""Every function of a loss refuses a model that plainly gives the other kind of outputs."""

import keras
import numpy as np
import pytest

from keras_resnet import analysis
from keras_resnet.analysis.batches import checked_images
from keras_resnet.evaluation.views import Views, predict_views
from keras_resnet.training.distillation import with_teacher
from tests.helpers.small_nets import data, small_net


def surface(model, of, **how):
    directions = [analysis.random_direction(model, seed) for seed in (0, 1)]
    return analysis.surface(model, of, directions, ((0.0,), (0.0,)), **how)


def views(model, of, **how):
    images, labels = of
    return predict_views(
        model, [Views(np.arange(len(labels)), labels, images)], len(labels), **how
    )


MEASURES = {
    "gradients": lambda model, of, **how: analysis.gradient_norms(model, *of, **how),
    "identity": lambda model, of, **how: analysis.gradient_identity(model, *of, **how),
    "paths": lambda model, of, **how: analysis.gradient_by_path(model, *of, **how),
    "curvature": analysis.top_hessian_eigenvalue,
    "lesions": analysis.delete_each,
    "surface": surface,
    "views": views,
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_softmax_is_refused_and_so_is_a_dense_layer(name):
    model = small_net()
    softmax = keras.Model(model.input, keras.layers.Softmax()(model.output))
    with pytest.raises(ValueError, match="`from_logits` must be False"):
        MEASURES[name](softmax, data())
    with pytest.raises(ValueError, match="`from_logits` must be True"):
        MEASURES[name](model, data(), from_logits=False)


def test_a_subclassed_model_is_refused_by_name():
    class Own(keras.Model):
        def call(self, x):
            return keras.ops.mean(x, axis=(1, 2))

    model = Own(name="mine")
    with pytest.raises(ValueError, match="functional or sequential.*named 'mine'"):
        checked_images(model, data()[0])


def test_a_teacher_gives_logits():
    model = small_net()
    softmax = keras.Model(model.input, keras.layers.Softmax()(model.output))
    for pair in ((model, softmax), (softmax, model)):
        with pytest.raises(ValueError, match="must give logits"):
            with_teacher(*pair, 2.0)
