"""A hook of MkDocs: the executed notebooks as pages of the site, by nbconvert."""

import pathlib
import re

from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
BADGE = re.compile(r"\[!\[(Open in Colab)\]\([^)]*\)\](\([^)]*\))")
NEIGHBOUR = re.compile(r"\]\((\w+)\.ipynb")
FROM_A_PAGE = re.compile(r"\]\(\.\./((?:\.\./)*notebooks/\w+)\.ipynb")


def on_files(files, config):
    """Adds a page for each notebook, and its pictures."""
    exporter = MarkdownExporter()
    for path in sorted(FOLDER.glob("*.ipynb")):
        resources = {"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
        text, found = exporter.from_filename(str(path), resources=resources)
        made = dict(found["outputs"])
        made[f"{path.stem}.md"] = as_page(text)
        for name, content in made.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown, **_):
    """Leads links to notebooks, which GitHub shows, to their pages of the site."""
    return FROM_A_PAGE.sub(r"](\1.md", markdown)


def as_page(text):
    """A notebook's Markdown with links to other pages, and nothing from other hosts."""
    text = BADGE.sub(r"[\1]\2{ .md-button }", text)
    text = NEIGHBOUR.sub(r"](\1.md", text).replace("](../docs/", "](../")
    text = re.sub("\n{4,}", "\n\n", text)  # Between outputs.
    lines, section, code = [], "", False
    for line in text.splitlines():  # Pictures are described by their section's title.
        code ^= line.startswith("```")
        if line.startswith("#") and not code:
            section = line.lstrip("# ")
        lines.append(line.replace("![png](", f"![{section}]("))
    return "\n".join(lines)
