"""A set as a MONAI datalist: `images/`, `labels/`, and JSON files whose paths are relative to them.

`datalist.json` has the run's own split: "training" (with the synthetic cases), "validation", "testing".
`datalist_fold<k>.json` has a cross-validation of the training patients as MONAI reads it: "fold" is k for the cases
that validate and -1 for those that train, and a synthetic case made from a patient who validates is not in the file.
`datalist_all.json` lists everything as "training", for medaug itself with `split.json`, the run's own split, as
`split.file`: the held-out patients test again, and the synthetic cases train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medaug.data.atomic import write_json
from medaug.exports.cases import ExportCase, ExportSet
from medaug.exports.folds import folds_of
from medaug.splits import Split

TRAINS = -1


def write_datalist(found: ExportSet, out: Path) -> None:
    """Images, labels and datalists."""
    for case in found.cases:
        case.write(out / image_path(case), out / label_path(case))
    by_part = {part: [_entry(case) for case in found.held_out if case.part == part] for part in ("validation", "test")}
    classes = {"0": "background"} | {str(number): name for number, name in enumerate(found.classes, start=1)}
    head = {
        "name": found.name,
        "description": found.description,
        "channel_names": {"0": found.channel},
        "labels": classes,
    }
    training = [_entry(case) for case in found.training]
    write_json(
        out / "datalist.json",
        head | {"training": training, "validation": by_part["validation"], "testing": by_part["test"]},
    )
    write_json(out / "datalist_all.json", head | {"training": training + by_part["validation"] + by_part["test"]})
    patients = {
        part: tuple(sorted({case.patient for case in found.cases if case.is_real and case.part == part}))
        for part in ("train", "validation", "test")
    }
    write_json(out / "split.json", Split(**patients).to_dict())
    for number, fold in enumerate(folds_of(found)):
        training = [_entry(case) | {"fold": TRAINS} for case in fold.train]
        training += [_entry(case) | {"fold": number} for case in fold.validation]
        write_json(
            out / f"datalist_fold{number}.json",
            head | {"training": training, "testing": by_part["validation"] + by_part["test"]},
        )


def image_path(case: ExportCase) -> str:
    return f"images/{case.name}.nii.gz"


def label_path(case: ExportCase) -> str:
    return f"labels/{case.name}.nii.gz"


def _entry(case: ExportCase) -> dict[str, Any]:
    label = {"label": label_path(case)} if case.labelled else {}
    made = {} if case.is_real else {"synthetic": case.facts}
    return {"case": case.name, "patient": case.patient, "image": image_path(case), **label, **made}
