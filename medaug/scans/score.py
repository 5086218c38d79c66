"""Score a single scan by how far it is from healthy: map, pseudo-healthy image, picture and scores in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.audits.measures import Anomaly, level_scores
from medaug.audits.scorers import judge_of
from medaug.config import AnomalyConfig
from medaug.data.atomic import atomic_path, write_json
from medaug.data.stored import StoredScan
from medaug.data.suffixes import stem_of
from medaug.errors import DataError
from medaug.figures.pictures import Picture, picture_grid
from medaug.lesions.anatomy import find_organ
from medaug.orientation import LPS, turn_of
from medaug.scans.reading import as_array, read_for, read_mask
from medaug.volumes import spacing_of


def score_scan(
    scan: Path,
    weights: Path,
    out: Path,
    *,
    settings: AnomalyConfig,
    organ_mask: Path | None = None,
    organ_margin_mm: float,
    sequence: str | None = None,
) -> list[Path]:
    """Scores a scan by removal or, with the weights of a GAN from noise, by latent search.

    The map is in window units [-1, 1] (2 is the whole window), the pseudo-healthy image in the scan's own. Slices are
    counted along the axis that the weights look along (see `orientation`).

    Args:
        organ_margin_mm: where no organ mask is given, the found one is shrunk by this.

    Returns:
        The paths of map, pseudo-healthy image (latent search makes none), picture and scores.

    Raises:
        DataError: if the scan cannot be used.
        WeightsError: if the weights cannot be used.
    """
    judge = judge_of(weights, settings)
    image = read_for(scan, sequence, judge.domain, judge.facts)
    axes, slicewise = judge.facts.get("axes", LPS), judge.spatial_dims == 2
    turn = turn_of(image.affine.numpy(), image.ndim - 1, axes=axes, slicewise=slicewise)
    array, affine = turn.there(as_array(image)), turn.affine(image.affine.numpy(), image.shape[1:])
    window = judge.domain.window_of(array, str(scan))
    seen, spacing_mm = window.normalize(array), spacing_of(affine, array.ndim)
    organ = (
        find_organ(seen, spacing_mm, margin_mm=organ_margin_mm)
        if organ_mask is None
        else (turn.there(as_array(read_mask(organ_mask, image, scan)) > 0))
    )
    if not organ.any():
        raise DataError.about(organ_mask or scan, "an empty mask", "the organ's voxels marked", "Mark where to look.")
    found = judge.scorer(seen, organ, spacing_mm)
    scores = level_scores(found.residual, organ, settings.percentile)
    level = int(np.nanargmax(scores))
    facts = {
        "scan": scan.name,
        "weights": judge.facts["sha256"],
        "method": judge.method,
        "score": float(scores[level]),
        "highest_slice": level,
        "slices": [None if np.isnan(score) else round(float(score), 6) for score in scores],
        "settings": settings.model_dump(mode="json") | {"tile_mm": judge.tile_mm},
    }
    stem, suffix = stem_of(scan), ".tif" if image.ndim == 3 and not image.meta["spacing_known"] else ".nii.gz"
    stored, volumes = StoredScan(image), {f"anomaly{suffix}": found.residual}
    if found.healthy is not None:
        change = (found.healthy - seen) * np.float32((window.high - window.low) / 2)
        volumes[f"healthy{suffix}"] = array + change
    for name, values in volumes.items():
        stored.write(out / f"{stem}_{name}", turn.back(values)[None], "float32")
    with atomic_path(out / f"{stem}_anomaly.png") as temporary:
        temporary.write_bytes(_anomaly_picture(stem, level, seen, found))
    write_json(out / f"{stem}_anomaly.json", facts)
    return [out / f"{stem}_{name}" for name in (*volumes, "anomaly.png", "anomaly.json")]


def _anomaly_picture(stem: str, level: int, seen: np.ndarray, found: Anomaly) -> bytes:
    """The scan, its pseudo-healthy version and the difference where there is one, and the map, of the highest slice."""

    def plane(volume: np.ndarray) -> np.ndarray:
        return volume if volume.ndim == 2 else volume[..., level]

    image, residual = plane(seen), plane(found.residual)
    row = {"scan": Picture(image, -1, 1)}
    if found.healthy is not None:
        healthy = plane(found.healthy)
        row["pseudo-healthy"] = Picture(healthy, -1, 1)
        row["scan − pseudo-healthy"] = Picture(image - healthy, diverging=True)
    row["anomaly map"] = Picture(residual, 0, float(residual.max()) or 1.0)
    title = stem if seen.ndim == 2 else f"{stem} (slice z = {level})"
    return picture_grid([list(row.values())], column_titles=list(row), title=title, tile=200)
