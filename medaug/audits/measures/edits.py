"""What an edit does: does it stay where it belongs, do anything at all, hide what was there, show at its border?

A generator that changes nothing, or next to nothing, teaches a network that healthy tissue is tumor. *Hidden sources*
(Chu, Zhmoginov and Sandler 2017, arXiv 1712.02950): one that is only asked for a way back can write what it removed
into the fake as a weak pattern; the way back then breaks down under noise too weak to see. The figure is the RMS error
of the cycle with noise on the fake over sqrt(error² + noise²), what it would be if the noise passed straight through:
1 or less where nothing is hidden. *Seams*: a step between voxels that is larger than those one voxel nearer to the
mask's edge and farther; real lesions in the same views, which have an edge too, are the yardstick.

Of several sequences, a voxel has changed if any of them has, and an insertion did something if it shows in one of them;
what is hidden, seams and checkerboards are asked of each `channel` alone (see `finding.worst_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medaug.audits.measures.finding import Finding, Limits, Question, each_of, over_patients
from medaug.audits.measures.lesions import Insertion, LesionView
from medaug.audits.measures.seams import checkerboard_ratio, seam_ratio

OUTSIDE = Question("outside", "Does anything change outside the mask?")
UNCHANGED = Question("unchanged", "Does every insertion change the image where it says so?")
STEGANOGRAPHY = Question("steganography", "Does the fake hide its source?")
LEAST_CHANGE = 0.01
"""Mean absolute change inside the mask, in window units [-1, 1], below which nothing was inserted."""
NONE = "no tumor could be inserted into a held-out view"
SEAMS = Question("seams", "Is there a step at the border of what was edited?")
CHECKERBOARD = Question("checkerboard", "Does the generator leave a regular pattern?")
SHELLS = np.arange(-2, 6)
"""Between shells k and k + 1 of voxels around the mask's edge, which lies between 0 and 1."""
MOST_STRIDE = 4
"""Frequencies of larger strides are those of anatomy."""


def outside(insertions: Sequence[Insertion], limits: Limits, names: Sequence[str]) -> Finding:
    """Voxels outside the mask that do not keep their bits in every sequence, all insertions; `names` are theirs."""
    if not insertions:
        return OUTSIDE.skipped(NONE)
    counts = outside_counts(insertions)
    each = each_of(names, sum((i.changed & ~i.mask).reshape(len(names), -1).sum(axis=1) for i in insertions))
    seen = sum(int((~i.mask).sum()) for i in insertions)
    hit = int((counts > 0).sum())
    sentence = f"{counts.sum()} of {seen} voxels outside the mask changed, in {hit} of {len(insertions)} insertions."
    details = {"insertions_with_changes": hit, "voxels_looked_at": seen}
    n = _counted(insertions)
    return OUTSIDE.judged(sentence, float(counts.sum()), limits, unit="voxels", n=n, details=details, each=each)


def unchanged(insertions: Sequence[Insertion], limits: Limits, names: Sequence[str]) -> Finding:
    """The share of insertions that leave the image inside their mask as it was, in every sequence."""
    if not insertions:
        return UNCHANGED.skipped(NONE)
    by_sequence = strengths_of(insertions)
    strengths, each = by_sequence.max(axis=1), each_of(names, (by_sequence < LEAST_CHANGE).mean(axis=0))
    without, asked = int((strengths < LEAST_CHANGE).sum()), len(insertions)
    typical = f"the median change is {np.median(strengths):.2f} in window units"
    sentence = f"{without} of {asked} insertions leave the image inside the mask as it was; {typical}."
    n, details = _counted(insertions) | {"asked": asked}, {"strength": strengths.round(4).tolist()}
    return UNCHANGED.judged(sentence, without / asked, limits, n=n, details=details, each=each)


def outside_counts(insertions: Sequence[Insertion]) -> np.ndarray:
    """(insertions,) voxels that changed outside the mask, in any sequence."""
    return np.array([int((i.changed.any(axis=0) & ~i.mask).sum()) for i in insertions], dtype=int)


def strengths_of(insertions: Sequence[Insertion]) -> np.ndarray:
    """(insertions, C) mean absolute change inside the mask."""
    changes = [(np.abs(i.image - i.before), i.mask) for i in insertions]
    return np.array([[channel[mask].mean() for channel in change] for change, mask in changes], dtype=np.float64)


def _counted(insertions: Sequence[Insertion]) -> dict[str, int]:
    return {"insertions": len(insertions), "patients": len({i.patient for i in insertions})}


class Cycle(NamedTuple):
    """One image and its fake, (C, *S) in [-1, 1]; where the way back and the source are compared, and the way back.

    The region (C, *S) is bool.
    """

    patient: str
    source: np.ndarray
    fake: np.ndarray
    region: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]


class Reconstruction(NamedTuple):
    """What came back of one cycle (C, *S) with and without noise.

    `squares` (C, 3) are the mean squares of both errors, without noise first, and of the noise; NaN where a channel has
    no region to compare.
    """

    clean: np.ndarray
    noisy: np.ndarray
    squares: np.ndarray


def reconstructed(cycles: Sequence[Cycle], *, noise: float, seed: int) -> list[Reconstruction]:
    """Goes the way back of every cycle, as it is and with noise of this standard deviation on the fake."""
    rng, results = np.random.RandomState(seed), []
    for cycle in cycles:
        disturbed = np.clip(cycle.fake + noise * rng.standard_normal(cycle.fake.shape), -1, 1).astype(np.float32)
        clean, noisy = cycle.back(cycle.fake), cycle.back(disturbed)
        differences = (clean - cycle.source, noisy - cycle.source, disturbed - cycle.fake)
        squares = np.full((len(cycle.region), 3), np.nan)
        for channel, region in enumerate(cycle.region):
            if region.any():
                squares[channel] = [np.square(d[channel][region], dtype=np.float64).mean() for d in differences]
        results.append(Reconstruction(clean, noisy, squares))
    return results


def steganography(
    cycles: Sequence[Cycle], back: Sequence[Reconstruction], limits: Limits, *, channel: int, noise: float, seed: int
) -> Finding:
    """Judges the cycle error of one sequence with noise on the fakes.

    Args:
        back: of each cycle, with `noise` in window units [-1, 1].
    """
    rows = [(result.squares[channel], cycle.patient) for result, cycle in zip(back, cycles, strict=True)]
    rows = [row for row in rows if not np.isnan(row[0]).any()]
    if not rows:
        return STEGANOGRAPHY.skipped("there is no fake to translate back")
    squares, patients = np.array([found for found, _ in rows]), [patient for _, patient in rows]
    error, with_noise, _ = np.sqrt(squares.mean(axis=0)).tolist()
    sentence = (
        f"The cycle error is {error:.3f}, and {with_noise:.3f} with noise of {noise:g} on the fake (window units): "
        f"{_ratio(squares):.2f} times what that noise alone would add up to."
    )
    interval = over_patients(squares, patients, seed=seed, statistic=_ratio)
    n = {"images": len(rows), "patients": len(set(patients))}
    details = {"error": error, "error_with_noise": with_noise, "noise": noise}
    return STEGANOGRAPHY.judged(sentence, _ratio(squares), limits, interval, n=n, details=details)


def _ratio(squares: np.ndarray) -> float:
    clean, noisy, added = squares.mean(axis=0)
    return float(np.sqrt(noisy / max(clean + added, np.finfo(float).tiny)))


class Spectral(NamedTuple):
    """One sequence that a generator made, the same before it, and a real one of the made one's kind, (*S) each."""

    patient: str
    fake: np.ndarray
    before: np.ndarray
    real: np.ndarray


def seams(
    real: Sequence[LesionView], inserted: Sequence[Insertion], limits: Limits, *, channel: int, seed: int
) -> Finding:
    """The largest one-voxel step around inserted masks, over that around real ones; 1 is like real lesions."""
    if not inserted:
        return SEAMS.skipped("there is no edited image to look at")
    steps = np.array([[_steps(view.image[channel], view.mask) for view in kind] for kind in (real, inserted)]).swapaxes(
        0, 1
    )
    patients = [i.patient for i in inserted]
    excesses = _excesses(steps)
    place = int(SHELLS[1:-1][excesses.argmax()])
    where = (
        f"{abs(place)} voxels {'outside' if place > 0 else 'inside'} the mask's edge" if place else "at the mask's edge"
    )
    sentence = f"The sharpest step stands out {excesses.max():.2f} times as much as around real lesions, {where}."
    interval = over_patients(steps, patients, seed=seed, statistic=lambda rows: float(_excesses(rows).max()))
    own, made = _profiles(steps).round(5).tolist()
    n = {"lesions": len(inserted), "patients": len(set(patients))}
    details = {"voxels_from_edge": SHELLS.tolist(), "real": own, "inserted": made}
    return SEAMS.judged(sentence, float(excesses.max()), limits, interval, n=n, details=details)


def window_seams(
    changes: Sequence[np.ndarray],
    patients: Sequence[str],
    patch_size: Sequence[int],
    overlap: float,
    limits: Limits,
    *,
    seed: int,
) -> Finding:
    """The step of a change (*S) across the borders of windows, over that nearby; 1 without seams."""
    if not changes:
        return SEAMS.skipped("there is no edited image to look at")
    ratios = np.array([seam_ratio(change, patch_size, overlap) for change in changes])
    value = float(np.median(ratios))
    sentence = f"Steps across the windows' borders are {value:.2f} times those nearby."
    interval = over_patients(ratios, patients, seed=seed, statistic=np.median)
    n, details = {"images": len(ratios), "patients": len(set(patients))}, {"by_image": ratios.round(4).tolist()}
    return SEAMS.judged(sentence, value, limits, interval, n=n, details=details)


def checkerboard(images: Sequence[Spectral], stride: int, limits: Limits, *, seed: int) -> Finding:
    """Energy at the frequencies of the network's stride, median over images, over that of real images.

    Both are relative to the image before the generator; real images are the yardstick.
    """
    if not images:
        return CHECKERBOARD.skipped("there is no edited image to look at")
    step = int(np.clip(stride, 2, MOST_STRIDE))
    ratios = np.array([[checkerboard_ratio(image, i.before, step) for image in (i.fake, i.real)] for i in images])
    patients = [i.patient for i in images]
    fake, real = np.median(ratios, axis=0)
    sentence = (
        f"Energy at the frequencies of a stride of {step} is {fake:.2f} times that before the edit; in real images it "
        f"is {real:.2f} times."
    )
    interval = over_patients(ratios, patients, seed=seed, statistic=_relative)
    n = {"images": len(ratios), "patients": len(set(patients))}
    details = {"fake": ratios[:, 0].round(3).tolist(), "real": ratios[:, 1].round(3).tolist(), "stride": step}
    return CHECKERBOARD.judged(sentence, _relative(ratios), limits, interval, n=n, details=details)


def _steps(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(2, shells): sums of absolute steps between neighbouring shells around the mask, and how many there are.

    Distances are those of a chessboard, in which soft masks grow (`insertion.base`).
    """
    inside, outside = (ndimage.distance_transform_cdt(part, "chessboard") for part in (mask, ~mask))
    shell = np.where(mask, 1 - inside, outside)
    found = np.zeros((2, len(SHELLS)))
    for axis in range(mask.ndim):
        near, far = (np.take(shell, range(s, mask.shape[axis] - 1 + s), axis=axis) for s in (0, 1))
        step = np.abs(np.diff(image.astype(np.float64), axis=axis))
        across = (np.abs(far - near) == 1) & np.isin(np.minimum(near, far), SHELLS)
        place = np.minimum(near, far)[across] - SHELLS[0]
        found[0] += np.bincount(place, step[across], len(SHELLS))
        found[1] += np.bincount(place, minlength=len(SHELLS))
    return found


def _profiles(steps: np.ndarray) -> np.ndarray:
    """(lesions, 2 kinds, 2, shells) → (2 kinds, shells), mean steps; a shell that no lesion has counts as flat."""
    sums, counts = steps.sum(axis=0).swapaxes(0, 1)
    return sums / np.maximum(counts, 1)


def _excesses(steps: np.ndarray) -> np.ndarray:
    """(shells - 2,) how much each step stands out of its neighbours, over the same of real lesions (at least 1)."""
    real, inserted = (p[1:-1] / np.maximum((p[:-2] + p[2:]) / 2, 1e-6) for p in _profiles(steps))
    return inserted / np.maximum(real, 1.0)


def _relative(ratios: np.ndarray) -> float:
    """The median of made images over that of real ones (at least 1); ratios are (images, 2)."""
    fake, real = np.median(ratios, axis=0)
    return float(fake / max(1.0, real))
