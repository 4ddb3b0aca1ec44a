"""Scripts that the guides show, as a reader would copy them."""

import pathlib
import re

GUIDES = pathlib.Path(__file__).parents[2] / "docs" / "guides"


def many_images_script(name):
    """The block of the guide on many images that begins with a file's name."""
    text = (GUIDES / "many_images.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    [found] = [block for block in blocks if block.startswith(f"# {name}\n")]
    return found
