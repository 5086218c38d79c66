"""A set under names as of a BIDS derivative (Brain Imaging Data Structure 1.9, "Derivatives").

`derivatives/medaug/sub-<number>/anat/sub-<number>_run-<n>_desc-<kind>_<suffix>.nii.gz`, its label as `_dseg.nii.gz`,
and for each image a JSON sidecar. A synthetic case stands under its parent's subject. `participants.tsv` says who
trains, validates and is tested; `dseg.tsv` names the label's values. The suffix is the sequence where BIDS has one of
that name; BIDS has none for CT or for any other, and such names are not checked by its validator.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import medaug
from medaug.data.atomic import write_json, write_text
from medaug.data.tables import csv_text
from medaug.exports.cases import ExportCase, ExportSet

SUFFIXES = {
    "flair": "FLAIR",
    "t2f": "FLAIR",
    "t1": "T1w",
    "t1n": "T1w",
    "pre": "T1w",
    "t1ce": "T1w",
    "t1c": "T1w",
    "post": "T1w",
    "t2": "T2w",
    "t2w": "T2w",
    "ct": "CT",
}
CONTRAST = ("t1ce", "t1c", "post")


def write_bids(found: ExportSet, out: Path) -> None:
    """All cases, of held-out patients too."""
    root, runs = out / "derivatives" / "medaug", Counter[tuple[str, str]]()
    for case in found.cases:
        desc = "real" if case.is_real else "synthetic"
        runs[case.patient, desc] += 1
        acquisition = "_ce-contrast" if found.channel.lower() in CONTRAST else ""
        stem = f"sub-{case.patient}{acquisition}_run-{runs[case.patient, desc]:03d}_desc-{desc}"
        folder = root / f"sub-{case.patient}" / "anat"
        suffix = SUFFIXES.get(found.channel.lower(), "image")
        case.write(folder / f"{stem}_{suffix}.nii.gz", folder / f"{stem}_dseg.nii.gz")
        write_json(folder / f"{stem}_{suffix}.json", _sidecar(case, found))
        if case.labelled:
            write_json(folder / f"{stem}_dseg.json", {"Manual": case.is_real, "SpatialReference": "orig"})
    classes = enumerate(("background", *found.classes))
    write_text(root / "dseg.tsv", csv_text(["index", "name"], list(classes), "\t"))
    parts = {case.patient: case.part for case in found.cases if case.is_real}
    people = [[f"sub-{patient}", part] for patient, part in sorted(parts.items())]
    write_text(root / "participants.tsv", csv_text(["participant_id", "split"], people, "\t"))
    write_json(
        root / "dataset_description.json",
        {
            "Name": found.name,
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "medaug", "Version": medaug.__version__, "Description": found.description}],
        },
    )


def _sidecar(case: ExportCase, found: ExportSet) -> dict[str, Any]:
    said = {"Case": case.name, "Channel": found.channel, "Synthetic": not case.is_real, "Split": case.part}
    return said if case.is_real else said | {"Provenance": case.facts}
