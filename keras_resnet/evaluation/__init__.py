"""How good a classifier is: from a model and batches, or from its predictions."""

from keras_resnet.evaluation.calibration import (
    Reliability,
    fit_temperature,
    reliability,
    with_temperature,
)
from keras_resnet.evaluation.crops import (
    batches_of_views,
)
from keras_resnet.evaluation.metrics import (
    Metrics,
    evaluate,
    from_probabilities,
    predict,
)
from keras_resnet.evaluation.resized import (
    at_size,
    fully_convolutional,
)
from keras_resnet.evaluation.statistics import (
    ClassResult,
    PairedTest,
    accuracy_interval,
    by_class,
    confusion_matrix,
    most_confident_errors,
    most_confused,
    paired_test,
)
from keras_resnet.evaluation.views import (
    Views,
    predict_views,
)

__all__ = [
    "ClassResult",
    "Metrics",
    "PairedTest",
    "Reliability",
    "Views",
    "accuracy_interval",
    "at_size",
    "batches_of_views",
    "by_class",
    "confusion_matrix",
    "evaluate",
    "fit_temperature",
    "from_probabilities",
    "fully_convolutional",
    "most_confident_errors",
    "most_confused",
    "paired_test",
    "predict",
    "predict_views",
    "reliability",
    "with_temperature",
]
