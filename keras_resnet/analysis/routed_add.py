"""The addition at the end of a residual block, with factors that can be assigned."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_resnet")
class RoutedAdd(keras.layers.Layer):
    """The sum of a shortcut and a residual, with factors that can be assigned.

    The output is ``carry * shortcut + residual * residual's input``. The gradient that
    goes into the shortcut is multiplied by ``gate_carry`` besides, and that into the
    residual by ``gate_residual``; these two change no output. All four are scalar weights
    that no optimizer trains. With all at 1 it is `keras.layers.Add`.

    Args:
        shortcut: Which of the two inputs is the shortcut, 0 or 1.
        carry: What the weight ``carry`` begins with: 1, or 0 for a way past a block that
            has none in the ordinary network.
        **options: Of `keras.layers.Layer`.
    """

    def __init__(self, shortcut: int = 0, carry: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.shortcut: int = shortcut
        self.ordinary_carry: float = carry

    def build(self, input_shape: Any) -> None:
        """Makes the four weights."""

        def scalar(name: str, value: float = 1.0) -> keras.Variable:
            start = keras.initializers.Constant(value)
            return self.add_weight(
                shape=(), initializer=start, trainable=False, name=name
            )

        self.carry: keras.Variable = scalar("carry", self.ordinary_carry)
        self.residual: keras.Variable = scalar("residual")
        self.gate_carry: keras.Variable = scalar("gate_carry")
        self.gate_residual: keras.Variable = scalar("gate_residual")

    def call(self, inputs: Any) -> Any:
        """Adds two tensors of one shape."""
        carried, residual = inputs[self.shortcut], inputs[1 - self.shortcut]
        carried = _gated(carried, self.gate_carry)
        residual = _gated(residual, self.gate_residual)
        return self.carry * carried + self.residual * residual

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of either input."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"shortcut": self.shortcut, "carry": self.ordinary_carry}
        return super().get_config() | own


def _gated(x: Any, gate: Any) -> Any:
    """``x``, with its gradient multiplied by ``gate``."""
    return gate * x + keras.ops.stop_gradient((1 - gate) * x)
