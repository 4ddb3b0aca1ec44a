"""What many recipes do otherwise than their sources, in words for their rows."""

FAN_IN = (
    "Kernels begin with a variance of 2 / fan-in (He et al. 2015), where the source has "
    "2 / fan-out."
)
# The same while the rate is constant (torch.optim.SGD; Torch's optim.sgd; darknet,
# update_convolutional_layer). At momentum 0.9, a third of a velocity is left after ten.
MOMENTUM = (
    "The momentum's velocity holds the learning rate, as in Caffe, where the source "
    "multiplies by it afterwards: after a change of the rate they differ for some ten "
    "updates."
)
