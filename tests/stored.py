"""What a run's prepared folder holds, as tests look at it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medaug.data.atomic import read_json, write_json
from medaug.data.cache import open_array, with_array
from medaug.data.records import PreparedCase


def array_of(folder: Path, entry: Any, kind: str) -> np.ndarray:
    """A stored array (*S) of an entry of the datalist; of an image its only channel."""
    array = np.asarray(open_array(folder, (entry["arrays"] if isinstance(entry, dict) else entry.arrays)[kind]))
    return array[0] if kind == "image" else array


def relabel(datalist: Path, patients: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Changes the stored labels of these patients as if their files had held others."""
    content = read_json(datalist)
    for number, entry in enumerate(content["cases"]):
        if entry["patient"] in patients:
            label = change(np.array(array_of(datalist.parent, entry, "label")))
            changed = with_array(PreparedCase.from_json(entry), datalist.parent, "label", label)
            content["cases"][number] = changed.to_json()
    write_json(datalist, content)
