"""One mask, many tumors: the same place filled in several styles, as images, and a picture and a page to compare them.

Each style is drawn from N(0, I), for one reference lesion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.data.atomic import atomic_path, write_json
from medaug.data.stored import StoredScan
from medaug.data.suffixes import stem_of
from medaug.errors import DataError
from medaug.figures.pictures import Picture, picture_grid
from medaug.lesions.reference import lesion_for_mask
from medaug.models.weights import Weights, load_weights
from medaug.progress import track
from medaug.report.viewer import encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.scans.reading import as_array, output_suffix, read_mask, read_one, window_for
from medaug.transforms import InsertTumor
from medaug.transforms.base import check_inserts
from medaug.transforms.styles import check_styled, drawn_style
from medaug.volumes import length_unit, widest_slice

COLUMNS = 5


def insert_styles(
    scan: Path, mask: Path, weights: Path, out: Path, *, count: int = 10, seed: int = 0, sequence: str | None = None
) -> list[Path]:
    """Writes `count` variants of the tumor at `mask`; returns the paths of images, picture, manifest and page.

    Raises:
        DataError: if scan and mask do not lie on one grid, or the mask is empty.
        WeightsError: if the weights cannot be used, or are of a method without styles.
    """
    loaded = load_weights(weights)
    check_styled(loaded)
    check_inserts(loaded)
    image = read_one(scan, sequence, loaded)
    region, window = read_mask(mask, image, scan), window_for(loaded, image, scan)
    if not bool((region > 0).any()):
        raise DataError.about(mask, "an empty mask", "voxels marked", "Mark where the tumor shall be.")
    stem, suffix = stem_of(scan), output_suffix(scan, image)
    paths, variants, cases, stored = [], [], [], StoredScan(image)
    turned = loaded.turn(image.affine, image.ndim - 1).there(as_array(region) > 0)
    with track("insert styles", count) as tracker:
        for number, insert in enumerate(_variants(loaded, turned, count, seed)):
            edited, label = insert(image, region, window=window)
            variants.append(as_array(edited))
            paths.append(out / f"{stem}_style-{number:02d}{suffix}")
            names = ("original", f"style {number}")
            cases.append(encode(case_of_scan(names[1], image, edited, names, (window, window), region)))
            stored.write_edited(paths[-1], edited)
            tracker.advance()
    stored.write(out / f"{stem}_label{suffix}", label, "uint8")
    picture, manifest = out / f"{stem}_styles.png", out / f"{stem}_styles.json"
    with atomic_path(picture) as temporary:
        temporary.write_bytes(_grid(as_array(image), variants, as_array(region) > 0, stem))
    facts = _facts(scan, mask, loaded, seed, paths) | {"length_unit": length_unit(image.meta)}
    write_json(manifest, facts)
    page = view_page(manifest.with_suffix(".html"), f"{stem}: one mask, many tumors", cases, facts)
    return [*paths, picture, manifest, page]


def _variants(weights: Weights, region: np.ndarray, count: int, seed: int) -> list[InsertTumor]:
    """The transforms that make them, for a mask as the weights look at it: other styles of one reference."""
    rng = np.random.RandomState(seed)
    widest = region if weights.translator.spatial_dims == region.ndim else region[..., widest_slice(region)]
    reference = lesion_for_mask(weights.lesion_prior, widest, weights.spacing_mm, rng).reference
    return [InsertTumor(weights, seed, reference, style=drawn_style(weights, rng)) for _ in range(count)]


def _grid(image: np.ndarray, variants: list[np.ndarray], region: np.ndarray, stem: str) -> bytes:
    """The original with the mask's outline, then the variants, cut to the surroundings of the mask."""
    if region.ndim == 3:
        level = widest_slice(region)
        image, region, variants = image[..., level], region[..., level], [v[..., level] for v in variants]
    where = np.argwhere(region)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    reach = int((high - low).max())
    view = tuple(slice(max(0, a - reach), b + reach) for a, b in zip(low, high, strict=True))
    grey = float(image.min()), float(np.percentile(image, 99.8))
    pictures: list[Picture | None] = [Picture(v[view].astype(float), *grey) for v in variants]
    pictures += [None] * (-len(pictures) % COLUMNS)
    original = Picture(image[view].astype(float), *grey, contour=region[view])
    starts = range(0, len(pictures), COLUMNS)
    rows = [[original if i == 0 else None, *pictures[i : i + COLUMNS]] for i in starts]
    return picture_grid(
        rows, column_titles=["before, and the mask", *["inserted"] * COLUMNS], title=f"{stem}: one mask, many tumors"
    )


def _facts(scan: Path, mask: Path, weights: Weights, seed: int, paths: list[Path]) -> dict[str, object]:
    return {
        "scan": scan.name,
        "mask": mask.name,
        "seed": seed,
        "weights": weights.facts["sha256"],
        "method": weights.translator.name,
        "images": [path.name for path in paths],
    }
