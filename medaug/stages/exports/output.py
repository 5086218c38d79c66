"""Where an export goes: nothing is written over."""

from __future__ import annotations

from pathlib import Path

from medaug.errors import RunError


def check_new(out: Path) -> None:
    """Refuses what is there already; an empty folder may be filled.

    Raises:
        RunError: naming it.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    check_free(out)


def check_free(out: Path) -> None:
    """Refuses a path that anything is at.

    Raises:
        RunError: naming it.
    """
    if out.exists():
        raise RunError(f"{out}: exists already; nothing is written over it. Choose another name, or remove it.")
