"""Translate a single scan, to synthetic CT above all: from NIfTI to NIfTI, from a DICOM series to a DICOM series.

Beside the result lie a picture, a manifest and a page to look around in; a DICOM series gets its labels as DICOM SEG
on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from monai.data import MetaTensor

import medaug
from medaug.data.atomic import atomic_path, write_json
from medaug.data.dicom.deidentify import check_deidentifies
from medaug.data.dicom.derived import check_unused, write_derived_series
from medaug.data.dicom.reading import DicomVolume, read_series
from medaug.data.dicom.segmentation import write_segmentation
from medaug.data.stored import StoredScan
from medaug.data.suffixes import PICTURES, is_dicom, stem_of, suffix_of
from medaug.errors import ConfigError
from medaug.figures.pictures import Picture, picture_grid
from medaug.models.base import Direction
from medaug.models.weights import Weights, load_weights
from medaug.report.viewer import ViewerCase, encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.scans.reading import as_array, read_for, read_mask
from medaug.transforms import SynthesizeCT, TranslateDomain
from medaug.transforms.translation import Translation
from medaug.volumes import Window, check_modality, widest_slice

FORMATS = ("nifti", "dicom")
DICOM_CODES = {"PET": "PT", "XR": "DX", "other": "OT"}
STORED_HIGH = 4095
"""Images without a unit that are not whole numbers are stored as 0 to this in DICOM, which holds whole numbers only."""


@dataclass(frozen=True)
class _Scan:
    """An image (1, *S), and the series it is, if it is one."""

    image: MetaTensor
    volume: DicomVolume | None


def translate_scan(
    scan: Path,
    weights: Path,
    out: Path,
    *,
    direction: str | None = None,
    series: str | None = None,
    mask: Path | None = None,
    label: Path | None = None,
    segmentation: Path | None = None,
    names: Sequence[str] = (),
    output_format: str | None = None,
    deidentify: bool = False,
    seed: int = 0,
    sequence: str | None = None,
) -> list[Path]:
    """Translates one scan to the other domain of the weights.

    Args:
        scan: a file, or a folder with a DICOM series.
        direction: "a2b" or "b2a"; None goes to CT.
        series: the SeriesInstanceUID, where a folder holds several.
        mask: the body on the scan's grid; None finds it.
        label: class numbers on the scan's grid, for weights that read them (`translator.label_input`).
        segmentation: a label on the scan's grid, written as DICOM SEG of the new series.
        names: what its values are: "1=liver".
        output_format: "nifti" or "dicom"; None is the scan's own.
        deidentify: removes identity from what is written, and from the names of the files.

    Returns:
        The paths of the image (NIfTI, or the folder of the series), the segmentation if asked for, picture, manifest,
        page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or is of another modality than the weights read.
        WeightsError: if the weights cannot be used.
        RunError: if the series' folder is in use.
    """
    series_wanted = _checked_format(scan, output_format, series, segmentation, names)
    loaded = load_weights(weights)
    way = _direction(direction)
    translate = SynthesizeCT(loaded, seed=seed) if way is None else TranslateDomain(loaded, way, seed=seed)
    _check_label(translate, label)
    read = _read(scan, series, sequence, translate, loaded)
    stem = out / ("synthetic" if deidentify else f"{stem_of(scan.resolve())}_synthetic")
    if series_wanted:
        check_unused(stem)
        if deidentify:
            check_deidentifies()
    masks = (None if path is None else read_mask(path, read.image, scan) for path in (mask, label, segmentation))
    body, classes, outlined = masks
    made = translate.translated(read.image, body, label=classes)
    result = made.image
    facts = _facts(translate, made, loaded, seed, mask) | ({} if deidentify else {"scan": scan.name})
    if series_wanted:
        assert read.volume is not None  # --format dicom is refused of other scans
        paths = _write_dicom(stem, result, read.volume, translate, facts, deidentify)
        if outlined is not None:
            path = stem.with_name(f"{stem.name}_seg.dcm")
            derived = read_series(paths[0])
            paths.append(write_segmentation(as_array(outlined), derived, path, names=_names(names)))
    else:
        paths = [stem.with_name(stem.name + (".tif" if suffix_of(scan) in PICTURES else ".nii.gz"))]
        StoredScan(read.image).write(paths[0], result)
    return [*paths, *_write_beside(stem, read.image, made, translate, facts)]


def _checked_format(
    scan: Path, output_format: str | None, series: str | None, segmentation: Path | None, names: Sequence[str]
) -> bool:
    """Whether a DICOM series is to be written."""
    from_dicom = scan.is_dir() or is_dicom(scan)
    output_format = output_format or ("dicom" if from_dicom else "nifti")
    if output_format not in FORMATS:
        raise ConfigError(f"--format: found {output_format!r}; expected one of {', '.join(FORMATS)}")
    if output_format == "dicom" and not from_dicom:
        raise ConfigError(
            f"--format dicom: {scan} is no DICOM; a derived series belongs to its source's patient, study and frame of "
            "reference, and there is none. Give the DICOM series, or leave --format out."
        )
    if series is not None and not from_dicom:
        raise ConfigError(f"--series: {scan} is no DICOM; leave it out")
    if segmentation is not None and output_format != "dicom":
        raise ConfigError("--segmentation is written as DICOM SEG of a derived series; it needs --format dicom")
    if names and segmentation is None:
        raise ConfigError("--name says what the values of --segmentation are; give that as well")
    _names(names)
    return output_format == "dicom"


def _direction(given: str | None) -> Direction | None:
    known: tuple[Direction, ...] = get_args(Direction)
    if given is not None and given not in known:
        raise ConfigError(f"--direction: found {given!r}; expected one of {', '.join(known)}")
    return next((way for way in known if way == given), None)


def _check_label(translate: TranslateDomain, label: Path | None) -> None:
    """Refuses weights that read labels without one, and a label that is not read."""
    if translate.label_classes and label is None:
        raise ConfigError(
            f"the weights read labels of {translate.label_classes} class(es) beside the image "
            "(translator.label_input), and none is given; expected --label, class numbers on the scan's grid. Give it, "
            "or train without translator.label_input."
        )
    if label is not None and not translate.label_classes:
        raise ConfigError(f"--label {label}: these weights read no labels in this direction; leave it out")


def _names(names: Sequence[str]) -> dict[int, str]:
    """`["1=liver"]` as {1: "liver"}."""
    pairs = [text.partition("=") for text in names]
    for text, (value, _, name) in zip(names, pairs, strict=True):
        if not value.isdigit() or not name:
            raise ConfigError(f"--name: found {text!r}; expected a label value and its name, for example 1=liver")
    return {int(value): name for value, _, name in pairs}


def _read(scan: Path, series: str | None, sequence: str | None, translate: TranslateDomain, weights: Weights) -> _Scan:
    """The scan, checked to be of the modality that is translated."""
    if not (scan.is_dir() or is_dicom(scan)):
        return _Scan(read_for(scan, sequence, translate.source, weights.facts), None)
    volume = read_series(scan, series_uid=series)
    array = volume.array.astype(np.float32)
    check_modality(array, translate.source, str(scan), volume.modality)
    meta = {"path": str(scan), "dtype": volume.array.dtype.name, "spacing_known": True, "modality": volume.modality}
    return _Scan(MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(volume.affine), meta=meta), volume)


def _facts(
    translate: TranslateDomain, made: Translation, weights: Weights, seed: int, mask: Path | None
) -> dict[str, Any]:
    return {
        "weights": weights.facts["sha256"],
        "method": weights.translator.name,
        "direction": translate.direction,
        "from": translate.source.name,
        "to": translate.target.name,
        "modality": translate.target.modality,
        "unit": translate.target.unit,
        "seed": seed,
        "medaug": medaug.__version__,
        "body": "found" if mask is None else "given",
        "body_voxels": None if made.body is None else int(made.body.sum()),
        "resampled_from_mm": made.resampled_from_mm,
        "for_diagnosis": False,
    }


def _write_dicom(
    folder: Path,
    result: MetaTensor,
    volume: DicomVolume,
    translate: TranslateDomain,
    facts: dict[str, Any],
    deidentify: bool,
) -> list[Path]:
    """The series' folder; how values without a unit were scaled is noted among the facts and in the files."""
    array, modality, unit = as_array(result), translate.target.modality, translate.target.unit
    if modality == "CT" and unit != "HU":
        raise ConfigError(
            f"--format dicom: the weights translate to {translate.target.name} in grey levels; expected HU, the unit "
            "of a CT series. Use --format nifti."
        )
    derivation = (
        f"Translated from {facts['from']} to {facts['to']} ({facts['direction']}) by medaug {facts['medaug']}, "
        f"{facts['method']}, seed {facts['seed']}; weights SHA-256 {facts['weights']}"
    )
    if unit != "HU" and not (translate.shares_unit and np.issubdtype(volume.array.dtype, np.integer)):
        low, high = float(array.min()), float(array.max())
        array = (array.astype(np.float64) - low) * (STORED_HIGH / ((high - low) or 1.0))
        facts["stored_scale"] = {"low": low, "high": high, "stored_high": STORED_HIGH}
        derivation += f"; stored 0 to {STORED_HIGH} is {low:g} to {high:g}"
    description = f"{modality} from {volume.modality}"
    write_derived_series(
        array,
        volume,
        folder,
        modality=DICOM_CODES.get(modality, modality),
        series_description=description,
        derivation=derivation,
        deidentify=deidentify,
    )
    return [folder]


def _write_beside(
    stem: Path, image: MetaTensor, made: Translation[MetaTensor], translate: TranslateDomain, facts: dict[str, Any]
) -> list[Path]:
    """Picture, manifest and page."""
    body = np.ones(image.shape[1:], dtype=bool) if made.body is None else made.body
    picture = stem.with_name(f"{stem.name}.png")
    with atomic_path(picture) as temporary:
        temporary.write_bytes(_picture(as_array(image), as_array(made.image), body, translate))
    manifest = stem.with_name(f"{stem.name}.json")
    write_json(manifest, facts)
    page = view_page(
        stem.with_name(f"{stem.name}.html"), stem.name, [encode(_case(image, made.image, body, translate))], facts
    )
    return [picture, manifest, page]


def _case(image: MetaTensor, result: MetaTensor, body: np.ndarray, translate: TranslateDomain) -> ViewerCase:
    names = (translate.source.name, f"synthetic {translate.target.name}")
    windows = [
        Window(*_shown(as_array(scan), body), domain.unit)
        for scan, domain in ((image, translate.source), (result, translate.target))
    ]
    comparable = translate.shares_unit
    return case_of_scan(names[1], image, result, names, (windows[0], windows[1]), comparable=comparable)


def _picture(before: np.ndarray, after: np.ndarray, body: np.ndarray, translate: TranslateDomain) -> bytes:
    """Before and after, each in its own window, and the change where both have one unit; the body's outline."""
    title = f"{translate.source.name} to {translate.target.name}"
    if before.ndim == 3:
        z = widest_slice(body)
        before, after, body = before[..., z], after[..., z], body[..., z]
        title = f"{title} (slice z = {z})"
    row = {
        translate.source.name: Picture(before, *_shown(before, body), contour=body),
        f"synthetic {translate.target.name} ({translate.target.unit})": Picture(after, *_shown(after, body)),
    }
    if translate.shares_unit:
        row["change"] = Picture(after.astype(float) - before, diverging=True)
    return picture_grid([list(row.values())], column_titles=list(row), title=title, tile=240)


def _shown(image: np.ndarray, body: np.ndarray) -> tuple[float, float]:
    """The grey window that the body fills."""
    low, high = np.percentile(image[body] if body.any() else image, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
