"""Tumors inserted into a single scan, removed from it, or put in one place in many styles; what is made is written.

Each edit returns the paths of image, label (styles: of all images), picture, manifest and page.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from medaug.errors import ConfigError, DataError
from medaug.figures.pictures import Picture, before_after, picture_grid
from medaug.lesions.reference import lesion_for_mask
from medaug.models.weights import Weights
from medaug.progress import track
from medaug.scans.opened import AnyPath, OpenScan, as_array, close_up, in_rows, open_to_edit, unnamed, write_beside
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor
from medaug.transforms.engine import Style, drawn_style
from medaug.transforms.styles import check_styled, style_of
from medaug.volumes import as_meta, spacing_of, widest_slice

COLUMNS = 5
logger = logging.getLogger(__name__)


def insert_drawn(
    scan: OpenScan, insert: RandInsertTumor, seed: int, organ_mask: AnyPath | None, avoid: AnyPath | None
) -> list[Path]:
    """Inserts drawn tumors, clear of those in the label `avoid`; what is written labels the new ones alone.

    Raises:
        DataError: if there is no room for a single tumor.
    """
    existing, organ = scan.mask(avoid), scan.mask(organ_mask)
    insert.set_random_state(seed=seed)
    edited, label = insert(scan.image, existing, organ, window=scan.window)
    if not insert.lesions:
        raise DataError.about(
            scan.path,
            "no room for a tumor",
            "an organ larger than the tumor, and clear of those to avoid",
            "Give --organ-mask, smaller --size-mm, or another --seed.",
        )
    if existing is not None:
        label = label * (label != existing)
    facts = _facts(scan, insert.weights, seed, avoid=avoid)
    facts |= {"asked": insert.count[1], "lesions": [unnamed(lesion) for lesion in insert.lesions]}
    return _write(scan, "inserted", edited, label, label, facts)


def insert_at(scan: OpenScan, insert: InsertTumor, mask: AnyPath, avoid: AnyPath | None) -> list[Path]:
    """Inserts one tumor exactly where the mask is.

    Raises:
        DataError: if the mask is empty, or marks voxels of a tumor in the label `avoid`.
    """
    existing, region = scan.mask(avoid), scan.marked(mask, "Mark where the tumor shall be.")
    shared = int((as_array(region) > 0)[insert.tumors_marked(scan.image, existing)].sum())
    if shared:
        raise DataError.about(
            mask,
            f"{shared} of {int((region > 0).sum())} voxels in a tumor of {avoid}",
            "none there",
            "Move the mask, or leave out --avoid.",
        )
    edited, label = insert(scan.image, region, window=scan.window)
    _warn_of_rest(region, label, "inserted into")
    facts = _facts(scan, insert.weights, insert.seed, avoid=avoid, mask=mask)
    facts |= {"asked": 1, "lesions": [{"style": list(insert.style)} if insert.style else {}]}
    return _write(scan, "inserted", edited, label, label, facts)


def remove_at(scan: OpenScan, remove: RemoveTumor, mask: AnyPath) -> list[Path]:
    """Removes what the mask marks; the label keeps what it marks of the scan's padding, where nothing is replaced.

    Raises:
        DataError: if the mask is empty, or nothing could be replaced.
    """
    region = scan.marked(mask, "Mark what shall be removed.")
    edited, label = remove.with_label(scan.image, region, scan.window)
    if len(np.unique(as_array(region))) <= 2:  # of a label with organs, who asked for what is not known
        _warn_of_rest(region, region * (label <= 0), "replaced")
    return _write(scan, "removed", edited, label, region, _facts(scan, remove.weights, remove.seed, mask=mask))


def fill_in_styles(scan: OpenScan, weights: Weights, mask: AnyPath, count: int, seed: int) -> list[Path]:
    """Fills the mask `count` times, in styles drawn from N(0, I), each for the same reference lesion.

    Raises:
        DataError: if the mask is empty.
        WeightsError: if the weights are of a method without styles.
    """
    check_styled(weights)
    region = scan.marked(mask, "Mark where the tumor shall be.")
    where = weights.turn(scan.image.affine, scan.image.ndim - 1).there(as_array(region) > 0)
    if weights.translator.spatial_dims < where.ndim:
        where = where[..., widest_slice(where)]
    rng = np.random.RandomState(seed)
    reference = lesion_for_mask(weights.lesion_prior, where, weights.spacing_mm, rng).reference
    paths, variants, cases = [], [], []
    with track("insert styles", count) as tracker:
        for number in range(count):
            insert = InsertTumor(weights, seed, reference, style=drawn_style(weights, rng))
            edited, label = insert(scan.image, region, window=scan.window)
            variants.append(as_array(edited))
            paths.append(scan.write_edited(f"style-{number:02d}", edited))
            cases.append(scan.seen_with(edited, f"style {number}", region))
            tracker.advance()
    scan.write_label("label", label)
    facts = _facts(scan, weights, seed, mask=mask)
    facts |= {"method": weights.translator.name, "images": [path.name for path in paths]}
    title = f"{scan.stem}: one mask, many tumors"
    image, marked = scan.array, as_array(region) > 0
    if marked.ndim == 3:
        level = widest_slice(marked)
        image, marked, variants = image[..., level], marked[..., level], [v[..., level] for v in variants]
    near, grey = close_up(marked), (float(image.min()), float(np.percentile(image, 99.8)))
    rows = in_rows([Picture(variant[near].astype(float), *grey) for variant in variants], COLUMNS)
    original = Picture(image[near].astype(float), *grey, contour=marked[near])
    grid = [[original if row is rows[0] else None, *row] for row in rows]
    columns = ["before, and the mask", *["inserted"] * len(rows[0])]
    picture = picture_grid(grid, column_titles=columns, title=title)
    return [*paths, *write_beside(scan.file("styles", ""), picture, facts, title, cases)]


def style_in(scan: AnyPath | None, mask: AnyPath | None, weights: Weights, sequence: str | None) -> Style | None:
    """The style of the tumor that the mask marks in a scan (methods that know styles); None where none is asked for.

    Raises:
        ConfigError: if one of the two is missing.
    """
    if scan is None and mask is None:
        return None
    if scan is None or mask is None:
        raise ConfigError("--style-from and --style-mask belong together: a scan, and the tumor in it")
    opened = open_to_edit(scan, weights, sequence, "")
    region = as_array(opened.marked(mask, "Mark the tumor whose style is wanted.")) > 0
    turn = weights.turn(opened.image.affine, region.ndim)
    spacing_mm = spacing_of(turn.affine(opened.image.affine.numpy(), region.shape), region.ndim)
    array = turn.there(opened.array.astype("float32"))[None]
    return style_of(array, turn.there(region), [opened.window], weights, spacing_mm)


def _facts(scan: OpenScan, weights: Weights, seed: int, **given: AnyPath | None) -> dict[str, object]:
    """What every manifest says; `given` are the masks that were, of which the names are kept."""
    facts = {"scan": scan.path.name, "seed": seed, "weights": weights.facts.sha256, "length_unit": scan.length_unit}
    return facts | {kind: Path(path).name for kind, path in given.items() if path is not None}


def _warn_of_rest(asked: Any, done: Any, verb: str) -> None:
    """Says how much of a mask was left alone."""
    asked_voxels, done_voxels = (int((mask > 0).sum()) for mask in (asked, done))
    if done_voxels < asked_voxels:
        logger.warning("%d of the mask's %d voxels were %s; the rest is padding", done_voxels, asked_voxels, verb)


def _write(scan: OpenScan, kind: str, edited: Any, label: Any, shown: Any, facts: dict[str, object]) -> list[Path]:
    """Image in the scan's own unit and type, label, picture, manifest, page; `shown` is outlined."""
    title = f"{scan.stem}: {kind}"
    paths = [scan.write_edited(kind, edited), scan.write_label(f"{kind}_label", label)]
    picture = before_after(scan.array[None], as_array(edited)[None], as_array(as_meta(shown)), title=title)
    cases = [scan.seen_with(edited, kind, shown, scan.stem)]
    ending = "_compared.png" if scan.ending == ".png" else ".png"
    return [*paths, *write_beside(scan.file(kind, ""), picture, facts, title, cases, ending)]
