"""Could a network learn "a generator was here" in place of "here is a tumor" (arXiv 2407.21674)?

Two questions to the probe of `quality.probe`, which is trained and tested on different held-out patients: does it tell
crops that the generator passed over with nothing inserted from the same crops untouched (the generator's fingerprint
alone), and does it tell inserted lesions from the same patients' real ones?
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medaug.audits.measures.cases import Insertion, LesionView, Limits
from medaug.audits.measures.features import lesion_features
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.probe import MIN_PATIENTS, ProbeResult, probe_auc

NULL = "Does the generator leave a fingerprint where it inserts nothing?"
REAL = "Can inserted lesions be told from real ones?"


def null_shortcut(nulls: Sequence[Insertion], size: Sequence[int], limits: Limits, *, seed: int) -> Finding:
    """AUC of null insertions against the same crops untouched.

    Args:
        nulls: `image` is what the generator made of `before` with nothing inserted.
        size: of the crops, in voxels.
    """
    if reason := _too_few(nulls):
        return skipped("null_shortcut", NULL, reason)
    untouched = np.array([lesion_features(i.crop_before(size), i.crop(size)[1]) for i in nulls])
    passed = _features(nulls, size)
    what = "null insertions from untouched crops"
    return _judged("null_shortcut", NULL, what, untouched, passed, nulls, limits, seed)


def lesion_probe(
    real: Sequence[LesionView], inserted: Sequence[Insertion], size: Sequence[int], *, seed: int
) -> ProbeResult:
    """How well inserted lesions are told from real ones, one of each a view.

    Raises:
        DataError: for fewer than `MIN_PATIENTS` patients.
    """
    patients = [view.patient for view in real]
    return probe_auc(_features(real, size), patients, _features(inserted, size), patients, seed=seed)


def shortcut(
    real: Sequence[LesionView], inserted: Sequence[Insertion], size: Sequence[int], limits: Limits, *, seed: int
) -> Finding:
    """AUC of inserted lesions against real ones, one of each a view."""
    if reason := _too_few(real):
        return skipped("shortcut", REAL, reason)
    own, made = (_features(kind, size) for kind in (real, inserted))
    return _judged("shortcut", REAL, "inserted from real lesions", own, made, real, limits, seed)


def _features(lesions: Sequence[LesionView], size: Sequence[int]) -> np.ndarray:
    return np.array([lesion_features(*lesion.crop(size)) for lesion in lesions])


def _judged(
    name: str,
    question: str,
    what: str,
    first: np.ndarray,
    second: np.ndarray,
    views: Sequence[LesionView],
    limits: Limits,
    seed: int,
) -> Finding:
    """Of pairs (N, F) and (N, F), one of each from every view; the floor is chance at the same size."""
    patients = [view.patient for view in views]
    found = probe_auc(first, patients, second, patients, seed=seed)
    chance = _by_chance(first, second, patients, seed)
    sentence = (
        f"A probe tells {what} with an AUC of {found.auc:.2f} ({found.low:.2f} to {found.high:.2f}); by chance it "
        f"reaches {chance.auc:.2f} here. It looks most at {', '.join(found.top_features[:3])}."
    )
    return judged(
        name,
        question,
        sentence,
        value=found.auc,
        low=found.low,
        high=found.high,
        warn=limits.warn,
        fail=limits.fail,
        floor=chance.auc,
        n={"pairs": len(first), "patients": found.n_patients},
        details={"top_features": list(found.top_features), "classifier": found.classifier},
    )


def _by_chance(first: np.ndarray, second: np.ndarray, patients: list[str], seed: int) -> ProbeResult:
    """The same with the sides of each pair drawn by lot."""
    swap = np.random.RandomState(seed).random_sample(len(first))[:, None] < 0.5
    return probe_auc(np.where(swap, second, first), patients, np.where(swap, first, second), patients, seed=seed)


def _too_few(views: Sequence[LesionView]) -> str:
    """Why there can be no probe, or nothing."""
    patients = len({view.patient for view in views})
    if patients >= MIN_PATIENTS:
        return ""
    return f"{patients} held-out patients with a lesion of a size that is inserted; the probe needs {MIN_PATIENTS}"
