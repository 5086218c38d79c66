"""Writes cases in the layouts that `layouts.py` reads: phantoms to try a pipeline on, and fixtures for its tests.

A record is one scan with all its sequences and its label. Everything is written atomically, the JSON last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medaug.data.atomic import write_error, write_json
from medaug.data.case_folders import BRATS_SEQUENCES
from medaug.data.files import write_channels, write_scan
from medaug.data.layouts import LGG_CHANNELS
from medaug.errors import ConfigError, RunError
from medaug.volumes import Percentiles

LGG_SOURCES = {"pre": ("pre", "t1", "t1n"), "flair": ("flair", "t2f"), "post": ("post", "t1ce", "t1c", "t1gd")}


@dataclass(frozen=True)
class ScanRecord:
    """One scan: its patient, (X, Y, Z) images by sequence on one grid, the label map, and the affine (4, 4) in mm."""

    patient: str
    images: dict[str, np.ndarray]
    label: np.ndarray
    affine: np.ndarray


def write_layout(
    records: Iterable[ScanRecord], out: str | Path, layout: str, label_names: dict[int, str] | None = None
) -> int:
    """Writes one scan after the other into a new folder, in a layout that `find_cases` reads back.

    "kaggle-lgg" is 8-bit: each sequence is windowed by percentiles of its scan, the mask becomes 0 and 255, blank
    slices are left out, and a missing sequence is filled with FLAIR, as in the original. The others keep the values.

    Args:
        label_names: what the labels' values mean; None: all are parts of a tumor.

    Returns:
        The number of records written.

    Raises:
        ConfigError: for an unknown layout, or records it cannot hold.
        RunError: if the folder is not empty or cannot be written.
    """
    if layout not in WRITERS:
        raise ConfigError(f"unknown layout {layout!r}; choose one of {', '.join(WRITERS)}")
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise RunError(f"{out}: holds files already. Choose a new folder, or empty this one.")
    except OSError as error:
        raise write_error(out, error) from error
    patients: list[str] = []
    WRITERS[layout](_checked(records, patients), out, label_names or {})
    return len(patients)


def _checked(records: Iterable[ScanRecord], patients: list[str]) -> Iterable[ScanRecord]:
    """Passes records on and notes their patients; all need the same sequences, and names that make file names."""
    names: list[str] | None = None
    for record in records:
        names = names or list(record.images)
        if not names or list(record.images) != names:
            raise ConfigError(f"{record.patient}: sequences {list(record.images)}; all records need {names}")
        if record.patient in patients or Path(record.patient).name != record.patient or record.patient.startswith("."):
            raise ConfigError(f"{record.patient!r}: a record's patient has to be unique and a plain file name")
        patients.append(record.patient)
        yield record


def _write_brats(records: Iterable[ScanRecord], out: Path, label_names: dict[int, str]) -> None:
    aliases = {alias for names in BRATS_SEQUENCES.values() for alias in names}
    for record in records:
        stem = out / record.patient / record.patient
        for sequence, image in record.images.items():
            if sequence.lower() not in aliases:
                raise ConfigError(f"the brats layout holds {', '.join(BRATS_SEQUENCES)}, not {sequence!r}")
            write_scan(f"{stem}_{sequence.lower()}.nii.gz", image[None], record.affine)
        _write_label(f"{stem}_seg.nii.gz", record)


def _write_lgg(records: Iterable[ScanRecord], out: Path, label_names: dict[int, str]) -> None:
    for record in records:
        eight_bit = {name: _to_eight_bit(image, record.patient) for name, image in record.images.items()}
        fallback = next((eight_bit[name] for name in LGG_SOURCES["flair"] if name in eight_bit), None)
        fallback = next(iter(eight_bit.values())) if fallback is None else fallback
        channels = [
            next((eight_bit[name] for name in LGG_SOURCES[channel] if name in eight_bit), fallback)
            for channel in LGG_CHANNELS
        ]
        volume = np.stack(channels)  # (3, X, Y, Z)
        for z in range(volume.shape[3]):
            if (volume[..., z].min(axis=(1, 2)) == volume[..., z].max(axis=(1, 2))).any():
                continue
            stem = out / record.patient / f"{record.patient}_{z + 1}"
            write_channels(f"{stem}.tif", volume[..., z])
            write_scan(f"{stem}_mask.tif", np.where(record.label[None, :, :, z] > 0, 255, 0), dtype="uint8")


def _write_msd(records: Iterable[ScanRecord], out: Path, label_names: dict[int, str]) -> None:
    """nnU-Net v2: one file per sequence, `imagesTr/<case>_0000.nii.gz`."""
    names, highest, patients = [], 1, 0
    for record in records:
        names, patients, highest = list(record.images), patients + 1, max(highest, int(record.label.max()))
        for channel, image in enumerate(record.images.values()):
            write_scan(out / "imagesTr" / f"{record.patient}_{channel:04d}.nii.gz", image[None], record.affine)
        _write_label(out / "labelsTr" / f"{record.patient}.nii.gz", record)
    description = {
        "channel_names": {str(index): name for index, name in enumerate(names)},
        "labels": _named(label_names, highest),
        "numTraining": patients,
        "file_ending": ".nii.gz",
    }
    write_json(out / "dataset.json", description)


def _write_datalist(records: Iterable[ScanRecord], out: Path, label_names: dict[int, str]) -> None:
    entries, names, highest = [], [], 1
    for record in records:
        names, images, highest = list(record.images), [], max(highest, int(record.label.max()))
        for sequence, image in record.images.items():
            images.append(f"{record.patient}/{sequence}.nii.gz")
            write_scan(out / images[-1], image[None], record.affine)
        label = f"{record.patient}/label.nii.gz"
        _write_label(out / label, record)
        image_field = images if len(images) > 1 else images[0]
        entries.append({"case": record.patient, "patient": record.patient, "image": image_field, "label": label})
    write_json(
        out / "datalist.json",
        {
            "channel_names": {str(index): name for index, name in enumerate(names)},
            "labels": _named(label_names, highest),
            "training": entries,
        },
    )


def _named(names: dict[int, str], highest: int) -> dict[str, int]:
    """nnU-Net's "labels", consecutive."""
    parts = {value: "tumor" if value == 1 else f"tumor_{value}" for value in range(1, highest + 1)}
    return {"background": 0} | {name: value for value, name in (parts | names).items()}


def _write_images_labels(records: Iterable[ScanRecord], out: Path, label_names: dict[int, str]) -> None:
    """One file per case; several sequences are the volumes of a 4-D file, named in channels.json."""
    patients, names, highest = {}, [], 1
    for record in records:
        names = list(record.images)
        write_channels(
            out / "images" / f"{record.patient}.nii.gz", np.stack(list(record.images.values())), record.affine
        )
        _write_label(out / "labels" / f"{record.patient}.nii.gz", record)
        patients[record.patient], highest = record.patient, max(highest, int(record.label.max()))
    write_json(out / "channels.json", names)
    write_json(out / "dataset.json", {"labels": _named(label_names, highest)})
    write_json(out / "patients.json", patients)


def _to_eight_bit(image: np.ndarray, name: str) -> np.ndarray:
    normalized = Percentiles().window_of(image, name).normalize(image.astype(np.float32))
    return np.rint((normalized + 1.0) * 127.5).astype(np.uint8)


def _write_label(path: str | Path, record: ScanRecord) -> None:
    write_scan(path, record.label[None], record.affine, dtype="uint8" if record.label.max() <= 255 else "int16")


WRITERS: dict[str, Callable[[Iterable[ScanRecord], Path, dict[int, str]], None]] = {
    "brats": _write_brats,
    "kaggle-lgg": _write_lgg,
    "msd": _write_msd,
    "datalist": _write_datalist,
    "images-labels": _write_images_labels,
}
