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
from medaug.scans.files import AnyPath
from medaug.scans.opened import OpenScan, as_array
from medaug.volumes import spacing_of


def score_scan(
    scan: OpenScan, judge: AnomalyMethod, settings: AnomalyConfig, organ_mask: AnyPath | None, organ_margin_mm: float
) -> list[Path]:
    """Scores a scan by removal or, with the weights of a GAN from noise, by latent search.

    The map is in window units [-1, 1] (2 is the whole window), of several sequences the mean over them; the
    pseudo-healthy image is in the scan's own unit, a file a sequence. Slices are counted along the axis that the
    weights look along (see `orientation`). Where no organ mask is given, the found organ is shrunk by
    `organ_margin_mm`.

    Returns:
        The paths of map, pseudo-healthy images (latent search makes none), picture and scores.

    Raises:
        DataError: if the organ mask marks nothing, or no organ is found.
    """
    affine, shape = scan.image.affine.numpy(), scan.array.shape[1:]
    turn = turn_of(affine, len(shape), axes=judge.facts.axes, slicewise=judge.spatial_dims == 2)
    array, spacing_mm = (
        np.stack([turn.there(c) for c in scan.array]),
        spacing_of(turn.affine(affine, shape), len(shape)),
    )
    seen = np.stack([window.normalize(c) for window, c in zip(scan.windows, array, strict=True)])
    mask = scan.mask(organ_mask)
    if mask is None:
        organ = find_organ(seen[0], spacing_mm, margin_mm=organ_margin_mm)
    else:
        organ = turn.there(as_array(mask) > 0)
    if not organ.any():
        where = organ_mask or scan.path
        raise DataError.about(where, "an empty mask", "the organ's voxels marked", "Mark where to look.")
    found = judge.scorer(seen, organ, spacing_mm)
    scores = level_scores(found.residual, organ, settings.percentile)
    level = int(np.nanargmax(scores))
    suffix = ".tif" if scan.is_picture else ".nii.gz"
    paths = [scan.file("anomaly", suffix)]
    scan.stored[0].write(paths[0], turn.back(found.residual)[None], "float32")
    if found.healthy is not None:
        half = [np.float32((window.high - window.low) / 2) for window in scan.windows]
        healthy = (c + (h - s) * w for c, h, s, w in zip(array, found.healthy, seen, half, strict=True))
        paths += scan.write_new("healthy", np.stack([turn.back(channel) for channel in healthy]), suffix)
    picture, manifest = scan.file("anomaly", ".png"), scan.file("anomaly", ".json")
    with atomic_path(picture) as temporary:
        temporary.write_bytes(_picture(scan, level, seen, found))
    facts = {
        "scan": scan.names,
        "weights": judge.facts.sha256,
        "method": judge.method,
        "score": float(scores[level]),
        "highest_slice": level,
        "slices": [None if np.isnan(score) else round(float(score), 6) for score in scores],
        "settings": settings.model_dump(mode="json") | {"tile_mm": judge.tile_mm},
    }
    write_json(manifest, facts)
    return [*paths, picture, manifest]


def _picture(scan: OpenScan, level: int, seen: np.ndarray, found: Anomaly) -> bytes:
    """The scan, its pseudo-healthy version and the difference where there is one, and the map, of the highest slice.

    Each sequence has a row; the map, which is one for all, stands in the first.
    """
    flat = seen.ndim == 3
    plane, several = (...,) if flat else (..., level), len(seen) > 1
    rows: list[list[Picture | None]] = []
    residual = found.residual[plane]
    for channel, image in enumerate(seen):
        shown, columns = [Picture(image[plane], -1, 1)], ["scan"]
        if found.healthy is not None:
            healthy = found.healthy[channel][plane]
            shown += [Picture(healthy, -1, 1), Picture(image[plane] - healthy, diverging=True)]
            columns += ["pseudo-healthy", "scan − pseudo-healthy"]
        rows.append([*shown, None if channel else Picture(residual, 0, float(residual.max()) or 1.0)])
    title = scan.stem if flat else f"{scan.stem} (slice z = {level})"
    beside = scan.sequences if several else None
    return picture_grid(rows, column_titles=[*columns, "anomaly map"], row_titles=beside, title=title, tile=200)
