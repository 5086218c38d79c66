"""Paths as the functions take them: text or `Path`."""

from pathlib import Path

AnyPath = str | Path


def path_of(path: AnyPath | None) -> Path | None:
    """As `Path`; None stays None."""
    return None if path is None else Path(path)
