"""A set in the folders of the Medical Segmentation Decathlon and of nnU-Net v2, which descend from one another.

Both: `imagesTr/`, `labelsTr/` (real training cases and synthetic ones), `imagesTs/`, `labelsTs/` (held-out patients),
and `dataset.json`. nnU-Net adds a channel number to image names, a folder of its own for each data set, and
`splits_final.json`. Patients stand in `dataset.json`, where nnU-Net does not look but a split by patient can.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medaug.data.atomic import write_json
from medaug.exports.cases import ExportCase, ExportSet
from medaug.exports.folds import folds_of

ENDING = ".nii.gz"
NNUNET_ID = 501
"""Below 500 lie the numbers of public data sets."""


def write_msd(found: ExportSet, out: Path) -> None:
    """After the description on medicaldecathlon.com."""
    _write_cases(found, out, "")
    classes = {"0": "background"} | {str(number): name for number, name in enumerate(found.classes, start=1)}
    write_json(
        out / "dataset.json",
        {
            "name": found.name,
            "description": found.description,
            "reference": "",
            "licence": "as the real images",
            "release": "1.0",
            "tensorImageSize": "3D",
            "modality": {"0": found.channel},
            "labels": classes,
            "numTraining": len(found.training),
            "numTest": len(found.held_out),
            "training": [_entry(case) for case in found.training],
            "test": [_image(case) for case in found.held_out],
        },
    )


def write_nnunet(found: ExportSet, out: Path) -> None:
    """After nnU-Net's documentation (dataset_format.md, manual_data_splits.md); `out` becomes its `nnUNet_raw`."""
    words = re.findall(r"[A-Za-z0-9]+", found.name) or ["medaug"]
    root = out / f"Dataset{NNUNET_ID}_{''.join(word.capitalize() for word in words)}"
    _write_cases(found, root, "_0000")
    write_json(
        root / "dataset.json",
        {
            "channel_names": {"0": found.channel},
            "labels": {"background": 0} | {name: number for number, name in enumerate(found.classes, start=1)},
            "numTraining": len(found.training),
            "file_ending": ENDING,
            "name": root.name,
            "description": found.description,
            "training": [_entry(case) for case in found.training],
        },
    )
    if folds := folds_of(found):
        names = [{"train": [c.name for c in f.train], "val": [c.name for c in f.validation]} for f in folds]
        write_json(root / "splits_final.json", names)


def _write_cases(found: ExportSet, out: Path, channel: str) -> None:
    for part, cases in (("Tr", found.training), ("Ts", found.held_out)):
        (out / f"images{part}").mkdir(parents=True)
        for case in cases:
            image = out / f"images{part}" / f"{case.name}{channel}{ENDING}"
            case.write(image, out / f"labels{part}" / f"{case.name}{ENDING}")


def _entry(case: ExportCase) -> dict[str, Any]:
    made = {} if case.is_real else {"synthetic": case.facts}
    return {"image": _image(case), "label": f"./labelsTr/{case.name}{ENDING}", "patient": case.patient, **made}


def _image(case: ExportCase) -> str:
    return f"./images{'Tr' if case.part == 'train' else 'Ts'}/{case.name}{ENDING}"
