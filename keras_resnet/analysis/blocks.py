"""Finds the blocks of a network while it is cloned, and puts a `RoutedAdd` in each."""

import re
from dataclasses import dataclass
from typing import Any

import keras

from keras_resnet.analysis.graphs import Trace, numbers, tensors
from keras_resnet.analysis.routed_add import RoutedAdd

# The layers of a block of our plain nets: "stage2_block1_1_conv".
PLAIN_BLOCKS: str = r"(stage\d+_block\d+)_"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A residual block of a routed network, or a block of a plain net with a way past it.

    Attributes:
        name: Of its `RoutedAdd`, that of the addition in the network.
        stage: Number, from 1, of the run of blocks with one shape that it is in.
        first: Whether it is the first of them, of a plain net with those nothing leads
            past: what it gets comes from another stage, or from the stem.
        shape: Of the addition's output, without the batch; `None` where it is unknown.
        identity: Whether the shortcut is the block's input itself, and the residual
            depends on nothing else.
        shortcut_input: Which of the addition's two inputs is the shortcut, 0 or 1.
        shortcut: Names of the operations on the shortcut, in the order of their calls;
            none for an identity.
        residual: Names of the operations on the residual.
        start: Name of the operation whose output both begin with.
    """

    name: str
    stage: int
    first: bool
    shape: tuple[int | None, ...]
    identity: bool
    shortcut_input: int
    shortcut: tuple[str, ...]
    residual: tuple[str, ...]
    start: str


def in_stages(blocks: list[dict[str, Any]]) -> tuple[Block, ...]:
    """The blocks, with the number of the run of one shape that each is in."""
    numbered: list[Block] = []
    for fields in blocks:
        before = numbered[-1] if numbered else None
        new = before is None or before.shape != fields["shape"]
        stage = before.stage + new if before else 1
        numbered.append(Block(**{"stage": stage, "first": new} | fields))
    return tuple(numbered)


class Residuals:
    """Puts a `RoutedAdd` in the place of each residual addition of a graph."""

    def __init__(self) -> None:
        self.trace: Trace = Trace()
        self.blocks: list[dict[str, Any]] = []

    def call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        """Calls an operation of the graph, or what takes its place."""
        block = self._block(operation, arguments) if _is_addition(operation) else None
        if block is None:
            outputs = operation(*arguments, **options)
            self.trace.note(operation.name, (arguments, options), outputs)
            return outputs
        self.blocks.append(block)
        inputs = list(tensors(arguments))
        dtype = getattr(operation, "dtype_policy", inputs[0].dtype)
        layer = RoutedAdd(block["shortcut_input"], name=block["name"], dtype=dtype)
        outputs = layer(inputs)
        self.trace.note(block["name"], arguments, outputs)
        return outputs

    def _block(self, operation: Any, arguments: Any) -> dict[str, Any] | None:
        """The fields of a block that ends with this addition, if one does."""
        inputs = list(tensors(arguments))
        if len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
            return None
        before = [self.trace.before(tensor) for tensor in inputs]
        common = before[0] & before[1]
        branches = [one & ~common for one in before]
        if not common or branches[0] == branches[1]:
            return None  # Of other images, or twice the same.
        shortcut = min(0, 1, key=lambda i: branches[i].bit_count())
        start = common.bit_length() - 1
        entries = self.trace.entries(branches[1 - shortcut])
        name = operation.name
        used = {block["name"] for block in self.blocks}
        if name in used:  # A layer for several additions; each gets one of its own.
            name = f"{name}_{len(used)}"
        return {
            "name": name,
            "shape": tuple(inputs[0].shape[1:]),
            "identity": not branches[shortcut] and entries == 1 << start,
            "shortcut_input": shortcut,
            "shortcut": self._names(branches[shortcut]),
            "residual": self._names(branches[1 - shortcut]),
            "start": self.trace.names[start],
        }

    def _names(self, operations: int) -> tuple[str, ...]:
        return tuple(self.trace.names[number] for number in numbers(operations))


def _is_addition(operation: Any) -> bool:
    if isinstance(operation, keras.layers.Add):
        return True
    # The operation of ``x + y``, whose class Keras doesn't export.
    return not isinstance(operation, keras.Layer) and type(operation).__name__ == "Add"


class Plain:
    """Leads a way that is closed at first past each block of a plain net.

    A block ends where a layer of another block, or of none, takes its output.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern: re.Pattern[str] = re.compile(pattern)
        self.trace: Trace = Trace()
        self.blocks: list[dict[str, Any]] = []
        self._starts: dict[str, keras.KerasTensor] = {}  # What each block takes.
        self._layers: dict[str, list[str]] = {}
        self._closed: dict[int, keras.KerasTensor] = {}
        self._shapes: set[tuple[int | None, ...]] = (
            set()
        )  # Of the ends of all blocks so far.

    def call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        """Calls an operation of the graph, behind the ways past the blocks before it."""
        own = self._block_of(operation.name)
        arguments = keras.tree.map_structure(
            lambda value: self._entering(value, own), arguments
        )
        outputs = operation(*arguments, **options)
        self.trace.note(operation.name, (arguments, options), outputs)
        if own:
            self._layers.setdefault(own, []).append(operation.name)
        return outputs

    def _block_of(self, name: str) -> str | None:
        found = self.pattern.match(name)
        return found[1] if found else None

    def _entering(self, value: Any, own: str | None) -> Any:
        """An argument of a layer of block ``own``, behind the way past another block."""
        if not keras.utils.is_keras_tensor(value):
            return value
        maker = self._block_of(self.trace.maker(value))
        if maker == own:
            return value
        if maker and id(value) not in self._closed:
            self._closed[id(value)] = self._close(maker, value)
        value = self._closed.get(id(value), value)
        if own:
            self._starts.setdefault(own, value)
        return value

    def _close(self, block: str, end: keras.KerasTensor) -> keras.KerasTensor:
        start = self._starts[block]
        name = f"bypass_of_{block}"
        used = {block["name"] for block in self.blocks}
        first = end.shape not in self._shapes
        self._shapes.add(end.shape)
        if start.shape != end.shape or name in used:
            return end
        self.blocks.append(
            {
                "name": name,
                "first": first,
                "shape": tuple(end.shape[1:]),
                "identity": True,
                "shortcut_input": 0,
                "shortcut": (),
                "residual": tuple(self._layers[block]),
                "start": self.trace.maker(start),
            }
        )
        output = RoutedAdd(carry=0.0, name=name, dtype=end.dtype)([start, end])
        self.trace.note(name, [start, end], output)
        return output

    def unclosed(self) -> tuple[str, ...]:
        """The names of the blocks that nothing leads past."""
        past = {block["name"].removeprefix("bypass_of_") for block in self.blocks}
        return tuple(name for name in self._layers if name not in past)
