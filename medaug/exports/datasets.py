"""A run's synthetic cases together with its real ones, in the formats of nnU-Net v2, the MSD and MONAI datalists.

- nnU-Net (dataset_format.md, manual_data_splits.md) and the Medical Segmentation Decathlon (medicaldecathlon.com)
  descend from one another: `imagesTr/`, `labelsTr/` (real training cases and synthetic ones), `imagesTs/`, `labelsTs/`
  (held-out patients), `dataset.json`. nnU-Net adds a channel number to image names, a folder of its own, and
  `splits_final.json`; of several sequences it has a file each, the Decathlon one 4-D file.
- A MONAI datalist is `images/`, `labels/` and JSON files whose paths are relative to them. `datalist.json` has the
  run's own split; `datalist_fold<k>.json` a cross-validation of the training patients as MONAI reads it ("fold" is k
  for the cases that validate, -1 for those that train); `datalist_all.json` lists everything as "training", for medaug
  itself with `split.json` as `split.file`: the held-out patients test again, and the synthetic cases train.

In folds a synthetic case never trains where a patient it was made from validates. The generator itself learnt from all
training patients: only the held-out patients, who are in no fold, can say how good a network is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from medaug.data.atomic import atomic_path, check_new, write_json
from medaug.errors import ConfigError
from medaug.experiment.backends.layout import dataset_json
from medaug.exports.cases import ExportCase, ExportSet, export_set
from medaug.splits import Split, fold_patients

FOLDS = 5
"""As nnU-Net has by default; fewer where there are fewer patients."""
NNUNET_ID = 501
"""Below 500 lie the numbers of public data sets."""


class Fold(NamedTuple):
    """The cases of one fold; those that validate are real."""

    train: list[ExportCase]
    validation: list[ExportCase]


def export_dataset(folder: Path, out: Path, to: str) -> str:
    """Writes `out`, whole or not at all, and says what is in it.

    Raises:
        ConfigError: for a format there is not.
        RunError: if the run has no synthetic set, or `out` is there already.
        LeakageError: if a synthetic case was made from a held-out patient.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to: found {to!r}; expected one of {', '.join(FORMATS)}")
    check_new(out)
    found = export_set(folder)
    with atomic_path(out) as temporary:
        temporary.mkdir()
        FORMATS[to](found, temporary)
    return found.description


def folds_of(found: ExportSet) -> list[Fold]:
    """Every training patient validates in one of the folds; there are none where a single patient trains."""
    patients = {case.patient for case in found.training if case.is_real}
    count = min(FOLDS, len(patients))
    if count < 2:
        return []
    tested = [set(fold_patients(patients, count, fold, 0, 0).test) for fold in range(count)]
    return [
        Fold(
            [case for case in found.training if not case.sources & validating],
            [case for case in found.training if case.is_real and case.patient in validating],
        )
        for validating in tested
    ]


def _write_nnunet(found: ExportSet, out: Path) -> None:
    """`out` becomes nnU-Net's `nnUNet_raw`. nnU-Net does not read `training`, where a split by patient can look."""
    words = re.findall(r"[A-Za-z0-9]+", found.name) or ["medaug"]
    root = out / f"Dataset{NNUNET_ID}_{''.join(word.capitalize() for word in words)}"
    training = _write_decathlon(found, root, [f"_{channel:04d}" for channel in range(len(found.channels))])
    more = {"description": found.description, "training": training}
    described = dataset_json(root.name, found.channels, found.classes, found.regions, len(found.training), **more)
    write_json(root / "dataset.json", described)
    if folds := folds_of(found):
        names = [{"train": [c.name for c in f.train], "val": [c.name for c in f.validation]} for f in folds]
        write_json(root / "splits_final.json", names)


def _write_msd(found: ExportSet, out: Path) -> None:
    described = {
        "name": found.name,
        "description": found.description,
        "reference": "",
        "licence": "as the real images",
        "release": "1.0",
        "tensorImageSize": "3D" if len(found.channels) == 1 else "4D",
        "modality": _numbered(found.channels),
        "labels": _numbered(("background", *found.classes)),
        "numTraining": len(found.training),
        "numTest": len(found.held_out),
        "training": _write_decathlon(found, out, [""]),
        "test": [f"./imagesTs/{case.name}.nii.gz" for case in found.held_out],
    }
    write_json(out / "dataset.json", described)


def _write_decathlon(found: ExportSet, out: Path, endings: list[str]) -> list[dict[str, object]]:
    """Writes the four folders, of each image a file an ending; returns what `dataset.json` lists for training."""
    for part, cases in (("Tr", found.training), ("Ts", found.held_out)):
        (out / f"images{part}").mkdir(parents=True)
        for case in cases:
            files = [out / f"images{part}" / f"{case.name}{ending}.nii.gz" for ending in endings]
            case.write(files, out / f"labels{part}" / f"{case.name}.nii.gz")
    return [
        {"image": f"./imagesTr/{case.name}.nii.gz", "label": f"./labelsTr/{case.name}.nii.gz", "patient": case.patient}
        | case.provenance
        for case in found.training
    ]


def _write_datalist(found: ExportSet, out: Path) -> None:
    count, entries = len(found.channels), {}
    endings = [""] if count == 1 else [f"_{channel:04d}" for channel in range(count)]
    for case in found.cases:
        images, label = [f"images/{case.name}{ending}.nii.gz" for ending in endings], f"labels/{case.name}.nii.gz"
        case.write([out / image for image in images], out / label)
        entries[case.name] = (
            {"case": case.name, "patient": case.patient, "image": images if len(images) > 1 else images[0]}
            | ({"label": label} if case.labelled else {})
            | case.provenance
        )
    head = {
        "name": found.name,
        "description": found.description,
        "channel_names": _numbered(found.channels),
        "labels": _numbered(("background", *found.classes)),
    }
    training = [entries[case.name] for case in found.training]
    validation, testing = (
        [entries[case.name] for case in found.held_out if case.part == part] for part in ("validation", "test")
    )
    write_json(out / "datalist.json", head | {"training": training, "validation": validation, "testing": testing})
    write_json(out / "datalist_all.json", head | {"training": training + validation + testing})
    patients = {
        part: tuple(sorted({case.patient for case in found.cases if case.is_real and case.part == part}))
        for part in ("train", "validation", "test")
    }
    write_json(out / "split.json", Split(**patients).to_dict())
    for number, fold in enumerate(folds_of(found)):
        folded = [entries[case.name] | {"fold": -1} for case in fold.train]
        folded += [entries[case.name] | {"fold": number} for case in fold.validation]
        write_json(out / f"datalist_fold{number}.json", head | {"training": folded, "testing": validation + testing})


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


FORMATS: dict[str, Callable[[ExportSet, Path], None]] = {
    "nnunet": _write_nnunet,
    "msd": _write_msd,
    "datalist": _write_datalist,
}
"""What `--to` takes."""
