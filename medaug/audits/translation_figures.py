"""What a translation does to the scans of a patient: contrast of what is labelled, HU by tissue, and seams of windows.

Contrasts are in window units [-1, 1], each image in its own window. Nothing is compared with a true image, of which
unpaired domains have none: a shift of HU is a change of the input, and levels (how much of the body is enhanced blood,
how dense soft tissue is) say whether it goes where the target domain is. Windows are those of weights that were trained
on crops, beside the same scans translated whole (see `measures.seams`); steps at their borders and regular patterns are
the audits `seams` and `checkerboard`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.measures.hounsfield import (
    LARGEST_VOXEL_MM,
    TISSUES_HU,
    beside_blood,
    enhanced_blood,
    region_errors,
    tissue_errors,
)
from medaug.audits.measures.lesions import lesion_statistics
from medaug.audits.measures.seams import brightness_drift, tiles_of, tiling_difference
from medaug.audits.measures.similarity import ImagePair
from medaug.audits.scans import ScanArrays, read_scan, translated_scan
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.models.weights import Weights
from medaug.transforms import TranslateDomain
from medaug.volumes import affine_of

BLOOD, BESIDE = "enhanced blood", "soft, beside it"
LARGEST_VOXELS = 4_000_000
"""The most that a network sees at once when a scan is translated whole: more does not fit into 16 GB."""


class Contrasts(NamedTuple):
    """One patient's contrasts: class → mean over the scans that hold it; and case → why it could not be measured."""

    by_class: dict[str, float]
    left_out: dict[str, str]


def contrasts_of(scans: Sequence[ScanArrays], class_names: Sequence[str]) -> Contrasts:
    """Mean of the labelled region minus mean of its surroundings (2 to 8 mm around it, inside the body)."""
    values: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for scan in scans:
        for number, name in enumerate(class_names, start=1):
            region = scan.classes == number
            if not region.any():
                continue
            try:
                found = lesion_statistics(scan.normalized, region, scan.spacing_mm, organ=scan.body)
                values.setdefault(name, []).append(found["contrast"])
            except DataError as error:
                left_out[scan.case] = str(error)
    return Contrasts({name: float(np.mean(numbers)) for name, numbers in values.items()}, left_out)


def shift_by_tissue(sources: Sequence[ScanArrays], translated: Sequence[ScanArrays]) -> dict[str, dict[str, float]]:
    """The change of one patient: tissue of the source → bias_hu, sd_hu, mae_hu and share (of the body) of the change.

    The tissues leave `enhanced blood` out, which is a class of its own where voxels are small enough to tell it.
    """
    everywhere = [ImagePair(a.image, b.image, a.body) for a, b in zip(sources, translated, strict=True)]
    if not measures_blood(sources):
        return tissue_errors(everywhere)
    blood = [enhanced_blood(scan.image, scan.body, scan.spacing_mm) for scan in sources]
    beside = [
        beside_blood(scan.image, region, scan.body, scan.spacing_mm)
        for scan, region in zip(sources, blood, strict=True)
    ]
    elsewhere = [pair._replace(mask=pair.mask & ~region) for pair, region in zip(everywhere, blood, strict=True)]
    voxels = sum(int(scan.body.sum()) for scan in sources)
    shifts = tissue_errors([pair for pair in elsewhere if pair.mask.any()])
    for name, regions in ((BESIDE, beside), (BLOOD, blood)):
        pairs = [p._replace(mask=region) for p, region in zip(everywhere, regions, strict=True) if region.any()]
        if pairs:
            shifts[name] = region_errors(pairs) | {"share": sum(int(pair.mask.sum()) for pair in pairs) / voxels}
    return shifts


def levels(scans: Sequence[ScanArrays]) -> dict[str, float]:
    """One patient's blood_share (of the body), and as medians blood_hu and soft_hu (of soft tissue without blood)."""
    found: dict[str, float] = {}
    bodies = [scan.body.astype(bool) for scan in scans]
    if measures_blood(scans):
        regions = [enhanced_blood(scan.image, scan.body, scan.spacing_mm) for scan in scans]
        found["blood_share"] = sum(int(region.sum()) for region in regions) / sum(int(body.sum()) for body in bodies)
        if found["blood_share"]:
            found["blood_hu"] = _median(scans, regions)
        bodies = [body & ~region for body, region in zip(bodies, regions, strict=True)]
    low, high = TISSUES_HU["soft"]
    soft = [body & (s.image >= low) & (s.image < high) for s, body in zip(scans, bodies, strict=True)]
    if any(mask.any() for mask in soft):
        found["soft_hu"] = _median(scans, soft)
    return found


def measures_blood(scans: Sequence[ScanArrays]) -> bool:
    return all(max(scan.spacing_mm[:2]) <= LARGEST_VOXEL_MM for scan in scans)


def _median(scans: Sequence[ScanArrays], masks: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate([s.image[mask] for s, mask in zip(scans, masks, strict=True)])))


@dataclass(frozen=True)
class TiledScan:
    """One scan: how its windows differ from it, translated whole, and how their brightness drifts."""

    difference: dict[str, float]
    drift: dict[str, float]


@dataclass(frozen=True)
class Tiling:
    """What windows do to scans: figures by case, and why cases have none."""

    patch_size: tuple[int, ...]
    overlap: float
    unit: str
    scans: dict[str, TiledScan]
    left_out: dict[str, str]


def tiling_of(cases: Iterable[PreparedCase], folder: Path, weights: Weights) -> Tiling | None:
    """The middle scans in windows and whole; None for weights that look at whole images anyway."""
    size = weights.facts.patch_size
    if size is None:
        return None
    tiled = TranslateDomain(weights, "a2b")
    whole = TranslateDomain(replace(weights, facts=weights.facts.model_copy(update={"patch_size": None})), "a2b")
    scans: dict[str, TiledScan] = {}
    left_out: dict[str, str] = {}
    for case in cases:
        try:
            scans[case.case] = _tiled_scan(case, folder, tiled, whole, size)
        except DataError as error:
            left_out[case.case] = str(error)
    return Tiling(size, weights.facts.overlap, tiled.target.unit, scans, left_out)


def _tiled_scan(
    case: PreparedCase, folder: Path, tiled: TranslateDomain, whole: TranslateDomain, size: Sequence[int]
) -> TiledScan:
    source = read_scan(case, folder)
    patch = (*size, *source.image.shape[len(size) :])  # 2-D weights go through the slices of a volume
    seen = int(np.prod(source.image.shape[: len(size)]))
    if seen > LARGEST_VOXELS:
        raise DataError(f"{seen} voxels at once are too many to translate whole; expected up to {LARGEST_VOXELS}")
    at_once = translated_scan(case, folder, whole).image
    regions = [r for r in tiles_of(source.image.shape, patch, tiled.weights.facts.overlap) if source.body[r].any()]
    difference = tiling_difference(at_once, translated_scan(case, folder, tiled).image, source.body)
    drift = brightness_drift(at_once, [(r, _alone(source, r, whole)) for r in regions], source.body)
    figures = {"tiles": len(drift.offsets), "spread": drift.spread, "slope": drift.slope}
    return TiledScan(difference._asdict(), figures)


def _alone(source: ScanArrays, region: tuple[slice, ...], whole: TranslateDomain) -> np.ndarray:
    """A window's translation when nothing around it is seen."""
    affine = torch.from_numpy(affine_of(source.spacing_mm))
    image = MetaTensor(torch.from_numpy(source.image[region].copy())[None], affine=affine)
    label = source.classes[region][None] if whole.label_classes else None
    alone = whole(image, source.body[region][None], window=source.window, label=label)
    return np.asarray(alone.as_tensor())[0]
