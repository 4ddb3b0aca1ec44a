"""What `keras_resnet.analysis` names, and results as JSON."""

import numpy as np
import pytest

from keras_resnet import analysis


def test_every_name_is_there():
    assert analysis.__all__ == sorted(analysis.__all__)
    for name in analysis.__all__:
        assert getattr(analysis, name).__name__ == name
    assert set(analysis.__all__) <= set(dir(analysis))
    with pytest.raises(AttributeError, match="no attribute 'lesion'"):
        _ = analysis.lesion


def test_numbers_that_json_lacks_are_none():
    found = analysis.Deletions(
        names=("a",),
        stages=np.array([1]),
        error=np.array([np.nan]),
        loss=np.array([np.inf]),
        whole_error=np.float64(1),
        whole_loss=float("nan"),
        images=1,
        skipped=(),
    )
    assert analysis.as_json(found) == {
        "names": ["a"],
        "stages": [1],
        "error": [None],
        "loss": [None],
        "whole_error": 1.0,
        "whole_loss": None,
        "images": 1,
        "skipped": [],
    }
