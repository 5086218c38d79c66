"""Does an edit show at its border, or leave a regular pattern? Both betray a lesion without being one.

*Seams*: the steps from voxel to voxel, sorted by how far from the mask's edge they are. A seam is a step that is larger
than those one voxel nearer and farther; real lesions in the same views are the yardstick, since they too have an edge.
*Checkerboards* (Odena 2016, doi 10.23915/distill.00003): see `quality.seams.checkerboard_ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medaug.audits.measures.cases import Insertion, LesionView, Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.intervals import over_patients
from medaug.audits.measures.seams import checkerboard_ratio, seam_ratio

SEAMS = "Is there a step at the border of what was edited?"
CHECKERBOARD = "Does the generator leave a regular pattern?"
SHELLS = np.arange(-2, 6)
"""Between shells k and k + 1 of voxels around the mask's edge, which lies between 0 and 1."""
MOST_STRIDE = 4
"""Frequencies of larger strides are those of anatomy."""
NONE = "there is no edited image to look at"


def seams(real: Sequence[LesionView], inserted: Sequence[Insertion], limits: Limits, *, seed: int) -> Finding:
    """The largest one-voxel step around inserted masks, over that around real ones; 1 is like real lesions."""
    if not inserted:
        return skipped("seams", SEAMS, NONE)
    steps = np.array([[_steps(view) for view in kind] for kind in (real, inserted)]).swapaxes(0, 1)
    value, place = _excess(steps), int(SHELLS[1:-1][_excesses(steps).argmax()])
    low, high = over_patients(steps, [i.patient for i in inserted], seed=seed, statistic=_excess)
    sentence = f"The sharpest step stands out {value:.2f} times as much as around real lesions, {_where(place)}."
    own, made = _profiles(steps).round(5).tolist()
    return judged(
        "seams",
        SEAMS,
        sentence,
        value=value,
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        n={"lesions": len(inserted), "patients": len({i.patient for i in inserted})},
        details={"voxels_from_edge": SHELLS.tolist(), "real": own, "inserted": made},
    )


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
        return skipped("seams", SEAMS, NONE)
    ratios = np.array([seam_ratio(change, patch_size, overlap) for change in changes])
    low, high = over_patients(ratios, patients, seed=seed, statistic=np.median)
    return judged(
        "seams",
        SEAMS,
        f"Steps across the windows' borders are {np.median(ratios):.2f} times those nearby.",
        value=float(np.median(ratios)),
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        n={"images": len(ratios), "patients": len(set(patients))},
        details={"by_image": ratios.round(4).tolist()},
    )


def checkerboard(
    fakes: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    real: Sequence[np.ndarray],
    patients: Sequence[str],
    stride: int,
    limits: Limits,
    *,
    seed: int,
) -> Finding:
    """Energy at the frequencies of the generator's stride, median over images, over that of real images.

    Args:
        fakes: (*S) each; `references` the same images before the generator.
        real: others of the fakes' kind, also compared with `references`: the yardstick.
        stride: of the network.
    """
    if not fakes:
        return skipped("checkerboard", CHECKERBOARD, NONE)
    step = int(np.clip(stride, 2, MOST_STRIDE))
    ratios = np.array(
        [
            [checkerboard_ratio(image, reference, step) for image in pair]
            for *pair, reference in zip(fakes, real, references, strict=True)
        ]
    )
    low, high = over_patients(ratios, patients, seed=seed, statistic=_relative)
    sentence = (
        f"Energy at the frequencies of a stride of {step} is {np.median(ratios[:, 0]):.2f} times that before the edit; "
        f"in real images it is {np.median(ratios[:, 1]):.2f} times."
    )
    return judged(
        "checkerboard",
        CHECKERBOARD,
        sentence,
        value=_relative(ratios),
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        n={"images": len(ratios), "patients": len(set(patients))},
        details={"fake": ratios[:, 0].round(3).tolist(), "real": ratios[:, 1].round(3).tolist(), "stride": step},
    )


def usable(image: np.ndarray) -> bool:
    """Whether an image has a spectrum to look at."""
    return bool(np.ptp(image) > 0)


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


def _excess(steps: np.ndarray) -> float:
    return float(_excesses(steps).max())


def _relative(ratios: np.ndarray) -> float:
    """Of (images, fake and real), fakes by real ones (at least 1)."""
    fake, real = np.median(ratios, axis=0)
    return float(fake / max(1.0, real))


def _where(shell: int) -> str:
    if shell == 0:
        return "at the mask's edge"
    return f"{abs(shell)} voxels {'outside' if shell > 0 else 'inside'} the mask's edge"
