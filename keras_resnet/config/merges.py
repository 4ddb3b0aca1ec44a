"""Ways to join shortcut and residual other than adding them; He et al. 2016b, sec. 3.1.

The functions that build them are in `models/merges.py`.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Constant factors of shortcut and residual: ``s x + r F(x)``.

    He et al. 2016b, sec. 3.1.
    """

    shortcut: float
    residual: float


@dataclass(frozen=True, kw_only=True)
class ExclusiveGate:
    """``(1 - g) x + g F(x)``, g a sigmoid of a convolution of x. Sec. 3.1.

    Attributes:
        bias: Initial bias of the gate; the more negative, the more is carried.
        kernel_size: Of the convolution.
    """

    bias: float
    kernel_size: int = 1


@dataclass(frozen=True, kw_only=True)
class ShortcutGate:
    """``(1 - g) x + F(x)``: "shortcut-only gating", sec. 3.1.

    Attributes:
        bias: Initial bias of the gate; the more negative, the more is carried.
    """

    bias: float


@dataclass(frozen=True, kw_only=True)
class ShortcutDropout:
    """Dropout of the shortcut, with the given rate. Sec. 3.1."""

    rate: float


Merge: TypeAlias = Scaling | ExclusiveGate | ShortcutGate | ShortcutDropout
