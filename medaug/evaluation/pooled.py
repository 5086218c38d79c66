"""Metrics of slices pooled over patients (AUC, sensitivity, ...), brought to one score a patient for `statistics`.

An AUC compares slices of one patient with slices of another, so it is no mean over patients. Its jackknife
pseudo-values are: P · AUC(all) − (P − 1) · AUC(without patient p), shifted so that their mean is the AUC itself
(Dorfman, Berbaum and Metz 1992, Invest Radiol 27:723). Resampling them resamples patients with all of their slices,
and two methods are compared patient by patient, as Dice is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from medaug.errors import DataError
from medaug.evaluation.intervals import Interval, mean_interval
from medaug.evaluation.metrics import Metric

THRESHOLD = 0.5
"""A probability above it says tumor."""


@dataclass(frozen=True)
class Scored:
    """A patient's slices (or patches): scores (N,), the higher the more like a tumor, and whether there is one (N,)."""

    scores: np.ndarray
    tumor: np.ndarray


def auc(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The chance that a slice with a tumor scores above one without; ties count half."""
    return float(roc_auc_score(tumor, scores))


def sensitivity(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The part of the slices with a tumor that score above 0.5."""
    return float((scores[tumor] > THRESHOLD).mean())


def specificity(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The part of the slices without a tumor that do not."""
    return float((scores[~tumor] <= THRESHOLD).mean())


def balanced_accuracy(scores: np.ndarray, tumor: np.ndarray) -> float:
    """The mean of sensitivity and specificity."""
    return (sensitivity(scores, tumor) + specificity(scores, tumor)) / 2


POOLED_METRICS: dict[str, Metric] = {
    "auc": Metric("AUC", "", True, auc),
    "balanced_accuracy": Metric("Balanced accuracy", "", True, balanced_accuracy),
    "sensitivity": Metric("Sensitivity", "", True, sensitivity),
    "specificity": Metric("Specificity", "", True, specificity),
}


def pseudo_values(patients: Sequence[Scored], metric: Callable[[np.ndarray, np.ndarray], float] = auc) -> np.ndarray:
    """One value a patient (P,), whose mean is the metric of all slices together.

    Raises:
        DataError: if fewer than two patients have slices with, or fewer than two without a tumor.
    """
    check_kinds([patient.tumor for patient in patients])
    whole = _pooled(patients, metric)
    without = np.array([_pooled([*patients[:i], *patients[i + 1 :]], metric) for i in range(len(patients))])
    values = len(patients) * whole - (len(patients) - 1) * without
    return values + whole - values.mean()


def check_kinds(tumor_by_patient: Sequence[np.ndarray]) -> None:
    """Refuses patients whose pooled metrics would have no interval.

    Raises:
        DataError: if fewer than two have slices with, or fewer than two without a tumor.
    """
    with_tumor = sum(bool(tumor.any()) for tumor in tumor_by_patient)
    tumor_free = sum(not tumor.all() for tumor in tumor_by_patient)
    if min(with_tumor, tumor_free) < 2:
        raise DataError(
            f"held-out patients: found {with_tumor} who have slices with, and {tumor_free} who have slices without a "
            "tumor; expected at least 2 of each. Score more patients, or data whose scans reach beyond the tumors."
        )


def within_patient(scored: Scored) -> dict[str, float | None]:
    """All pooled metrics of one patient's slices alone; None where they are all of one kind."""
    both = scored.tumor.any() and not scored.tumor.all()
    return {name: m.score(scored.scores, scored.tumor) if both else None for name, m in POOLED_METRICS.items()}


def auc_interval(patients: Mapping[str, Scored], rng: np.random.RandomState, level: float = 0.95) -> Interval:
    """The AUC of all slices with an interval for new patients, cut off at 0 and 1.

    Raises:
        DataError: as `pseudo_values`.
    """
    return mean_interval(pseudo_values(list(patients.values()))[:, None], rng, level).within(0.0, 1.0)


def _pooled(patients: Sequence[Scored], metric: Callable[[np.ndarray, np.ndarray], float]) -> float:
    return metric(np.concatenate([p.scores for p in patients]), np.concatenate([p.tumor for p in patients]))
