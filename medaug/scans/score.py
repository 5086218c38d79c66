"""A single scan scored by how far it is from healthy: map, pseudo-healthy image, picture and scores in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.audits.anomaly_scores import AnomalyMethod
from medaug.audits.measures.anomaly import Anomaly, level_scores
from medaug.config import AnomalyConfig
from medaug.data.atomic import atomic_path, write_json
from medaug.errors import DataError
from medaug.figures.pictures import Picture, picture_grid
from medaug.lesions.anatomy import find_organ
from medaug.orientation import turn_of
from medaug.scans.opened import AnyPath, OpenScan, as_array
from medaug.volumes import spacing_of


def score_scan(
    scan: OpenScan, judge: AnomalyMethod, settings: AnomalyConfig, organ_mask: AnyPath | None, organ_margin_mm: float
) -> list[Path]:
    """Scores a scan by removal or, with the weights of a GAN from noise, by latent search.

    The map is in window units [-1, 1] (2 is the whole window), the pseudo-healthy image in the scan's own. Slices are
    counted along the axis that the weights look along (see `orientation`). Where no organ mask is given, the found
    organ is shrunk by `organ_margin_mm`.

    Returns:
        The paths of map, pseudo-healthy image (latent search makes none), picture and scores.

    Raises:
        DataError: if the organ mask marks nothing, or no organ is found.
    """
    array, shape = scan.array, scan.array.shape
    turn = turn_of(scan.image.affine.numpy(), array.ndim, axes=judge.facts.axes, slicewise=judge.spatial_dims == 2)
    array, affine = turn.there(array), turn.affine(scan.image.affine.numpy(), shape)
    seen, spacing_mm = scan.window.normalize(array), spacing_of(affine, array.ndim)
    mask = scan.mask(organ_mask)
    organ = find_organ(seen, spacing_mm, margin_mm=organ_margin_mm) if mask is None else turn.there(as_array(mask) > 0)
    if not organ.any():
        where = organ_mask or scan.path
        raise DataError.about(where, "an empty mask", "the organ's voxels marked", "Mark where to look.")
    found = judge.scorer(seen, organ, spacing_mm)
    scores = level_scores(found.residual, organ, settings.percentile)
    level = int(np.nanargmax(scores))
    suffix, volumes = ".tif" if scan.is_picture else ".nii.gz", {"anomaly": found.residual}
    if found.healthy is not None:
        half_window = np.float32((scan.window.high - scan.window.low) / 2)
        volumes["healthy"] = array + (found.healthy - seen) * half_window
    paths = []
    for kind, values in volumes.items():
        paths.append(scan.file(kind, suffix))
        scan.stored.write(paths[-1], turn.back(values)[None], "float32")
    picture, manifest = scan.file("anomaly", ".png"), scan.file("anomaly", ".json")
    with atomic_path(picture) as temporary:
        temporary.write_bytes(_picture(scan.stem, level, seen, found))
    facts = {
        "scan": scan.path.name,
        "weights": judge.facts.sha256,
        "method": judge.method,
        "score": float(scores[level]),
        "highest_slice": level,
        "slices": [None if np.isnan(score) else round(float(score), 6) for score in scores],
        "settings": settings.model_dump(mode="json") | {"tile_mm": judge.tile_mm},
    }
    write_json(manifest, facts)
    return [*paths, picture, manifest]


def _picture(stem: str, level: int, seen: np.ndarray, found: Anomaly) -> bytes:
    """The scan, its pseudo-healthy version and the difference where there is one, and the map, of the highest slice."""
    plane = (...,) if seen.ndim == 2 else (..., level)
    image, residual = seen[plane], found.residual[plane]
    row = {"scan": Picture(image, -1, 1)}
    if found.healthy is not None:
        healthy = found.healthy[plane]
        row["pseudo-healthy"] = Picture(healthy, -1, 1)
        row["scan − pseudo-healthy"] = Picture(image - healthy, diverging=True)
    row["anomaly map"] = Picture(residual, 0, float(residual.max()) or 1.0)
    title = stem if seen.ndim == 2 else f"{stem} (slice z = {level})"
    return picture_grid([list(row.values())], column_titles=list(row), title=title, tile=200)
