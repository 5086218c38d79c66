"""What translating held-out scans in windows does to them, beside the same scans translated whole.

For weights that were trained on crops and so look at scans in windows; see `quality.seams` for the figures. Steps at
their borders and regular patterns are the audits `seams` and `checkerboard`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.audit_scans import Entry, Scan, read_scan_of, translated_scan
from medaug.audits.measures.seams import brightness_drift, tiles_of, tiling_difference
from medaug.errors import DataError
from medaug.models.weights import Weights
from medaug.transforms import TranslateDomain
from medaug.transforms.windows import OVERLAP
from medaug.volumes import affine_of

LARGEST_VOXELS = 4_000_000
"""Of what a network sees at once when a scan is translated whole: more does not fit into 16 GB."""
Region = tuple[slice, ...]


def tiling_of(entries: Iterable[Entry], folder: Path, weights: Weights) -> dict[str, Any] | None:
    """By case the figures, and why cases have none; None for weights that look at whole images anyway."""
    size, overlap = weights.facts.get("patch_size"), weights.facts.get("overlap", OVERLAP)
    if size is None:
        return None
    tiled = TranslateDomain(weights, "a2b")
    whole = TranslateDomain(replace(weights, facts=weights.facts | {"patch_size": None}), "a2b")
    scans: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for entry in entries:
        try:
            scans[entry["case"]] = _report(entry, folder, tiled, whole, size, overlap)
        except DataError as error:
            left_out[entry["case"]] = str(error)
    unit = tiled.target.unit
    return {"patch_size": list(size), "overlap": overlap, "unit": unit, "scans": scans, "left_out": left_out}


def _report(
    entry: Entry, folder: Path, tiled: TranslateDomain, whole: TranslateDomain, size: Sequence[int], overlap: float
) -> dict[str, Any]:
    """Difference and drift of one scan, as JSON."""
    source = read_scan_of(entry, folder)
    patch = (*size, *source.image.shape[len(size) :])  # 2-D weights go through the slices of a volume
    seen = int(np.prod(source.image.shape[: len(size)]))
    if seen > LARGEST_VOXELS:
        raise DataError(f"{seen} voxels at once are too many to translate whole; expected up to {LARGEST_VOXELS}")
    at_once = translated_scan(entry, folder, whole).image
    regions = [r for r in tiles_of(source.image.shape, patch, overlap) if source.body[r].any()]
    difference = tiling_difference(at_once, translated_scan(entry, folder, tiled).image, source.body)
    drift = brightness_drift(at_once, [(r, _alone(source, r, whole)) for r in regions], source.body)
    return {
        "difference": difference._asdict(),
        "drift": {"tiles": len(drift.offsets), "spread": drift.spread, "slope": drift.slope},
    }


def _alone(source: Scan, region: Region, whole: TranslateDomain) -> np.ndarray:
    """A window's translation when nothing around it is seen."""
    affine = torch.from_numpy(affine_of(source.spacing_mm))
    image = MetaTensor(torch.from_numpy(source.image[region].copy())[None], affine=affine)
    label = source.classes[region][None] if whole.label_classes else None
    alone = whole(image, source.body[region][None], window=source.window, label=label)
    return np.asarray(alone.as_tensor())[0]
