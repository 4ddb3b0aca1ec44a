"""An optimizer of ours by Keras's own operations, to compare with."""

import keras

from keras_resnet.training.optimizers import CoupledSGD


class ByKeras(CoupledSGD):
    """`CoupledSGD` as Keras computes it: several operations for each variable."""

    _backend_update_step = keras.optimizers.SGD._backend_update_step

    def update_step(self, gradient, variable, learning_rate):
        if self._decays[self._get_variable_index(variable)]:
            gradient = gradient + self.coupled_weight_decay * variable
        keras.optimizers.SGD.update_step(self, gradient, variable, learning_rate)
