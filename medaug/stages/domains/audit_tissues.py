"""What a translation from CT to CT does to the HU of a patient: by tissue, to blood with contrast agent, and beside it.

Nothing here is compared with a true image, of which unpaired domains have none: a shift is of the input, and levels
(how much of the body is enhanced blood, how dense soft tissue is) say whether it goes where the target domain is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medaug.audits.audit_scans import Scan
from medaug.audits.measures.hounsfield import (
    LARGEST_VOXEL_MM,
    TISSUES_HU,
    beside_blood,
    enhanced_blood,
    region_errors,
    tissue_errors,
)
from medaug.audits.measures.similarity import Pair

BLOOD, BESIDE = "enhanced blood", "soft, beside it"


def shift_by_tissue(sources: Sequence[Scan], translated: Sequence[Scan]) -> dict[str, dict[str, float]]:
    """Of one patient: tissue of the source → bias_hu, sd_hu, mae_hu and share (of the body) of the change.

    The tissues leave `enhanced blood` out, which is a class of its own where voxels are small enough to tell it.
    """
    everywhere = [Pair(a.image, b.image, a.body) for a, b in zip(sources, translated, strict=True)]
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


def levels(scans: Sequence[Scan]) -> dict[str, float]:
    """Of one patient: blood_share (of the body), and as medians blood_hu and soft_hu (of soft tissue without blood)."""
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


def measures_blood(scans: Sequence[Scan]) -> bool:
    return all(max(scan.spacing_mm[:2]) <= LARGEST_VOXEL_MM for scan in scans)


def figures_of(sources: Sequence[Scan], translated: Sequence[Scan]) -> dict[str, Any]:
    """Shift and levels of one patient."""
    return {
        "shift": shift_by_tissue(sources, translated),
        "levels": {"source": levels(sources), "translated": levels(translated)},
    }


def _median(scans: Sequence[Scan], masks: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate([s.image[mask] for s, mask in zip(scans, masks, strict=True)])))
