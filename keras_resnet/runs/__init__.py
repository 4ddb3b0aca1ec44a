"""A run: requested, trained, evaluated, recorded, used for predictions and exported.

Whatever trains and measures computes with oneDNN on CPUs. TensorFlow must be told before it
is imported, and Keras imports it: therefore here, before any module of this package is.
"""

from keras_resnet.devices import onednn

onednn.switch_on()
