"""One line that says how far something is: in a terminal, a notebook or a file."""

import os
import sys
from typing import Any, TextIO

from rich.text import Text

WIDTH = 80  # Of a terminal that doesn't tell its own.


class Line:
    """Writes a line again and again over itself, where that is possible.

    In a terminal the line is cut to the width that the terminal has at that moment: one
    that wraps would leave a row behind each time. In a notebook it replaces an output.

    Args:
        file: Where to write; standard output by default.
        redraw: Whether the line replaces the one before; by default, if ``file`` is a
            terminal or a notebook's output.
    """

    def __init__(self, file: TextIO | None = None, redraw: bool | None = None) -> None:
        # Programs without a console have no standard output.
        self.file: TextIO = file or sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        # Of a notebook's kernel, in the notebook itself, in Colab and in VS Code.
        self.in_notebook: bool = type(self.file).__module__ == "ipykernel.iostream"
        if redraw is None:
            redraw = self.in_notebook or self.file.isatty()
        self.redraw: bool = redraw
        self.drawn: bool = False  # Whether a line stands there that isn't ended.
        self.output: Any = None  # The notebook's, which is replaced.

    def draw(self, text: str) -> None:
        """Writes a line that the next one replaces, or without `redraw` one that stays."""
        if not self.redraw:
            self._write(text + "\n")
        elif self.in_notebook:
            self._show(text)
        else:
            cut = Text(text)
            cut.truncate(self._width(), overflow="ellipsis", pad=True)
            self._write("\r" + cut.plain)
        self.drawn = True

    def end(self, text: str) -> None:
        """Writes a line that stays, whole."""
        if self.redraw and self.in_notebook:
            self._show(text)
            self.output = None
        elif self.redraw and self.drawn:
            self._write("\r" + text.ljust(self._width()) + "\n")
        else:
            self._write(text + "\n")
        self.drawn = False

    def _width(self) -> int:
        try:
            columns = os.get_terminal_size(self.file.fileno()).columns
        except (AttributeError, OSError, ValueError):
            columns = 0
        # A sign in the last column would let some terminals begin another row.
        return (columns or WIDTH) - 1

    def _write(self, text: str) -> None:
        try:
            self.file.write(text)
            self.file.flush()
        except OSError:  # Nobody reads any more, which is no reason to stop.
            self.file = open(os.devnull, "w")  # noqa: SIM115

    def _show(self, text: str) -> None:
        from IPython.display import display

        content = {"text/plain": text}
        if self.output is None:
            self.output = display(content, raw=True, display_id=True)
        else:
            self.output.update(content, raw=True)
