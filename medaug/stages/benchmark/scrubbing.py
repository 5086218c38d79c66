"""Texts without paths: where the data and the run lay on one machine says nothing to a reader, and may name people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PLACEHOLDER = "<path>"
_PATH = re.compile(r"(?<![\w.:/<>)+~-])(?:\.{0,2}/|~/|[A-Za-z]:[\\/])[^\s'\"<>|,;()\[\]{}]+")
"""A path from the root, from home, from a folder above, or of a drive."""


def without_paths(value: Any, known: Sequence[Path] = ()) -> Any:
    """The same JSON value, paths in its texts replaced by a placeholder.

    Args:
        known: paths that may hold blanks and are replaced first, as they are written and from the root; a single
            name, which may be any word, only from the root.
    """
    if isinstance(value, dict):
        return {key: without_paths(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, known) for item in value]
    if not isinstance(value, str):
        return value
    names = {text for path in known for text in (str(path), str(path.resolve())) if "/" in text or " " in text}
    for text in sorted(names, key=len, reverse=True):
        value = re.sub(rf"(?<![\w.-]){re.escape(text)}(?![\w.-])[^\s'\",;]*", PLACEHOLDER, value)
    return _PATH.sub(PLACEHOLDER, value)
