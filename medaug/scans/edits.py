"""Tumors inserted into a single scan, removed, replaced, or put in one place in many styles; what is made is written.

Each edit returns the paths of image, label (styles: of all images), picture, manifest and page.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.errors import ConfigError, DataError
from medaug.figures.pictures import Picture, before_after, picture_grid
from medaug.lesions.reference import lesion_for_mask
from medaug.models.weights import Weights
from medaug.progress import track
from medaug.scans.files import AnyPath, Scans
from medaug.scans.opened import OpenScan, as_array, close_up, in_rows, open_to_edit, unnamed, write_beside
from medaug.transforms import InsertTumor, RandInsertTumor, RandReplaceTumor, RemoveTumor
from medaug.transforms.planning import Style, drawn_style
from medaug.transforms.styles import check_styled, style_of
from medaug.volumes import as_meta, spacing_of, widest_slice

COLUMNS = 5
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where drawn tumors may lie.

    Attributes:
        organ_mask: the organ, or with `organ_labels` a label that holds it and the tumors; None: it is found.
        organ_labels: the values that are the organ, which no voxel of a new tumor leaves.
        avoid: a label of tumors to keep clear of.
    """

    organ_mask: AnyPath | None = None
    organ_labels: Sequence[int] | None = None
    avoid: AnyPath | None = None

    def __post_init__(self) -> None:
        if self.organ_labels is not None and (self.organ_mask is None or self.avoid is not None):
            raise ConfigError(
                "--organ-labels says which values of the label that --organ-mask names are the organ; that label holds "
                "the tumors to keep clear of, too. Give --organ-mask, and leave out --avoid."
            )


def insert_drawn(scan: OpenScan, insert: RandInsertTumor, seed: int, place: Place) -> list[Path]:
    """Inserts drawn tumors, clear of those that are there.

    What is written labels the new ones alone; of an organ that a label outlines it is that label with the new tumors.

    Raises:
        DataError: if there is no room for a single tumor, or no organ in the label.
    """
    organ, beside = scan.mask(place.organ_mask), place.organ_labels is not None
    existing = organ if beside else scan.mask(place.avoid)
    if organ is not None and place.organ_labels is not None:
        organ = _organ_in(organ, place.organ_labels, place.organ_mask or "", insert)
    insert.set_random_state(seed=seed)
    insert.randomize()
    made = insert.inserted(scan.image, existing, organ, scan.windows, strictly_inside=beside)
    if not made.lesions:
        raise DataError.about(
            scan.path,
            "no room for a tumor",
            "an organ larger than the tumor, and clear of those to avoid",
            "Give --organ-mask, smaller --size-mm, or another --seed.",
        )
    label = new = as_meta(made.label)
    if existing is not None:
        new = as_meta(label * (label != existing))
    facts = _facts(scan, insert.weights, seed, avoid=place.avoid, organ_mask=place.organ_mask if beside else None)
    if place.organ_labels is not None:
        facts["organ_labels"] = list(place.organ_labels)
    facts |= {"asked": insert.count[1], "lesions": [unnamed(lesion) for lesion in made.lesions]}
    return _write(scan, "inserted", made.image, label if beside else new, new, facts)


def _organ_in(label: MetaTensor, organ_labels: Sequence[int], path: AnyPath, insert: RandInsertTumor) -> MetaTensor:
    """The organ that a label outlines, with the tumors in it (1, *S); `insert` is told which values are tumors'."""
    values = as_array(label)
    there, listed = [int(value) for value in np.unique(values) if value > 0], ", ".join(map(str, organ_labels))
    found = f"the values {', '.join(map(str, there)) or 'of no class'}"
    if not {*organ_labels} & {*there}:
        raise DataError.about(path, found, f"the organ's, {listed}", "Correct --organ-labels, or the label.")
    learnt = insert.weights.facts
    alone = learnt.tumor_labels or [value for value in there if value not in organ_labels]
    parts = insert.tumor_labels or tuple(learnt.parts.values()) or ((tuple(alone),) if len(alone) == 1 else ())
    tumors = {value for part in parts for value in part}
    if not tumors or tumors & {*organ_labels}:
        found, expected = f"{found}, of which {listed} are the organ", "to know the value of a new tumor, another one"
        raise DataError.about(path, found, expected, "Say it with --tumor-labels.")
    insert.tumor_labels = parts
    return as_meta(label * torch.from_numpy(np.isin(values, [*organ_labels, *tumors])))


def insert_at(scan: OpenScan, insert: InsertTumor, mask: AnyPath, avoid: AnyPath | None) -> list[Path]:
    """Inserts one tumor exactly where the mask is.

    Raises:
        DataError: if the mask is empty, or marks voxels of a tumor in the label `avoid`.
    """
    existing, region = scan.mask(avoid), scan.marked(mask, "Mark where the tumor shall be.")
    shared = int(((as_array(region) > 0) & (insert.tumors_marked(scan.image, existing) > 0)).sum())
    if shared:
        raise DataError.about(
            mask,
            f"{shared} of {int((region > 0).sum())} voxels in a tumor of {avoid}",
            "none there",
            "Move the mask, or leave out --avoid.",
        )
    edited, label = insert(scan.image, region, window=scan.windows)
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
    edited, label = remove.with_label(scan.image, region, scan.windows)
    several = len(np.unique(as_array(region))) > 2  # parts, or organs that nobody asked for
    asked = remove.tumors_marked(scan.image, region) if several else as_array(region)
    _warn_of_rest(asked, asked * (as_array(as_meta(label)) != as_array(region)), "replaced")
    return _write(scan, "removed", edited, label, region, _facts(scan, remove.weights, remove.seed, mask=mask))


def replace_in(
    scan: OpenScan, replace: RandReplaceTumor, seed: int, mask: AnyPath, organ: AnyPath | None
) -> list[Path]:
    """Puts another tumor in the place of one that the label marks; what is written is that label with the new one.

    Raises:
        DataError: if the label marks no tumor, or there is no room for another in its place.
    """
    label = scan.marked(mask, "Mark the tumor to replace.")
    replace.set_random_state(seed=seed)
    replace.randomize()
    made = replace.inserted(scan.image, label, scan.mask(organ), scan.windows)
    if not made.lesions:
        found, expected = "no tumor that another has room in the place of", "one inside the organ, of a size to insert"
        raise DataError.about(mask, found, expected, "Give --organ-mask, smaller --size-mm, or another --seed.")
    facts = _facts(scan, replace.weights, seed, mask=mask, organ_mask=organ)
    facts |= {"lesions": [unnamed(lesion) for lesion in made.lesions]}
    return _write(scan, "replaced", made.image, made.label, made.label, facts)


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
            edited, label = insert(scan.image, region, window=scan.windows)
            variants.append(np.asarray(edited.as_tensor()))
            paths += scan.write_edited(f"style-{number:02d}", edited)
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
    near, grid, beside = close_up(marked), [], []
    for channel, name in enumerate(scan.sequences):
        before = image[channel]
        grey = float(before.min()), float(np.percentile(before, 99.8))
        rows = in_rows([Picture(variant[channel][near].astype(float), *grey) for variant in variants], COLUMNS)
        original = Picture(before[near].astype(float), *grey, contour=marked[near])
        grid += [[original if row is rows[0] else None, *row] for row in rows]
        beside += [name] * len(rows)
    columns = ["before, and the mask", *["inserted"] * (len(grid[0]) - 1)]
    several = beside if len(scan.sequences) > 1 else None
    picture = picture_grid(grid, column_titles=columns, row_titles=several, title=title)
    return [*paths, *write_beside(scan.file("styles", ""), picture, facts, title, cases)]


def style_in(scan: Scans | None, mask: AnyPath | None, weights: Weights, sequence: str | None) -> Style | None:
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
    array = np.stack([turn.there(channel.astype("float32")) for channel in opened.array])
    return style_of(array, turn.there(region), opened.windows, weights, spacing_mm)


def _facts(scan: OpenScan, weights: Weights, seed: int, **given: AnyPath | None) -> dict[str, object]:
    """What every manifest says; `given` are the masks that were, of which the names are kept."""
    facts = {"scan": scan.names, "seed": seed, "weights": weights.facts.sha256, "length_unit": scan.length_unit}
    return facts | {kind: Path(path).name for kind, path in given.items() if path is not None}


def _warn_of_rest(asked: Any, done: Any, verb: str) -> None:
    """Says how much of a mask was left alone."""
    asked_voxels, done_voxels = (int((mask > 0).sum()) for mask in (asked, done))
    if done_voxels < asked_voxels:
        logger.warning("%d of the mask's %d voxels were %s; the rest is padding", done_voxels, asked_voxels, verb)


def _write(scan: OpenScan, kind: str, edited: Any, label: Any, shown: Any, facts: dict[str, object]) -> list[Path]:
    """Image in the scan's own unit and type, label, picture, manifest, page; `shown` is outlined."""
    title = f"{scan.stem}: {kind}"
    paths = [*scan.write_edited(kind, edited), scan.write_label(f"{kind}_label", label)]
    edited, marked = as_meta(edited), as_array(as_meta(shown))
    picture = before_after(scan.array, edited.as_tensor(), marked, title=title, sequences=scan.sequences)
    cases = [scan.seen_with(edited, kind, shown, scan.stem)]
    ending = "_compared.png" if scan.ending == ".png" else ".png"
    return [*paths, *write_beside(scan.file(kind, ""), picture, facts, title, cases, ending)]
