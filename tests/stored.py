"""What a run's prepared folder holds, as tests look at it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from medaug.data.atomic import read_json, write_json
from medaug.data.cache import open_array, prepare_cases, with_array
from medaug.data.records import Case, PreparedCase
from medaug.errors import DataError


def prepare_case(case: Case, folder: Path, **options: Any) -> PreparedCase:
    return prepare_cases([case], folder, **options)[0][0]


def is_current(case: Case, folder: Path, **options: Any) -> bool:
    """Whether preparing a case again, here in a copy of the folder, would leave its files as they are."""
    with TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        before = {path: path.stat().st_mtime_ns for path in Path(copy).iterdir()}
        try:
            prepare_cases([case], copy, **options)
        except DataError:
            return False
        return before == {path: path.stat().st_mtime_ns for path in Path(copy).iterdir()}


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
