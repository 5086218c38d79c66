"""Insert tumors into a single scan, remove one, or score it: images and a picture beside each other in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.errors import ConfigError, DataError
from medaug.io.atomic import atomic_path, write_json
from medaug.io.files import read_label, read_scan, write_scan
from medaug.io.suffixes import stem_of, suffix_of
from medaug.lesions import find_organ
from medaug.quality import Anomaly, RemovalScorer, level_scores
from medaug.report.pictures import Picture, before_after, picture_grid
from medaug.stages.config import AnomalyConfig
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.translators.weights import Weights, load_weights
from medaug.volumes import Window, affine_of, check_same_grid, spacing_of

NIFTI = (".nii", ".nii.gz")
LOSSLESS_PICTURES = (".png", ".tif", ".tiff")


def insert_into_scan(
    scan: Path, weights: Path, out: Path, *, count: int = 1, seed: int = 0, size_mm: tuple[float, float] | None = None,
    organ_mask: Path | None = None, sequence: str | None = None,
) -> list[Path]:  # fmt: skip
    """Inserts up to `count` tumors; returns the paths of image, label, picture and manifest.

    Raises:
        DataError: if the scan cannot be used, or there is no room for a single tumor.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = _read(scan, sequence, loaded)
    organ = _read_mask(organ_mask, image, scan) if organ_mask is not None else None
    insert = RandInsertTumor(loaded, prob=1.0, count=(count, count), size_mm=size_mm).set_random_state(seed=seed)
    edited, label = insert(image, None, organ, window=_window(loaded, image, scan))
    if not insert.lesions:
        raise DataError.about(
            scan, "no room for a tumor", "an organ larger than the tumor",
            "Give --organ-mask, smaller --size-mm, or another --seed.",
        )  # fmt: skip
    facts = {
        "scan": scan.name, "seed": seed, "asked": count, "weights": loaded.facts["sha256"],
        "lesions": insert.lesions,
    }  # fmt: skip
    return _write(out, stem_of(scan), "inserted", scan, image, edited, label, label, facts)


def remove_from_scan(
    scan: Path, mask: Path, weights: Path, out: Path, *, seed: int = 0, sequence: str | None = None
) -> list[Path]:
    """Removes what `mask` marks; returns the paths of image, (empty) label, picture and manifest.

    Raises:
        DataError: if scan and mask do not lie on one grid, or the mask is empty.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = _read(scan, sequence, loaded)
    region = _read_mask(mask, image, scan)
    if not bool((region > 0).any()):
        raise DataError.about(mask, "an empty mask", "the tumor's voxels marked", "Mark what shall be removed.")
    edited = RemoveTumor(loaded, seed)(image, region, window=_window(loaded, image, scan))
    facts = {"scan": scan.name, "mask": mask.name, "seed": seed, "weights": loaded.facts["sha256"]}
    return _write(out, stem_of(scan), "removed", scan, image, edited, region * 0, region, facts)


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
    image = _read(scan, sequence, loaded)
    array, window = image.as_tensor().numpy()[0], _window(loaded, image, scan)
    seen, spacing_mm = window.normalize(array), spacing_of(image.affine, array.ndim)
    organ = find_organ(seen, spacing_mm, margin_mm=organ_margin_mm) if organ_mask is None else (
        _read_mask(organ_mask, image, scan).as_tensor().numpy()[0] > 0
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


def _read(scan: Path, sequence: str | None, weights: Weights) -> MetaTensor:
    """The scan; a picture without a voxel size is taken to have that of the pictures the weights were trained on."""
    if sequence is not None and not sequence.isdigit():
        raise ConfigError(f"--sequence {sequence}: a single file's channels have no names; give the number, from 0")
    image = read_scan(scan, channel=int(sequence) if sequence is not None else None)
    known = weights.facts.get("picture_spacing_mm")
    if known and not image.meta["spacing_known"]:
        image.affine = torch.from_numpy(affine_of(tuple(known)[: image.ndim - 1]))
    return image


def _window(weights: Weights, image: MetaTensor, scan: Path) -> Window:
    return weights.translator.domain_a.window_of(image.as_tensor().numpy(), str(scan))


def _read_mask(path: Path, image: MetaTensor, scan: Path) -> MetaTensor:
    mask = read_label(path)
    affine = mask.affine.numpy() if mask.meta["spacing_known"] and image.meta["spacing_known"] else image.affine.numpy()
    check_same_grid(image.shape[1:], mask.shape[1:], image.affine.numpy(), affine, str(scan), str(path))
    return mask


def _write(
    out: Path, stem: str, kind: str, scan: Path, image: MetaTensor, edited: MetaTensor, label: MetaTensor,
    shown: MetaTensor, facts: dict[str, object],
) -> list[Path]:  # fmt: skip
    """Image in the scan's own units and dtype, label, picture, manifest."""
    suffix = suffix_of(scan)
    if suffix not in NIFTI:
        suffix = (suffix if suffix in LOSSLESS_PICTURES else ".png") if image.ndim == 3 else ".nii.gz"
    paths = [
        out / f"{stem}_{kind}{suffix}", out / f"{stem}_{kind}_label{suffix}", out / f"{stem}_{kind}.png",
        out / f"{stem}_{kind}.json",
    ]  # fmt: skip
    if suffix == ".png":
        paths[2] = out / f"{stem}_{kind}_compared.png"
    affine = image.affine.numpy()
    write_scan(paths[0], edited, affine, image.meta["dtype"])
    write_scan(paths[1], label, affine, "uint8")
    arrays = [np.asarray(x.as_tensor())[0] for x in (image, edited, shown)]
    with atomic_path(paths[2]) as temporary:
        temporary.write_bytes(before_after(*arrays, title=f"{stem}: {kind}"))
    write_json(paths[3], facts)
    return paths
