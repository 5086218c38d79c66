"""What removal puts in a tumor's place, where the truth is known: tumor masks on healthy tissue of held-out patients.

Beside it stand three fills that need no training: *biharmonic* inpainting (Damelin and Hoang 2018, DOI
10.1155/2018/3950312; slice by slice), the tissue *mirrored* at the organ's middle, and tissue *copied* from the place
in the same view whose surroundings fit best. The last two are shifted by the difference of the surroundings' medians.
All fill what the weights fill, which reaches `REACH_VOXELS` beyond the mask: there a tumor's blurred edge would be.

Errors are those of `similarity` inside the mask, in window units. They favour what is smooth, which gives itself away
by its texture, so a probe judges, as it does of insertions. Texture is the standard deviation inside the mask, fine
texture that of what a Gaussian of one voxel takes away, both over the truth's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.restoration import inpaint_biharmonic

from medaug.audits.measures.finding import Finding, Limits, Question, over_patients
from medaug.audits.measures.lesions import Insertion
from medaug.audits.measures.probe import told_from_untouched
from medaug.audits.measures.similarity import WINDOW_UNITS, ImagePair, mae, psnr, ssim
from medaug.lesions.geometry import bounding_box, box_around_mask
from medaug.lesions.prior import AIR, surroundings_of
from medaug.models.insertion.base import REACH_VOXELS

REMOVAL = Question("removal", "Can what is put in a tumor's place be told from healthy tissue?")
OWN = "removed"
"""The name of the weights' own fill."""
ENDS = "mean", "low", "high"
"""Of a figure's mean, and its 95 % interval over patients."""
AROUND = 8
"""Voxels around the mask in which fills are made and measured."""
MOST_DB = 100.0
"""PSNR of equal images, so that means are finite."""
LEAST_TEXTURE = 1e-4
"""Tissue with less has no texture to compare with."""
PLACES = 64
"""Places that are tried for tissue to copy."""

Fill = Callable[[Insertion, np.random.RandomState], np.ndarray]


def biharmonic(made: Insertion, rng: np.random.RandomState) -> np.ndarray:
    """The smoothest continuation of what is around the region, by slice of the last axis of volumes."""
    filled, region = made.before.copy(), region_of(made)
    near = box_around_mask(region, AROUND)
    hole = np.atleast_3d(region[near])
    for channel in filled[:, *near]:
        for z in range(hole.shape[-1]):
            image, marked = channel[..., z] if channel.ndim == 3 else channel, hole[..., z]
            if marked.any():
                image[marked] = np.clip(inpaint_biharmonic(image, marked)[marked], -1, 1)
    return filled


def mirrored(made: Insertion, rng: np.random.RandomState) -> np.ndarray:
    """The tissue on the other side of the organ's middle, along the first axis (left and right)."""
    low, extent = bounding_box(made.organ if made.organ.any() else made.mask)
    middle = 2 * low[0] + extent[0] - 1

    def other_side(places: np.ndarray) -> np.ndarray:
        return np.concatenate([middle - places[:, :1], places[:, 1:]], axis=1)

    return _taken(made, _region(made), other_side)[0]


def copied(made: Insertion, rng: np.random.RandomState) -> np.ndarray:
    """The tissue of the organ, free of tumors, whose surroundings fit those of the mask best, of `PLACES` drawn.

    Without a place it is `biharmonic`.
    """
    place = _region(made)
    region, inside = place.marked, place.inside
    organ = np.argwhere(made.organ & ~made.label & ~region)
    taken, best, middle = None, np.inf, inside.mean(axis=0).round().astype(int)
    for center in organ[rng.randint(len(organ), size=PLACES)] if len(organ) else []:
        offset = center - middle
        places = inside + offset
        if (places < 0).any() or (places >= made.mask.shape).any():
            continue
        at = tuple(places.T)
        if made.organ[at].all() and not (made.label[at] | region[at]).any():
            filled, misfit = _taken(made, place, partial(np.add, offset))
            if misfit < best:
                taken, best = filled, misfit
    return biharmonic(made, rng) if taken is None else taken


class _Region(NamedTuple):
    """What is filled, and the tissue around it: bool (*S) and the places (N, dims) of either."""

    marked: np.ndarray
    inside: np.ndarray
    ring: np.ndarray
    around: np.ndarray


def _region(made: Insertion) -> _Region:
    region = region_of(made)
    ring = surroundings_of(region, region | made.label) & (made.before > AIR).any(axis=0)
    return _Region(region, np.argwhere(region), ring, np.argwhere(ring))


def region_of(made: Insertion) -> np.ndarray:
    """What is filled (bool, *S): the mask, and `REACH_VOXELS` around it along any axis or diagonal."""
    neighbours = np.ones((3,) * made.mask.ndim)
    region: np.ndarray = ndimage.binary_dilation(made.mask, neighbours, iterations=REACH_VOXELS)
    return region


FILLS: dict[str, Fill] = {"biharmonic": biharmonic, "mirrored": mirrored, "copied": copied}


def filled_by(removed: Sequence[Insertion], *, seed: int) -> dict[str, list[Insertion]]:
    """The same views by what filled the mask: `OWN` first, then each of `FILLS`.

    Args:
        removed: `image` is `before` with the mask filled by the weights.
    """
    found = {OWN: list(removed)}
    for name, fill in FILLS.items():
        rng = np.random.RandomState(seed)
        found[name] = [replace(made, image=fill(made, rng)) for made in removed]
    return found


def removal(
    fills: Mapping[str, Sequence[Insertion]], size: Sequence[int], limits: Limits, names: Sequence[str], *, seed: int
) -> Finding:
    """AUC of a probe, filled crops against the same crops untouched; errors and texture of every fill in the details.

    Args:
        fills: as from `filled_by`.
        size: of the crops, in voxels.
        names: of the sequences.
    """
    judged, table = None, {}
    for name, views in fills.items():
        what = f"{name} from untouched tissue"
        finding = told_from_untouched(REMOVAL, what, views, size, limits, names, seed=seed)
        judged = judged or finding
        if finding.value is None:
            return finding
        measured, patients = [measures(made) for made in views], [made.patient for made in views]
        ends = {figure: _mean([m[figure] for m in measured], patients, seed) for figure in measured[0]}
        ends["auc"] = finding.value, finding.low, finding.high
        table[name] = {figure: dict(zip(ENDS, values, strict=True)) for figure, values in ends.items()}
    assert judged is not None
    own, *others = table.items()
    shown = "; ".join(f"{name} {row['mae']['mean']:.3f}, {row['fine_texture']['mean']:.2f}" for name, row in others)
    sentence = (
        f"{judged.sentence} Error inside the mask {own[1]['mae']['mean']:.3f} (window units) with "
        f"{own[1]['fine_texture']['mean']:.2f} of the tissue's fine texture ({shown})."
    )
    return replace(judged, sentence=sentence, details=judged.details | {"fills": table})


def measures(made: Insertion) -> dict[str, float]:
    """Errors and texture of one fill inside its mask, means over the sequences."""
    near = box_around_mask(made.mask, AROUND)
    mask, rows = made.mask[near], []
    for real, fake in zip(made.before[:, *near], made.image[:, *near], strict=True):
        pair = [ImagePair(real.astype(np.float64), fake.astype(np.float64), mask)]
        psnr_db = min(psnr(pair, WINDOW_UNITS), MOST_DB)
        errors = {"mae": mae(pair, WINDOW_UNITS), "psnr": psnr_db, "ssim": ssim(pair, WINDOW_UNITS)}
        of_real, of_fake = ([image, image - ndimage.gaussian_filter(image, 1.0)] for image in (real, fake))
        spread = [f[mask].std() / max(r[mask].std(), LEAST_TEXTURE) for r, f in zip(of_real, of_fake, strict=True)]
        rows.append(errors | dict(zip(("texture", "fine_texture"), map(float, spread), strict=True)))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _mean(values: Sequence[float], patients: Sequence[str], seed: int) -> tuple[float | None, ...]:
    return (float(np.mean(values)), *over_patients(values, patients, seed=seed))


def _taken(made: Insertion, region: _Region, moved: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, float]:
    """The region filled from elsewhere (clipped to the view), and how far its surroundings are from those there."""
    last = np.array(made.mask.shape) - 1
    there, beside = (tuple(np.clip(moved(places), 0, last).T) for places in (region.inside, region.around))
    filled, misfit = made.before.copy(), 0.0
    for channel, source in zip(filled, made.before, strict=True):
        apart = source[region.ring] - source[beside]
        shift = float(np.median(apart)) if len(apart) else 0.0
        channel[region.marked] = np.clip(source[there] + shift, -1, 1)
        misfit += float(np.abs(apart - shift).mean()) if len(apart) else 0.0
    return filled, misfit
