"""Score a single scan by its distance from its pseudo-healthy version: map, image, picture and scores in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.errors import DataError
from medaug.io.atomic import atomic_path, write_json
from medaug.io.files import write_scan
from medaug.io.suffixes import NIFTI, stem_of, suffix_of
from medaug.lesions import find_organ
from medaug.quality import Anomaly, RemovalScorer, level_scores
from medaug.report.pictures import Picture, picture_grid
from medaug.stages.config import AnomalyConfig
from medaug.stages.scans import as_array, read_mask, read_one, window_for
from medaug.translators.weights import load_weights
from medaug.volumes import spacing_of


def score_scan(
    scan: Path, weights: Path, out: Path, *, settings: AnomalyConfig, organ_mask: Path | None = None,
    organ_margin_mm: float, sequence: str | None = None,
) -> list[Path]:  # fmt: skip
    """Scores a scan by its distance from its pseudo-healthy version.

    The map is in window units [-1, 1] (2 is the whole window), the pseudo-healthy image in the scan's own.

    Args:
        organ_margin_mm: where no organ mask is given, the found one is shrunk by this.

    Returns:
        The paths of map, pseudo-healthy image, picture and scores.

    Raises:
        DataError: if the scan cannot be used.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = read_one(scan, sequence, loaded)
    array, window = as_array(image), window_for(loaded, image, scan)
    seen, spacing_mm = window.normalize(array), spacing_of(image.affine, array.ndim)
    organ = find_organ(seen, spacing_mm, margin_mm=organ_margin_mm) if organ_mask is None else (
        as_array(read_mask(organ_mask, image, scan)) > 0
    )  # fmt: skip
    if not organ.any():
        raise DataError.about(organ_mask, "an empty mask", "the organ's voxels marked", "Mark where to look.")
    scorer = RemovalScorer(loaded, **settings.model_dump(exclude={"percentile"}))
    found = scorer(seen, organ, spacing_mm)
    scores = level_scores(found.residual, organ, settings.percentile)
    level = int(np.nanargmax(scores))
    healthy = array + (found.healthy - seen) * np.float32((window.high - window.low) / 2)
    facts = {
        "scan": scan.name, "weights": loaded.facts["sha256"], "score": float(scores[level]), "highest_slice": level,
        "slices": [None if np.isnan(score) else round(float(score), 6) for score in scores],
        "settings": settings.model_dump(mode="json") | {"tile_mm": scorer.tile_mm},
    }  # fmt: skip
    stem, suffix = stem_of(scan), ".tif" if image.ndim == 3 and suffix_of(scan) not in NIFTI else ".nii.gz"
    paths = [out / f"{stem}_{name}" for name in (f"anomaly{suffix}", f"healthy{suffix}", "anomaly.png", "anomaly.json")]
    for path, values in ((paths[0], found.residual), (paths[1], healthy)):
        write_scan(path, values[None].astype(np.float32), image.affine.numpy(), "float32")
    with atomic_path(paths[2]) as temporary:
        temporary.write_bytes(_anomaly_picture(stem, level, seen, found))
    write_json(paths[3], facts)
    return paths


def _anomaly_picture(stem: str, level: int, seen: np.ndarray, found: Anomaly) -> bytes:
    """The scan, its pseudo-healthy version, the difference and the map, of the highest slice."""
    planes = [x if x.ndim == 2 else x[..., level] for x in (seen, found.healthy, found.residual)]
    row = [
        Picture(planes[0], -1, 1), Picture(planes[1], -1, 1), Picture(planes[0] - planes[1], diverging=True),
        Picture(planes[2], 0, float(planes[2].max()) or 1.0),
    ]  # fmt: skip
    title = stem if seen.ndim == 2 else f"{stem} (slice z = {level})"
    columns = ["scan", "pseudo-healthy", "scan − pseudo-healthy", "anomaly map"]
    return picture_grid([row], column_titles=columns, title=title, tile=200)
