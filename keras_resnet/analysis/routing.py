"""Steers the blocks of a network: what each passes on, forward and backward.

`route` makes a clone of a network in which every residual addition is a `RoutedAdd`. Its
scalar weights say how much of the shortcut and of the residual goes into the sum, and how
much of the gradient goes back into each. So a block is deleted, or a path chosen for the
gradient, by an assignment: the graph is built and compiled once, where a clone for each
lesion would be compiled anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import keras

from keras_resnet.analysis.blocks import (
    PLAIN_BLOCKS,
    Block,
    Plain,
    Residuals,
    in_stages,
)
from keras_resnet.analysis.graphs import clone, without_xla
from keras_resnet.analysis.routed_add import RoutedAdd

__all__ = ["PLAIN_BLOCKS", "Block", "Routed", "RoutedAdd", "route"]


@dataclass(frozen=True, kw_only=True)
class Routed:
    """A clone of a network whose blocks can be steered.

    Attributes:
        model: The clone. Its functional models lie flat in it, and its weights are
            copies, apart from four of each `RoutedAdd`.
        blocks: Its blocks, in the order of the network.
        plain: Whether it is a plain net, whose blocks have no shortcut but a way past
            them that is closed in the ordinary network.
        skipped: Names of a plain net's blocks that nothing can lead past, since their
            input and output differ in shape.
    """

    model: keras.Model
    blocks: tuple[Block, ...]
    plain: bool = False
    skipped: tuple[str, ...] = ()

    def addition(self, block: Block | str) -> RoutedAdd:
        """The `RoutedAdd` of a block.

        Raises:
            ValueError: If there is no such block.
        """
        name = block if isinstance(block, str) else block.name
        if name not in {block.name for block in self.blocks}:
            raise ValueError(
                "The block must be one of "
                f"{', '.join(block.name for block in self.blocks)}. "
                f"Received: {name!r}."
            )
        return self.model.get_layer(name)

    def delete(self, blocks: Iterable[Block | str]) -> None:
        """Leaves out the residuals of these blocks and of no others.

        Of a plain net, the blocks themselves are left out. An empty iterable gives the
        whole network again.

        Raises:
            ValueError: If there is no such block.
        """
        gone = {self.addition(block).name for block in blocks}
        for block in self.blocks:
            layer = self.addition(block)
            layer.carry.assign(1.0 if block.name in gone else layer.ordinary_carry)
            layer.residual.assign(0.0 if block.name in gone else 1.0)

    def gates(self) -> list[keras.Variable]:
        """``gate_carry`` and ``gate_residual`` of each block, one block after the other."""
        layers = [self.addition(block) for block in self.blocks]
        return [gate for one in layers for gate in (one.gate_carry, one.gate_residual)]

    def residual_weights(self, block: Block) -> list[keras.Variable]:
        """All weights of the layers on a block's residual, in the order of their calls."""
        names = dict.fromkeys(block.residual)  # Once, where a layer is called twice.
        layers = {layer.name: layer for layer in self.model.layers}
        return [w for name in names if name in layers for w in layers[name].weights]


def route(
    model: keras.Model, *, plain_blocks: str = PLAIN_BLOCKS, dtype: str | None = None
) -> Routed:
    """Clones a network so that its blocks can be deleted and its gradients led.

    A residual addition is one of two tensors of one shape that depend on a common
    operation: `keras.layers.Add`, or ``+``. The shortcut is the input with fewer
    operations back to what both have in common. Veit et al. 2016, sec. 3 and 4, are the
    source of what can be done with it.

    Without such an addition the network is taken for a plain net: a way that is closed at
    first leads past each block whose input and output have one shape.

    Args:
        model: A functional model or a built `keras.Sequential`, with weights of any kind;
            it stays as it is. Functional models in it are laid flat.
        plain_blocks: Of plain nets: regular expression whose first group is, at the
            beginning of a layer's name, the name of its block.
        dtype: In which the clone computes, e.g. ``"float64"``; by default as the model.

    Returns:
        A `Routed`, whose outputs are those of ``model`` up to rounding.

    Raises:
        ValueError: If the model is not functional or has no blocks.
    """
    routed = routed_or_not(model, plain_blocks=plain_blocks, dtype=dtype)
    if not routed.blocks:
        raise ValueError(
            "`model` must have residual additions, of two tensors of one shape that depend "
            "on a common layer, or blocks of layers whose names begin with what "
            f"plain_blocks={plain_blocks!r} finds, whose inputs and outputs have one "
            f"shape. Received: a model named {model.name!r} without any."
        )
    return routed


def routed_or_not(
    model: keras.Model, *, plain_blocks: str = PLAIN_BLOCKS, dtype: str | None = None
) -> Routed:
    """As `route`, but of a model without blocks a clone without any."""
    residuals = Residuals()
    cloned = without_xla(clone(model, residuals.call, dtype=dtype))
    if residuals.blocks:
        return Routed(model=cloned, blocks=in_stages(residuals.blocks))
    plain = Plain(plain_blocks)
    cloned = without_xla(clone(model, plain.call, dtype=dtype))
    return Routed(
        model=cloned,
        blocks=in_stages(plain.blocks),
        plain=True,
        skipped=plain.unclosed(),
    )


def residual_network(
    model: keras.Model | Routed, *, dtype: str | None = None
) -> Routed:
    """A network, routed if it isn't yet, that has residual additions.

    Raises:
        ValueError: If the model is not functional or has no residual additions.
    """
    routed = model if isinstance(model, Routed) else routed_or_not(model, dtype=dtype)
    if routed.plain:
        raise ValueError(
            "`model` must have residual additions, of two tensors of one shape that depend "
            f"on a common layer. Received: a model named {routed.model.name!r} without any."
        )
    return routed
