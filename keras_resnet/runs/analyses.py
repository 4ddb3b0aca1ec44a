"""The analyses that a run can be put to, by name.

Importing this module imports no framework, since the command line names the analyses before
it chooses Keras's backend: `keras_resnet.analysis` imports what is used, when it is used.
"""

from keras_resnet.runs.analyses_of_blocks import LESIONS, PATHS, PERMUTATIONS
from keras_resnet.runs.analyses_of_images import (
    ATTRIBUTION,
    FEATURES,
    RECEPTIVE_FIELD,
)
from keras_resnet.runs.analyses_of_signals import GRADIENTS, RESPONSES
from keras_resnet.runs.analyses_of_weights import CURVATURE, LANDSCAPE, TRAJECTORY
from keras_resnet.runs.subjects import Analysis

ANALYSES: dict[str, Analysis] = {
    "responses": RESPONSES,
    "gradients": GRADIENTS,
    "landscape": LANDSCAPE,
    "trajectory": TRAJECTORY,
    "lesions": LESIONS,
    "permutations": PERMUTATIONS,
    "paths": PATHS,
    "attribution": ATTRIBUTION,
    "features": FEATURES,
    "curvature": CURVATURE,
    "receptive-field": RECEPTIVE_FIELD,
}
