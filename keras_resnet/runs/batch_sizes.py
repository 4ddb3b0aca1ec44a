"""How many images a network computes at a time, so that they fit into the memory."""

from __future__ import annotations

import keras

from keras_resnet.analysis.complexity import output_sizes
from keras_resnet.devices import limits

BYTES = 4  # Of a number of float32.
# Of a network's largest outputs as many are there at a time: what a layer takes and gives,
# the shortcut, and what the layer keeps for itself. ResNet-50 takes 13.1 MB per image of
# 224 pixels on TensorFlow, and its largest output has 3.2.
ALIVE = 4
# For gradients all outputs are kept, and their gradients are on their way back: 401 MB for
# an image of ResNet-50, whose outputs have 151 together.
# Products of the Hessian differentiate the gradients: for an image of 32 pixels of
# ResNet-20, whose outputs have 2.8 MB, TensorFlow takes 7.1 and PyTorch 8.6.
KEPT = {1: 3, 2: 4}


def images_at_once(model: keras.Model, most: int, *, derivatives: int = 0) -> int:
    """Gives how many images of the network's own size can be computed at a time.

    Args:
        model: The network. What it gives of unknown size is taken for nothing.
        most: As many are wanted.
        derivatives: 1 where gradients are computed, too, 2 where the Hessian's products.

    Returns:
        From 1 to ``most``, so that they take about a quarter of the memory that this
        process may use.
    """
    sizes = output_sizes(model)
    if derivatives:
        numbers = KEPT[derivatives] * sum(sizes)
    else:
        numbers = ALIVE * max(sizes, default=0)
    return limits.fitting(most, BYTES * numbers)
