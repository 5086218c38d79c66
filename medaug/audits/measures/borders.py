"""Does an edit show at its border, or leave a regular pattern? Both betray a lesion without being one.

*Seams*: the steps from voxel to voxel, sorted by how far from the mask's edge they are. A seam is a step that is larger
than those one voxel nearer and farther; real lesions in the same views are the yardstick, since they too have an edge.
*Checkerboards* (Odena 2016, doi 10.23915/distill.00003): see `seams.checkerboard_ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medaug.audits.measures.cases import Insertion, LesionView
from medaug.audits.measures.finding import Finding, Limits, Question, over_patients
from medaug.audits.measures.seams import checkerboard_ratio, seam_ratio

SEAMS = Question("seams", "Is there a step at the border of what was edited?")
CHECKERBOARD = Question("checkerboard", "Does the generator leave a regular pattern?")
SHELLS = np.arange(-2, 6)
"""Between shells k and k + 1 of voxels around the mask's edge, which lies between 0 and 1."""
MOST_STRIDE = 4
"""Frequencies of larger strides are those of anatomy."""
NONE = "there is no edited image to look at"


class Spectral(NamedTuple):
    """An image that a generator made, the same one before it, and a real one of the made one's kind, (*S) each."""

    patient: str
    fake: np.ndarray
    before: np.ndarray
    real: np.ndarray

    @property
    def usable(self) -> bool:
        """Whether all three have a spectrum: a constant image has none."""
        return all(np.ptp(image) > 0 for image in self[1:])


def seams(real: Sequence[LesionView], inserted: Sequence[Insertion], limits: Limits, *, seed: int) -> Finding:
    """The largest one-voxel step around inserted masks, over that around real ones; 1 is like real lesions."""
    if not inserted:
        return SEAMS.skipped(NONE)
    steps = np.array([[_steps(view) for view in kind] for kind in (real, inserted)]).swapaxes(0, 1)
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
        return SEAMS.skipped(NONE)
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
        return CHECKERBOARD.skipped(NONE)
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


def _steps(view: LesionView) -> np.ndarray:
    """(2, shells): sums of absolute steps between neighbouring shells around the mask, and how many there are.

    Distances are those of a chessboard, in which soft masks grow (`insertion.compositing`).
    """
    mask = view.mask
    inside, outside = (ndimage.distance_transform_cdt(part, "chessboard") for part in (mask, ~mask))
    shell = np.where(mask, 1 - inside, outside)
    found = np.zeros((2, len(SHELLS)))
    for axis in range(mask.ndim):
        near, far = (np.take(shell, range(s, mask.shape[axis] - 1 + s), axis=axis) for s in (0, 1))
        step = np.abs(np.diff(view.image.astype(np.float64), axis=axis))
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
