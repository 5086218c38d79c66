"""What the site takes from elsewhere, at build time: the README's first screen and rooms, and the commands' help.

Called by mkdocs (`hooks` in mkdocs.yml). A page asks by a comment on a line of its own: `<!-- commands -->`,
`<!-- README: first screen -->`, `<!-- README: The rooms -->` (a section by its heading). Links to code, which is not on
the site, keep their text.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[1]
ASKED = re.compile(r"^<!-- (?:(commands)|README: (.+?)) -->$", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A page's text with what it asks for, and without links that lead out of the site."""
    here = PurePosixPath(page.file.src_uri).parent
    markdown = ASKED.sub(lambda found: _commands() if found[1] else _from_readme(found[2], here), markdown)
    return LINK.sub(lambda found: _inside(found, here), markdown)


def _commands() -> str:
    """The help of every command as Markdown, its title left to the page."""
    command = [sys.executable, "-m", "typer", "medaug.cli", "utils", "docs", "--name", "medaug"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    text = done.stdout.removeprefix("# `medaug`\n")
    return re.sub(r"<(\w+(?:\[\w+\])?)>`", r"\1`", text)


def _from_readme(part: str, here: PurePosixPath) -> str:
    """A section's text, or all before the second heading; links as seen from the page."""
    sections = re.split(r"^## (.+)\n", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    by_heading = dict(zip(sections[1::2], sections[2::2], strict=True))
    if part == "first screen":
        text = sections[0].split("\n", 1)[1]
    elif part in by_heading:
        text = by_heading[part]
    else:
        raise ValueError(f"README.md: found no section '{part}'; expected one of: {', '.join(by_heading)}")
    up = "../" * len(here.parts)
    return re.sub(r"\]\(docs/", f"]({up}", text)


def _inside(found: re.Match[str], here: PurePosixPath) -> str:
    """The link, or its text where it leads to a file that is not a page."""
    target = (ROOT / "docs" / here / found[3].split("#")[0]).resolve()
    outside = not target.is_relative_to(ROOT / "docs") and target.exists()
    return found[2] if outside or found[3].split("/")[0] in ("medaug", "examples", "pipelines") else found[0]
