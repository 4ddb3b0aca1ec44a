"""The orders of convolution, normalization, ReLU and addition, and what each can have.

He et al. 2016b, fig. 4, and those of other networks. The functions that build them are
in the rows of the same names in `models/orders.py`.
"""

from dataclasses import dataclass

SHORTCUTS = ("A", "B", "C", "D")
OF_RESIDUALS = ("merge", "squeeze_excitation", "stochastic_depth")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What networks of one order of convolutions, norm, ReLU and addition can have.

    Attributes:
        shortcuts: The possible values of `ResNetSpec.shortcut`.
        options: The fields of `ResNetSpec` that can be set.
        preactivation: Whether batch norm and ReLU come before the convolutions (v2).
        dilates: Whether the first block of a stage has its stride, so that dilation can
            take the stride's place.
        before_stage: Number of convolutions before the blocks of each stage.
        at_end: Number of convolutions after the last block.
    """

    shortcuts: tuple[str | None, ...] = SHORTCUTS
    options: tuple[str, ...] = OF_RESIDUALS
    preactivation: bool = False
    dilates: bool = True
    before_stage: int = 0
    at_end: int = 0


ORDERS: dict[str, Order] = {
    "plain": Order(shortcuts=(None,), options=()),
    "original": Order(options=(*OF_RESIDUALS, "zero_gamma")),
    "bn_after_addition": Order(),
    "relu_before_addition": Order(),
    "relu_only_preactivation": Order(),
    "preactivation": Order(options=(*OF_RESIDUALS, "dropout"), preactivation=True),
    "keras_v2": Order(shortcuts=("B",), preactivation=True, dilates=False),
    "darknet": Order(dilates=False, before_stage=1),
    "darknet_timm": Order(dilates=False, before_stage=1),
    "highway": Order(shortcuts=("B",), options=("merge",), dilates=False, at_end=1),
}
WHY_NOT: dict[str, str] = {  # An order can't have an option of these.
    "merge": "only residuals are merged with a shortcut",
    "squeeze_excitation": "it scales residuals, of which there are none",
    "stochastic_depth": "it leaves out residuals, of which there are none",
    "dropout": "it lies between the convolutions of a pre-activation block",
    "zero_gamma": "it needs a batch norm at the end of each residual",
}
