"""Are synthetic lesions copies of training lesions? Nearest training against nearest hold-out neighbour.

Dar 2024 (2402.01054) calls a synthetic image a copy if it is nearer to a training image than real images of other
patients are. Here a lesion is a copy if it is nearer to its nearest training neighbour than 95 % of real held-out
lesions are to theirs, *and* so in relation to its nearest hold-out neighbour: a smooth, average lesion is near to
everything. Nearness is measured by features and by aligned crops, and the worse one counts; neighbours of the patient a
lesion lies in are left out. Aligned crops: each lesion's box, a quarter wider, on one grid, so that size, place and
stretching do not count; of the mirror images the best counts. The correlation runs over the voxels of either mask, and
is the mean of all sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.spatial.distance import cdist

from medaug.audits.measures.finding import Finding, Limits, Question, over_patients, too_few
from medaug.audits.measures.lesions import LesionSet, standardised
from medaug.lesions.geometry import CropBox, bounding_box, extract
from medaug.resampling import resized, resized_mask

MEMORISATION = Question("memorisation", "Are synthetic lesions copies of training lesions?")
RARE = 0.05
"""The share of real held-out lesions that is nearer than a threshold."""
ROOM = 0.125
"""What an aligned crop has on either side, of the lesion's extent."""
GRIDS = {2: 24, 3: 16}
"""Voxels a side of the aligned crops, by dimensions."""

Distances = Callable[[LesionSet, LesionSet], np.ndarray]
"""(N, M) between N and M lesions."""


@dataclass(frozen=True)
class Neighbours:
    """(N,) distances of lesions from the nearest training and held-out lesion, and which training lesion it is."""

    training: np.ndarray
    held_out: np.ndarray
    nearest: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """(N,) nearest training over nearest held-out distance: small for a copy."""
        return self.training / np.maximum(self.held_out, 1e-12)


@dataclass(frozen=True)
class Copies:
    """What one kind of distance says.

    Attributes:
        measure: "features" or "aligned crops".
        synthetic, real: their neighbours; `synthetic` without the patients that lesions were pasted from.
        copied, real_copied: (N,) which count as copies; `own_copied` if the lesions they were pasted from counted too.
        near, ratio: the thresholds, 5 % quantiles of real held-out lesions.
    """

    measure: str
    synthetic: Neighbours
    real: Neighbours
    copied: np.ndarray
    real_copied: np.ndarray
    own_copied: np.ndarray
    near: float
    ratio: float

    def figures(self) -> dict[str, float]:
        """What a finding's details keep."""
        return {
            "copied": float(self.copied.mean()),
            "real_copied": float(self.real_copied.mean()),
            "copied_with_own_source": float(self.own_copied.mean()),
            "nearer_than_95_percent_of_real": self.near,
            "median_distance": float(np.median(self.synthetic.training)),
            "median_distance_of_real": float(np.median(self.real.training)),
            "median_ratio": float(np.median(self.synthetic.ratio)),
            "median_ratio_of_real": float(np.median(self.real.ratio)),
        }


def memorisation_audit(
    training: LesionSet, held_out: LesionSet, synthetic: LesionSet, limits: Limits, *, seed: int
) -> tuple[Finding, Copies | None]:
    """Judges the share of copies among synthetic lesions, by the measure that finds more of them, which comes along."""
    if (reason := too_few(held_out, synthetic)) is not None:
        return MEMORISATION.skipped(reason), None
    if synthetic.pasted and len(np.unique(training.patients)) < 2:
        reason = "all lesions were pasted from the only training patient; another one is needed to compare with"
        return MEMORISATION.skipped(reason), None
    found = copies(training, held_out, synthetic)
    worst = max(found, key=lambda kind: kind.copied.mean())
    value, floor, own = (float(x.mean()) for x in (worst.copied, worst.real_copied, worst.own_copied))
    sentence = (
        f"{value:.0%} of the synthetic lesions are nearer to a training lesion than real lesions of other patients are "
        f"(by {worst.measure}; of real held-out lesions {floor:.0%})."
    )
    if synthetic.pasted:
        sentence += (
            f" The patients that they were pasted from by design are not counted; with them it is {own:.0%}: such "
            "lesions carry a training patient's tissue and are to be treated like the scans."
        )
    finding = MEMORISATION.judged(
        sentence,
        value,
        limits,
        over_patients(worst.copied.astype(float), synthetic.patients, seed=seed),
        floor=floor,
        n=training.counts("training") | held_out.counts("held-out") | synthetic.counts("synthetic"),
        details={kind.measure: kind.figures() for kind in found},
    )
    return finding, worst


def copies(training: LesionSet, held_out: LesionSet, synthetic: LesionSet) -> list[Copies]:
    """What features, and what aligned crops say."""

    def by_features(first: LesionSet, second: LesionSet) -> np.ndarray:
        """(N, M) root mean square differences of features that are z-scored by real lesions."""
        table = [standardised(lesions.features, held_out.features) for lesions in (first, second)]
        return cdist(*table) / np.sqrt(max(1, table[0].shape[1]))

    found = []
    kinds: dict[str, Distances] = {"features": by_features, "aligned crops": correlation_distances}
    for name, distances in kinds.items():
        made = _neighbours(synthetic, training, held_out, distances)
        own = _neighbours(synthetic, training, held_out, distances, own=True)
        real = _neighbours(held_out, training, held_out, distances)
        near, ratio = (float(np.quantile(values, RARE)) for values in (real.training, real.ratio))
        copied, real_copied, own_copied = ((k.training < near) & (k.ratio < ratio) for k in (made, real, own))
        found.append(Copies(name, made, real, copied, real_copied, own_copied, near, ratio))
    return found


def _neighbours(
    lesions: LesionSet, training: LesionSet, held_out: LesionSet, distances: Distances, *, own: bool = False
) -> Neighbours:
    """The neighbours of each lesion; with `own` the training lesions it was pasted from count as well."""
    to_training = distances(lesions, training)
    if lesions.pasted and not own:
        sources = np.array([source or "" for source in lesions.sources])
        to_training = np.where(sources[:, None] == training.patients, np.inf, to_training)
    to_held_out = distances(lesions, held_out)
    to_held_out = np.where(lesions.patients[:, None] == held_out.patients, np.inf, to_held_out)
    return Neighbours(to_training.min(axis=1), to_held_out.min(axis=1), to_training.argmin(axis=1))


def correlation_distances(first: LesionSet, second: LesionSet) -> np.ndarray:
    """(N, M): 1 − the correlation of aligned crops, of the best mirror image."""
    images, masks = aligned(first)
    others, other_masks = aligned(second)
    axes = range(1, masks.ndim)
    mirrors = [flip for count in range(masks.ndim) for flip in combinations(axes, count)]

    def correlation(flip: tuple[int, ...]) -> np.ndarray:
        """(N, M) of this mirror image, the mean of the channels."""
        pairs = zip(np.moveaxis(images, 1, 0), np.moveaxis(others, 1, 0), strict=True)
        mirrored = np.flip(other_masks, flip)
        return np.mean([_correlations(x, masks, np.flip(y, flip), mirrored) for x, y in pairs], axis=0)

    return 1 - np.max([correlation(flip) for flip in mirrors], axis=0)


def aligned(lesions: LesionSet) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, *grid) and masks (N, *grid) on one grid around each lesion."""
    dims = lesions.parts.ndim - 1
    grid = (GRIDS[dims],) * dims
    images, masks = [], []
    for image, mask in zip(lesions.images, lesions.masks, strict=True):
        corner, extent = bounding_box(mask)
        room = np.ceil(extent * ROOM).astype(int)
        box = CropBox(tuple((corner - room).tolist()), tuple((extent + 2 * room).tolist()))
        images.append([resized(extract(channel, box, -1.0), grid) for channel in image])
        masks.append(resized_mask(extract(mask, box, False), grid, keep=True))
    return np.array(images, dtype=np.float64), np.array(masks)


def _correlations(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) Pearson correlations of images x (N, *S) with y (M, *S) over the union of masks a and b.

    A sum over the union is that over a, plus that over b, less that over both: matrix products, no loop over pairs.
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)

    def over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first * a) @ second.T + first @ (second * b).T - (first * a) @ (second * b).T

    ones, others = np.ones_like(x), np.ones_like(y)
    count = over_union(ones, others)
    mean_x, mean_y = over_union(x, others) / count, over_union(ones, y) / count
    variance_x = over_union(x**2, others) / count - mean_x**2
    variance_y = over_union(ones, y**2) / count - mean_y**2
    covariance = over_union(x, y) / count - mean_x * mean_y
    return covariance / np.sqrt(np.maximum(variance_x * variance_y, 1e-12))
