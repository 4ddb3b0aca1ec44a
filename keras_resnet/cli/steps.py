"""Says on a terminal what a long step does, and for how long."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Shows a line on standard error until a step is done, and then removes it.

    Where that isn't a terminal, nothing is shown.

    Args:
        what: The step, such as "Exporting runs/quickstart_seed0 as onnx".
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # A folder may be named "[b]".
        TimeElapsedColumn(),
        console=console,
        transient=True,
        # What is printed meanwhile comes above the line, if it goes to the terminal.
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        progress.add_task(what, total=None)
        yield
