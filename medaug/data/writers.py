"""Writes cases in the layouts that `layouts.py` reads: phantoms to try a pipeline on, and fixtures for its tests.

A record is one scan with all its sequences and its label. Everything is written atomically, the JSON last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medaug.data.atomic import new_folder, write_json
from medaug.data.case_folders import BRATS_SEQUENCES, LGG_CHANNELS
from medaug.data.files import write_channels, write_scan
from medaug.errors import ConfigError
from medaug.phantoms import PARTS, phantoms
from medaug.progress import track
from medaug.volumes import Percentiles

LABELS = ("tumor", "parts", "organ", "organs")
"""What the labels of phantoms hold: a tumor (1, and around it in heads 2); its parts as in BraTS, with four sequences;
the organ that it lies in (1) and the tumor (2), as in the MSD's liver; organs alone."""
ORGANS = {"head": {1: "brain"}, "abdomen": {1: "liver", 2: "kidneys", 3: "spine"}}
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
    out = new_folder(out)
    passed = _Passed(label_names or {})
    WRITERS[layout](passed.on(records), out, passed)
    return len(passed.patients)


@dataclass
class _Passed:
    """What the records that were passed on had in common, for the JSON that is written last."""

    label_names: dict[int, str]
    patients: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    highest: int = 1

    def on(self, records: Iterable[ScanRecord]) -> Iterator[ScanRecord]:
        """Passes records on; all need the same sequences, and names that make file names."""
        for record in records:
            self.sequences = self.sequences or list(record.images)
            if not self.sequences or list(record.images) != self.sequences:
                found = f"sequences {list(record.images)}"
                raise ConfigError(f"{record.patient}: {found}; all records need {self.sequences}")
            plain = Path(record.patient).name == record.patient and not record.patient.startswith(".")
            if record.patient in self.patients or not plain:
                raise ConfigError(f"{record.patient!r}: a record's patient has to be unique and a plain file name")
            self.patients.append(record.patient)
            self.highest = max(self.highest, int(record.label.max()))
            yield record

    def described(self, **more: object) -> dict[str, object]:
        """The head of a dataset.json, as nnU-Net and the MSD have it; labels without names are consecutive."""
        parts = {value: "tumor" if value == 1 else f"tumor_{value}" for value in range(1, self.highest + 1)}
        labels = {"background": 0} | {name: value for value, name in (self.label_names or parts).items()}
        return {"channel_names": {str(i): name for i, name in enumerate(self.sequences)}, "labels": labels} | more


def _write_brats(records: Iterable[ScanRecord], out: Path, passed: _Passed) -> None:
    aliases = {alias for names in BRATS_SEQUENCES.values() for alias in names}
    for record in records:
        stem = out / record.patient / record.patient
        for sequence, image in record.images.items():
            if sequence.lower() not in aliases:
                raise ConfigError(f"the brats layout holds {', '.join(BRATS_SEQUENCES)}, not {sequence!r}")
            write_scan(f"{stem}_{sequence.lower()}.nii.gz", image[None], record.affine)
        _write_label(f"{stem}_seg.nii.gz", record)


def _write_lgg(records: Iterable[ScanRecord], out: Path, passed: _Passed) -> None:
    for record in records:
        eight_bit = {}
        for name, image in record.images.items():
            normalized = Percentiles().window_of(image, record.patient).normalize(image.astype(np.float32))
            eight_bit[name] = np.rint((normalized + 1.0) * 127.5).astype(np.uint8)
        first = next((name for name in LGG_SOURCES["flair"] if name in eight_bit), next(iter(eight_bit)))
        held = [next((n for n in LGG_SOURCES[channel] if n in eight_bit), first) for channel in LGG_CHANNELS]
        volume = np.stack([eight_bit[name] for name in held])  # (3, X, Y, Z)
        for z in range(volume.shape[3]):
            if (volume[..., z].min(axis=(1, 2)) == volume[..., z].max(axis=(1, 2))).any():
                continue
            stem = out / record.patient / f"{record.patient}_{z + 1}"
            write_channels(f"{stem}.tif", volume[..., z])
            write_scan(f"{stem}_mask.tif", np.where(record.label[None, :, :, z] > 0, 255, 0), dtype="uint8")


def _write_msd(records: Iterable[ScanRecord], out: Path, passed: _Passed) -> None:
    """nnU-Net v2: one file per sequence, `imagesTr/<case>_0000.nii.gz`."""
    for record in records:
        for channel, image in enumerate(record.images.values()):
            write_scan(out / "imagesTr" / f"{record.patient}_{channel:04d}.nii.gz", image[None], record.affine)
        _write_label(out / "labelsTr" / f"{record.patient}.nii.gz", record)
    write_json(out / "dataset.json", passed.described(numTraining=len(passed.patients), file_ending=".nii.gz"))


def _write_datalist(records: Iterable[ScanRecord], out: Path, passed: _Passed) -> None:
    entries = []
    for record in records:
        images = [f"{record.patient}/{sequence}.nii.gz" for sequence in record.images]
        for name, image in zip(images, record.images.values(), strict=True):
            write_scan(out / name, image[None], record.affine)
        label = f"{record.patient}/label.nii.gz"
        _write_label(out / label, record)
        image_field = images if len(images) > 1 else images[0]
        entries.append({"case": record.patient, "patient": record.patient, "image": image_field, "label": label})
    write_json(out / "datalist.json", passed.described(training=entries))


def _write_images_labels(records: Iterable[ScanRecord], out: Path, passed: _Passed) -> None:
    """One file per case; several sequences are the volumes of a 4-D file, named in channels.json."""
    for record in records:
        channels = np.stack(list(record.images.values()))
        write_channels(out / "images" / f"{record.patient}.nii.gz", channels, record.affine)
        _write_label(out / "labels" / f"{record.patient}.nii.gz", record)
    write_json(out / "channels.json", passed.sequences)
    write_json(out / "dataset.json", {"labels": passed.described()["labels"]})
    write_json(out / "patients.json", {patient: patient for patient in passed.patients})


def _write_label(path: str | Path, record: ScanRecord) -> None:
    write_scan(path, record.label[None], record.affine, dtype="uint8" if record.label.max() <= 255 else "int16")


WRITERS: dict[str, Callable[[Iterable[ScanRecord], Path, _Passed], None]] = {
    "brats": _write_brats,
    "kaggle-lgg": _write_lgg,
    "msd": _write_msd,
    "datalist": _write_datalist,
    "images-labels": _write_images_labels,
}


def write_phantoms(
    out: Path,
    layout: str,
    *,
    anatomy: str,
    patients: int,
    seed: int,
    shape: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    label: str = "tumor",
    healthy: int = 0,
) -> int:
    """Writes `patients` phantoms; returns how many scans.

    Args:
        shape, spacing_mm: left out, the anatomy's own.
        label: one of `LABELS`.
        healthy: so many further patients without a tumor, in a folder of their own beside `out`, see `healthy_beside`.

    Raises:
        ConfigError: for an unknown anatomy or layout, or a label that the anatomy does not have.
        RunError: if `out` cannot be written.
    """
    options: dict[str, object] = {"shape": shape, "spacing_mm": spacing_mm, "parts": label == "parts" or None}
    options = {key: value for key, value in options.items() if value is not None}
    if label not in LABELS or (label == "parts" and anatomy != "head"):
        expected = f"{', '.join(LABELS)}, of which parts are of a head's tumors"
        raise ConfigError(f"label: found {label!r} of the anatomy {anatomy}; expected one of {expected}")
    names = {"parts": {value: name for name, value in PARTS.items()}, "organs": ORGANS.get(anatomy)}
    names["organ"] = {1: ORGANS.get(anatomy, {1: ""})[1], 2: "tumor"}

    phantoms(anatomy, patients)  # an unknown anatomy is refused before there is a folder
    with track("draw phantoms", patients + healthy) as tracker:

        def records(first: int, count: int, **more: int) -> Iterator[ScanRecord]:
            for phantom in phantoms(anatomy, count, seed=seed, first=first, **options, **more):
                truth = {"organs": phantom.organs, "organ": np.where(phantom.label > 0, 2, phantom.organs == 1)}
                held = truth.get(label, phantom.label).astype(np.uint8)
                yield ScanRecord(phantom.patient, phantom.images, held, phantom.affine)
                tracker.advance()

        written = write_layout(records(0, patients), out, layout, names.get(label))
        if healthy:
            pool = records(patients, healthy, tumors=0)
            written += write_layout(pool, healthy_beside(out), layout, names.get(label))
        return written


def healthy_beside(out: Path) -> Path:
    """Where `write_phantoms` writes the patients without a tumor: `phantoms-healthy` beside `phantoms`."""
    return out.with_name(f"{out.name}-healthy")
