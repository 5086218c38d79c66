"""Insert tumors into, or remove one from, a single scan: image, label, picture, manifest and a page in a folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from medaug.data.atomic import atomic_path, write_json
from medaug.data.stored import StoredScan
from medaug.data.suffixes import stem_of
from medaug.errors import ConfigError, DataError
from medaug.figures.pictures import before_after
from medaug.models.weights import Weights, load_weights
from medaug.report.viewer import encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.scans.reading import as_array, output_suffix, read_mask, read_one, unnamed, window_for
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor
from medaug.transforms.styles import style_of
from medaug.volumes import Window, as_meta, length_unit, spacing_of

Sizes = tuple[float, float]
logger = logging.getLogger(__name__)


def insert_into_scan(
    scan: Path,
    weights: Path,
    out: Path,
    *,
    count: int = 1,
    seed: int = 0,
    size_mm: Sizes | None = None,
    organ_mask: Path | None = None,
    mask: Path | None = None,
    avoid: Path | None = None,
    tumor_labels: Sequence[int] | None = None,
    style_from: Path | None = None,
    style_mask: Path | None = None,
    sequence: str | None = None,
) -> list[Path]:
    """Inserts up to `count` drawn tumors, or one exactly where `mask` is.

    Args:
        avoid: a label of tumors that are there already; new ones keep clear of them. What is written labels the new.
        tumor_labels: of the values of `avoid`, those that are tumor.
        style_from, style_mask: a scan and the tumor in it whose style the new ones get (methods that know styles).

    Returns:
        The paths of image, label, picture, manifest and page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or there is no room for a single tumor.
        WeightsError: if the weights cannot be used.
    """
    if mask is not None and (organ_mask is not None or size_mm is not None or count != 1):
        raise ConfigError("--mask says where and how large: leave out --organ-mask, --size-mm and --count")
    loaded = load_weights(weights)
    image = read_one(scan, sequence, loaded)
    window, style = window_for(loaded, image, scan), _style(style_from, style_mask, loaded, sequence)
    facts = {"scan": scan.name, "seed": seed, "asked": count, "weights": loaded.facts["sha256"]}
    facts["length_unit"] = length_unit(image.meta)
    existing = read_mask(avoid, image, scan) if avoid is not None else None
    facts |= {"avoid": avoid.name} if avoid is not None else {}
    if mask is not None:
        insert, region = InsertTumor(loaded, seed, style=style, tumor_labels=tumor_labels), read_mask(mask, image, scan)
        there = insert.tumors_marked(image, existing)
        shared = int((as_array(region) > 0)[there].sum())
        if shared:
            raise DataError.about(
                mask,
                f"{shared} of {int((region > 0).sum())} voxels in a tumor of {avoid}",
                "none there",
                "Move the mask, or leave out --avoid.",
            )
        edited, label = insert(image, region, window=window)
        _told(region, as_meta(label), "inserted into")
        facts |= {"mask": mask.name, "lesions": [{"style": list(style)} if style else {}]}
    else:
        organ = read_mask(organ_mask, image, scan) if organ_mask is not None else None
        drawn = RandInsertTumor(
            loaded, prob=1.0, count=(count, count), size_mm=size_mm, style=style, tumor_labels=tumor_labels
        )
        drawn.set_random_state(seed=seed)
        edited, label = drawn(image, existing, organ, window=window)
        label = label if existing is None else label * (label != existing)  # the new ones alone
        facts["lesions"] = [unnamed(lesion) for lesion in drawn.lesions]
        if not drawn.lesions:
            raise DataError.about(
                scan,
                "no room for a tumor",
                "an organ larger than the tumor, and clear of those to avoid",
                "Give --organ-mask, smaller --size-mm, or another --seed.",
            )
    return _write(out, stem_of(scan), "inserted", scan, image, edited, as_meta(label), as_meta(label), window, facts)


def remove_from_scan(
    scan: Path,
    mask: Path,
    weights: Path,
    out: Path,
    *,
    seed: int = 0,
    tumor_labels: Sequence[int] | None = None,
    sequence: str | None = None,
) -> list[Path]:
    """Removes what `mask` marks; returns the paths of image, label, picture, manifest, page.

    The label is empty but for what the mask marks of the scan's padding, where nothing is replaced.

    Raises:
        DataError: if scan and mask do not lie on one grid, the mask is empty, or nothing could be replaced.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = read_one(scan, sequence, loaded)
    region = read_mask(mask, image, scan)
    if not bool((region > 0).any()):
        raise DataError.about(mask, "an empty mask", "the tumor's voxels marked", "Mark what shall be removed.")
    window = window_for(loaded, image, scan)
    edited, label = RemoveTumor(loaded, seed, tumor_labels=tumor_labels).with_label(image, region, window)
    if len(np.unique(as_array(region))) <= 2:  # of a label with organs, who asked for what is not known
        _told(region, as_meta(region * (label <= 0)), "replaced")
    facts = {"scan": scan.name, "mask": mask.name, "seed": seed, "weights": loaded.facts["sha256"]}
    facts["length_unit"] = length_unit(image.meta)
    return _write(out, stem_of(scan), "removed", scan, image, edited, as_meta(label), region, window, facts)


def _told(asked: MetaTensor, done: MetaTensor, verb: str) -> None:
    """Says how much of a mask was left alone."""
    asked_voxels, done_voxels = (int((mask > 0).sum()) for mask in (asked, done))
    if done_voxels < asked_voxels:
        logger.warning("%d of the mask's %d voxels were %s; the rest is padding", done_voxels, asked_voxels, verb)


def _style(
    style_from: Path | None, style_mask: Path | None, weights: Weights, sequence: str | None
) -> tuple[float, ...] | None:
    """The style of the tumor that `style_mask` marks in `style_from`; None where none is asked for."""
    if style_from is None and style_mask is None:
        return None
    if style_from is None or style_mask is None:
        raise ConfigError("--style-from and --style-mask belong together: a scan, and the tumor in it")
    image = read_one(style_from, sequence, weights)
    region = as_array(read_mask(style_mask, image, style_from)) > 0
    turn = weights.turn(image.affine, region.ndim)
    array = turn.there(as_array(image).astype("float32"))
    spacing_mm = spacing_of(turn.affine(image.affine.numpy(), region.shape), region.ndim)
    return style_of(array, turn.there(region), window_for(weights, image, style_from), weights, spacing_mm)


def _write(
    out: Path,
    stem: str,
    kind: str,
    scan: Path,
    image: MetaTensor,
    edited: MetaTensor,
    label: MetaTensor,
    shown: MetaTensor,
    window: Window,
    facts: dict[str, Any],
) -> list[Path]:
    """Image in the scan's own units and dtype, label, picture, manifest."""
    suffix = output_suffix(scan, image)
    paths = [
        out / f"{stem}_{kind}{suffix}",
        out / f"{stem}_{kind}_label{suffix}",
        out / f"{stem}_{kind}.png",
        out / f"{stem}_{kind}.json",
        out / f"{stem}_{kind}.html",
    ]
    if suffix == ".png":
        paths[2] = out / f"{stem}_{kind}_compared.png"
    stored = StoredScan(image)
    stored.write_edited(paths[0], edited)
    stored.write(paths[1], label, "uint8")
    with atomic_path(paths[2]) as temporary:
        temporary.write_bytes(before_after(*map(as_array, (image, edited, shown)), title=f"{stem}: {kind}"))
    write_json(paths[3], facts)
    case = case_of_scan(stem, image, edited, ("original", kind), (window, window), shown)
    view_page(paths[4], f"{stem}: {kind}", [encode(case)], facts)
    return paths
