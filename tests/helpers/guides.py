"""Scripts that the guides show, as a reader would copy them."""

import pathlib
import re

GUIDES = pathlib.Path(__file__).parents[2] / "docs" / "guides"


def scripts(guide):
    """The Python blocks of a guide, in order."""
    return re.findall(r"```python\n(.*?)```", (GUIDES / guide).read_text(), re.S)


def many_images_script(name):
    """The block of the guide on many images that begins with a file's name."""
    [found] = [
        block for block in scripts("many_images.md") if block.startswith(f"# {name}\n")
    ]
    return found
