"""A pseudo-terminal of so many columns: for what only a real terminal shows."""

import contextlib
import fcntl
import os
import pty
import struct
import termios


def set_columns(descriptor, columns):
    size = struct.pack("HHHH", 24, columns, 0, 0)
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, size)


class Terminal:
    """Both ends of a pseudo-terminal: ``file`` is written to, `read` gives what came."""

    def __init__(self, columns):
        self.master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w")
        self.resize(columns)

    def resize(self, columns):
        set_columns(self.file.fileno(), columns)

    def read(self):
        """What was written since the last time; at most a few kilobytes."""
        self.file.flush()
        os.set_blocking(self.master, False)
        text = b""
        with contextlib.suppress(OSError):
            while part := os.read(self.master, 65536):
                text += part
        return text.decode()

    def close(self):
        self.file.close()
        os.close(self.master)


def rows_of(text, columns):
    """How many rows of a terminal a text takes that goes back with carriage returns."""
    column = row = 0
    for sign in text:
        if sign == "\r":
            column = 0
        elif sign == "\n":
            row += 1
        else:
            if column == columns:
                column, row = 0, row + 1
            column += 1
    return row + 1
