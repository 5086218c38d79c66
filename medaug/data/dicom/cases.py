"""A tree of DICOM files as a data set: one case a series; pydicom is imported only when there is one.

The patient is the PatientID as it stands, the unit of every split. Labels may lie beside the tree as
`labels/<case>.nii.gz` (or any other format that is read), on the grid of the series.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.data.cases import files_below, make_case, natural_key
from medaug.data.opening import DICOM, is_dicom, is_scan, stem_of, suffix_of
from medaug.data.records import Case
from medaug.errors import ConfigError, DataError

if TYPE_CHECKING:
    from medaug.data.dicom.series import Series

LABELS = "labels"


def images_below(root: Path) -> tuple[list[Path], list[Path]]:
    """The files below a folder, outside its `labels/`, that are DICOM, and the images that are not."""
    dicom: list[Path] = []
    others: list[Path] = []
    for file in files_below(root) if root.is_dir() else ():
        if root / LABELS in file.parents:
            continue
        if suffix_of(file) in DICOM or (not is_scan(file) and is_dicom(file)):
            dicom.append(file)
        elif is_scan(file):
            others.append(file)
    return dicom, others


def find_dicom_cases(root: Path, labels: dict[str, Path], sequence: str | int | None = None) -> list[Case]:
    """One case for each series below `root`; a series of one slice is a 2-D case.

    A case is named after its file (one slice) or its folder, with as much of the path in front as tells it apart, and
    with a part of a hash of its UID where several series share a folder.

    Args:
        root: a folder.
        labels: by the names of their cases.
        sequence: only series with this Modality or SeriesDescription, in upper or lower case.

    Raises:
        DataError: if a series has no PatientID, or a label no series.
        ConfigError: if no series has the chosen Modality or SeriesDescription.
    """
    from medaug.data.dicom.series import find_series

    everything = [series for series in find_series(root) if root / LABELS not in series.files[0].parents]
    names, wanted = _names(root, everything), str(sequence).lower()
    kept = [s for s in everything if sequence is None or wanted in (s.modality.lower(), s.description.strip().lower())]
    if sequence is not None and not kept:
        kinds = sorted({kind for s in everything for kind in (s.modality, s.description.strip()) if kind})
        raise ConfigError(f"{root}: no series {sequence!r}; choose a Modality or SeriesDescription: {', '.join(kinds)}")
    orphans = sorted(labels.keys() - set(names), key=natural_key)
    if orphans:
        found, expected = f"{len(orphans)} label(s) without a series", f"the names of cases, such as {names[0]}"
        raise DataError.about(labels[orphans[0]], found, expected, "Rename the label after its case, or move it away.")
    cases = []
    for name, series in zip(names, everything, strict=True):
        if series in kept and not series.patient:
            found = "no PatientID"
            remedy = "Write it in (a pseudonym does), or list the series in a datalist JSON with their patients."
            raise DataError.about(series.files[0], found, "one in every file, because patients are never split", remedy)
        if series in kept:
            uid = None if len(series.files) == 1 else series.uid or None
            cases.append(make_case(name, _place(series), labels.get(name), patient=series.patient, series_uid=uid))
    return cases


def _place(series: Series) -> Path:
    """The file of a single slice, or the deepest folder that holds all files."""
    if len(series.files) == 1:
        return series.files[0]
    return Path(os.path.commonpath([file.parent for file in series.files]))


def _names(root: Path, found: list[Series]) -> list[str]:
    """A unique name for each series: no longer than it needs to be."""
    parts = []
    for series in found:
        place = _place(series)
        inside = place.relative_to(root).parts or (root.resolve().name,)
        parts.append((*inside[:-1], stem_of(inside[-1])))
    uses = Counter(parts)
    for index, series in enumerate(found):
        if uses[parts[index]] > 1:
            digest = hashlib.sha256((series.uid or str(series.files[0])).encode()).hexdigest()[:8]
            parts[index] = (*parts[index][:-1], f"{parts[index][-1]}-{digest}")
    short = Counter(part[-1] for part in parts)
    return [part[-1] if short[part[-1]] == 1 else "_".join(part) for part in parts]
