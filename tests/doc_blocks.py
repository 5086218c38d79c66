"""The code blocks of README.md and docs/, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(bash|python|yaml)$")
NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")


@dataclass(frozen=True)
class Block:
    """Of `language` bash, python or yaml, from `line` (from 1) of a page; `excluded` is the reason, if there is one."""

    page: str
    line: int
    language: str
    text: str
    excluded: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[tuple[str, str]]:
        """(place, command) of each line; lines that end in a backslash are one, and comments are left out."""
        pending, first = "", self.line
        for number, line in enumerate(self.text.splitlines(), self.line):
            first = first if pending else number
            pending += re.sub(r"(^|\s+)#\s.*$", "", line).rstrip()
            if pending.endswith("\\"):
                pending = pending[:-1]
            elif pending.strip():
                yield f"{self.page}:{first}", pending.strip()
                pending = ""


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page. A block is excluded by `<!-- not run: the reason -->` on the line before it."""
    name, lines, found, start = str(page.relative_to(ROOT)), page.read_text().splitlines(), [], None
    for number, line in enumerate(lines):
        if start is None and (fence := FENCE.match(line)):
            start, indent, language = number, fence[1], fence[2]
        elif start is not None and line.strip() == "```":
            reason = NOT_RUN.match(lines[start - 1].strip()) if start else None
            text = "\n".join(inner.removeprefix(indent) for inner in lines[start + 1 : number])
            found.append(Block(name, start + 2, language, text, reason[1] if reason else None))
            start = None
    return found
