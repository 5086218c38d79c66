"""Where an export or a result goes: nothing is written over, unless it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
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


def check_unwritten(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuses a folder that holds results of an earlier call.

    Args:
        names: what the results' files are named, up to their first `_` or `.`.
        overwrite: what is there may be replaced.

    Raises:
        RunError: naming a file.
    """
    there = [path for name in names for path in sorted(out.glob(f"{escape(name)}[._]*"))]
    if there and not overwrite:
        raise RunError(
            f"{there[0]}: exists already, of an earlier call; nothing is written over it. Choose another --out, or "
            "replace it with --overwrite."
        )
