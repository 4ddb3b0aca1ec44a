"""Unknown names and arguments: the error suggests what could be meant."""

import inspect

import pytest

import keras_resnet
from keras_resnet.config.lookup import arguments_checked, find
from keras_resnet.reproduce import plan, train

CONSTRUCTORS = [name for name in keras_resnet.__all__ if name.startswith("ResNet")]


def test_a_row_that_is_there_and_one_that_is_not():
    assert find({"one": 1}, "one", kind="number") == 1
    with pytest.raises(ValueError, match="Unknown number 'On'. Did you mean 'one'"):
        find({"one": 1}, "On", kind="number")


def test_a_checked_function_is_as_it_was():
    def power(base: int, *, exponent: int = 2) -> int:
        """Raises."""
        return base**exponent

    checked = arguments_checked(power)
    assert (checked(3), checked(2, exponent=3), checked(base=4)) == (9, 8, 16)
    assert (checked.__name__, checked.__doc__) == ("power", "Raises.")
    assert inspect.signature(checked) == inspect.signature(power)
    message = (
        r"power\(\) has no argument `exponend`. Did you mean `exponent`\? It has: ba"
    )
    with pytest.raises(TypeError, match=message):
        checked(2, exponend=3)
    with pytest.raises(TypeError, match="missing 1 required"):
        checked()


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors_suggest_arguments(name):
    message = rf"{name}\(\) has no argument `clases`. Did you mean `classes`\?"
    with pytest.raises(TypeError, match=message):
        getattr(keras_resnet, name)(clases=10)


@pytest.mark.parametrize(
    ("function", "given", "meant"),
    [
        (keras_resnet.create, "clases", "classes"),
        (keras_resnet.create, "weigths", "weights"),
        (keras_resnet.create, "drop_out", "dropout"),
        (keras_resnet.create, "include_preprocesing", "include_preprocessing"),
        (keras_resnet.backbone, "feature", "features"),
        (keras_resnet.backbone, "frozen_batchnorm", "frozen_batch_norm"),
        (keras_resnet.backbone, "input_shap", "input_shape"),
        (train, "epoch", "epochs"),
        (train, "learning_rates", "learning_rate"),
        (plan, "batchsize", "batch_size"),
    ],
)
def test_functions_suggest_arguments(function, given, meant):
    message = rf"{function.__name__}\(\) has no argument `{given}`. .*`{meant}`\?"
    with pytest.raises(TypeError, match=message):
        function("resnet20", **{given: 1})


def test_a_backbone_has_no_classifier():
    with pytest.raises(TypeError, match="no argument `classes`. "):
        keras_resnet.backbone("resnet20", classes=10)
