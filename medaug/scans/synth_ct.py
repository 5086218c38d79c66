"""A single scan translated, to synthetic CT above all: from NIfTI to NIfTI, from a DICOM series to a DICOM series.

Beside the result lie a picture, a manifest and a page to look around in; a DICOM series gets its labels as DICOM SEG
on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

import medaug
from medaug.data.atomic import check_new
from medaug.data.dicom.derived import write_derived_series
from medaug.data.dicom.reading import DicomVolume, read_series
from medaug.data.dicom.segmentation import write_segmentation
from medaug.data.dicom.source import identity_rules
from medaug.data.files import StoredScan
from medaug.data.opening import PICTURES, is_dicom, suffix_of
from medaug.errors import ConfigError
from medaug.figures.pictures import Picture, picture_grid
from medaug.report.viewer import encode
from medaug.report.viewing import case_of_scan
from medaug.scans.files import AnyPath
from medaug.scans.opened import Facts, OpenScan, as_array, open_scan, write_beside
from medaug.transforms import TranslateDomain
from medaug.transforms.translation import Translation
from medaug.volumes import Window, check_modality, widest_slice

FORMATS = ("nifti", "dicom")
DICOM_CODES = {"PET": "PT", "XR": "DX", "other": "OT"}
STORED_HIGH = 4095
"""Images without a unit that are not whole numbers are stored as 0 to this in DICOM, which holds whole numbers only."""


@dataclass(frozen=True)
class Output:
    """What a translation is written as: a DICOM series, or NIfTI (of a picture TIFF).

    Attributes:
        stem: the path of the image or series, and of what lies beside it, without an ending.
        segmentation: a label on the scan's grid, written as DICOM SEG of the new series; `names` says of what.
        deidentify: identity is removed from what is written; the scan's name stands nowhere.
    """

    stem: Path
    is_dicom: bool
    segmentation: AnyPath | None
    names: dict[int, str]
    deidentify: bool


def output_of(
    scan: Path,
    stem: Path,
    output_format: str | None,
    segmentation: AnyPath | None,
    names: Sequence[str],
    deidentify: bool,
) -> Output:
    """What the scan's translation shall be written as; a ConfigError says which options contradict each other."""
    from_dicom = scan.is_dir() or is_dicom(scan)
    output_format = output_format or ("dicom" if from_dicom else "nifti")
    if output_format not in FORMATS:
        raise ConfigError(f"--format: found {output_format!r}; expected one of {', '.join(FORMATS)}")
    if output_format == "dicom" and not from_dicom:
        raise ConfigError(
            f"--format dicom: {scan} is no DICOM; a derived series belongs to its source's patient, study and frame of "
            "reference, and there is none. Give the DICOM series, or leave --format out."
        )
    if segmentation is not None and output_format != "dicom":
        raise ConfigError("--segmentation is written as DICOM SEG of a derived series; it needs --format dicom")
    if names and segmentation is None:
        raise ConfigError("--name says what the values of --segmentation are; give that as well")
    named = {}
    for text in names:
        value, _, name = text.partition("=")
        if not value.isdigit() or not name:
            raise ConfigError(f"--name: found {text!r}; expected a label value and its name, for example 1=liver")
        named[int(value)] = name
    return Output(stem, output_format == "dicom", segmentation, named, deidentify)


def translate_scan(
    scan: Path,
    translate: TranslateDomain,
    output: Output,
    *,
    series: str | None,
    sequence: str | None,
    mask: AnyPath | None,
    label: AnyPath | None,
) -> list[Path]:
    """Translates one scan to the other domain of the weights; arguments, result and errors as of `medaug.synth_ct`."""
    if translate.label_classes and label is None:
        raise ConfigError(
            f"the weights read labels of {translate.label_classes} class(es) beside the image "
            "(translator.label_input), and none is given; expected --label, class numbers on the scan's grid. Give it, "
            "or train without translator.label_input."
        )
    if label is not None and not translate.label_classes:
        raise ConfigError(f"--label {label}: these weights read no labels in this direction; leave it out")
    read, volume = _read(scan, series, sequence, translate)
    if output.is_dicom:
        check_new(output.stem)
        if output.deidentify:
            identity_rules()
    body, classes, outlined = (read.mask(path) for path in (mask, label, output.segmentation))
    made = translate.translated(read.image, body, label=classes)
    facts = {
        "weights": translate.weights.facts.sha256,
        "method": translate.weights.translator.name,
        "direction": translate.direction,
        "from": translate.source.name,
        "to": translate.target.name,
        "modality": translate.target.modality,
        "unit": translate.target.unit,
        "seed": translate.seed,
        "medaug": medaug.__version__,
        "body": "found" if mask is None else "given",
        "body_voxels": None if made.body is None else int(made.body.sum()),
        "resampled_from_mm": made.resampled_from_mm,
        "for_diagnosis": False,
    } | ({} if output.deidentify else {"scan": scan.name})
    stem = output.stem
    if output.is_dicom:
        assert volume is not None  # --format dicom is refused of other scans
        facts |= _write_dicom(output, made.image, volume, translate)
        paths = [stem]
        if outlined is not None:
            paths.append(stem.with_name(f"{stem.name}_seg.dcm"))
            write_segmentation(as_array(outlined), read_series(stem), paths[1], names=output.names)
    else:
        paths = [stem.with_name(stem.name + (".tif" if suffix_of(scan) in PICTURES else ".nii.gz"))]
        read.stored[0].write(paths[0], made.image)
    return [*paths, *_write_beside(stem, read.image, made, translate, facts)]


def _read(
    scan: Path, series: str | None, sequence: str | None, translate: TranslateDomain
) -> tuple[OpenScan, DicomVolume | None]:
    """The scan, checked to be of the modality that is translated, and the series it is, if it is one."""
    if not (scan.is_dir() or is_dicom(scan)):
        if series is not None:
            raise ConfigError(f"--series: {scan} is no DICOM; leave it out")
        weights = translate.weights
        names = weights.sequences if translate.direction == "a2b" else weights.target_sequences
        return open_scan(scan, translate.source, names, weights.facts, sequence, ""), None
    volume = read_series(scan, series_uid=series)
    array = volume.array.astype(np.float32)
    check_modality(array, translate.source, str(scan), volume.modality)
    meta = {"path": str(scan), "dtype": volume.array.dtype.name, "spacing_known": True, "modality": volume.modality}
    image = MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(volume.affine), meta=meta)
    return OpenScan(scan.name, (image,), translate.source, Path(), stored=(StoredScan(image),)), volume


def _write_dicom(output: Output, result: MetaTensor, volume: DicomVolume, translate: TranslateDomain) -> Facts:
    """Writes the series; returns how values without a unit were scaled, which stands in the files too."""
    array, modality, unit = as_array(result), translate.target.modality, translate.target.unit
    if modality == "CT" and unit != "HU":
        raise ConfigError(
            f"--format dicom: the weights translate to {translate.target.name} in grey levels; expected HU, the unit "
            "of a CT series. Use --format nifti."
        )
    weights = translate.weights
    derivation = (
        f"Translated from {translate.source.name} to {translate.target.name} ({translate.direction}) by medaug "
        f"{medaug.__version__}, {weights.translator.name}, seed {translate.seed}; weights SHA-256 "
        f"{weights.facts.sha256}"
    )
    scale = {}
    if unit != "HU" and not (translate.shares_unit and np.issubdtype(volume.array.dtype, np.integer)):
        low, high = float(array.min()), float(array.max())
        array = (array.astype(np.float64) - low) * (STORED_HIGH / ((high - low) or 1.0))
        scale = {"stored_scale": {"low": low, "high": high, "stored_high": STORED_HIGH}}
        derivation += f"; stored 0 to {STORED_HIGH} is {low:g} to {high:g}"
    write_derived_series(
        array,
        volume,
        output.stem,
        modality=DICOM_CODES.get(modality, modality),
        series_description=f"{modality} from {volume.modality}",
        derivation=derivation,
        deidentify=output.deidentify,
    )
    return scale


def _write_beside(
    stem: Path, image: MetaTensor, made: Translation[MetaTensor], translate: TranslateDomain, facts: Facts
) -> list[Path]:
    body = np.ones(image.shape[1:], dtype=bool) if made.body is None else made.body
    before, after = as_array(image), as_array(made.image)
    shown = _shown(before, body), _shown(after, body)
    names = translate.source.name, f"synthetic {translate.target.name}"
    windows = Window(*shown[0], translate.source.unit), Window(*shown[1], translate.target.unit)
    case = case_of_scan(names[1], [image], made.image, names, [windows], comparable=translate.shares_unit)
    title = f"{translate.source.name} to {translate.target.name}"
    if before.ndim == 3:
        z = widest_slice(body)
        before, after, body = before[..., z], after[..., z], body[..., z]
        shown, title = (_shown(before, body), _shown(after, body)), f"{title} (slice z = {z})"
    row = {names[0]: Picture(before, *shown[0], contour=body)}
    row[f"{names[1]} ({translate.target.unit})"] = Picture(after, *shown[1])
    if translate.shares_unit:
        row["change"] = Picture(after.astype(float) - before, diverging=True)
    picture = picture_grid([list(row.values())], column_titles=list(row), title=title, tile=240)
    return write_beside(stem, picture, facts, stem.name, [encode(case)])


def _shown(image: np.ndarray, body: np.ndarray) -> tuple[float, float]:
    """The grey window that the body fills."""
    low, high = np.percentile(image[body] if body.any() else image, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
