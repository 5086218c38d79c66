"""Are synthetic lesions copies of training lesions? Nearest training against nearest hold-out neighbour.

Dar 2024 (2402.01054) calls a synthetic image a copy if it is nearer to a training image than real images of other
patients are. Here that is asked twice: a lesion is a copy if it is nearer to its nearest training neighbour than 95 %
of real held-out lesions are to theirs, *and* so in relation to its nearest hold-out neighbour: a smooth, average lesion
is near to everything, but no nearer to training than to hold-out lesions. By features and by aligned crops; the worse
one counts. Neighbours of the patient a lesion lies in, whose tissue surrounds it, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.intervals import over_patients
from medaug.audits.measures.lesions import Lesions
from medaug.audits.measures.neighbours import Distances, correlation_distances, feature_distances
from medaug.audits.measures.resampling import too_few

RARE = 0.05
"""The share of real held-out lesions that is nearer than a threshold."""
NAME = "memorisation"
QUESTION = "Are synthetic lesions copies of training lesions?"


@dataclass(frozen=True)
class Neighbours:
    """Of each lesion, the nearest training lesion and the nearest held-out one.

    Attributes:
        training, held_out: (N,) distances.
        nearest: (N,) number of the nearest training lesion.
    """

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


def memorisation_audit(
    training: Lesions, held_out: Lesions, synthetic: Lesions, limits: Limits, *, seed: int
) -> Finding:
    """Judges the share of copies among synthetic lesions, by the measure that finds more of them."""
    if (reason := too_few(held_out, synthetic) or _no_others(training, synthetic)) is not None:
        return skipped(NAME, QUESTION, reason)
    found = copies(training, held_out, synthetic)
    worst = worst_of(found)
    value, floor, own = (float(x.mean()) for x in (worst.copied, worst.real_copied, worst.own_copied))
    low, high = over_patients(worst.copied.astype(float), synthetic.patients, seed=seed)
    sentence = (
        f"{value:.0%} of the synthetic lesions are nearer to a training lesion than real lesions of other patients are "
        f"(by {worst.measure}; of real held-out lesions {floor:.0%})."
    )
    if synthetic.pasted:
        sentence += (
            f" The patients that they were pasted from by design are not counted; with them it is {own:.0%}: such "
            "lesions carry a training patient's tissue and are to be treated like the scans."
        )
    return judged(
        NAME,
        QUESTION,
        sentence,
        value=value,
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        floor=floor,
        n=training.counts("training") | held_out.counts("held-out") | synthetic.counts("synthetic"),
        details={kind.measure: _details(kind) for kind in found},
    )


def copies(training: Lesions, held_out: Lesions, synthetic: Lesions) -> list[Copies]:
    """By features, and by aligned crops."""
    kinds = {"features": feature_distances(held_out), "aligned crops": correlation_distances}
    found = []
    for name, distances in kinds.items():
        look = partial(_neighbours, training=training, held_out=held_out, distances=distances)
        made, own, real = look(synthetic), look(synthetic, own=True), look(held_out)
        near, ratio = (float(np.quantile(values, RARE)) for values in (real.training, real.ratio))
        copied, real_copied, own_copied = ((k.training < near) & (k.ratio < ratio) for k in (made, real, own))
        found.append(Copies(name, made, real, copied, real_copied, own_copied, near, ratio))
    return found


def worst_of(found: list[Copies]) -> Copies:
    """The measure that finds most copies."""
    return max(found, key=lambda kind: kind.copied.mean())


def _neighbours(
    lesions: Lesions, *, training: Lesions, held_out: Lesions, distances: Distances, own: bool = False
) -> Neighbours:
    """Of each lesion; with `own` the training lesions it was pasted from count as well."""
    to_training = distances(lesions, training)
    if lesions.pasted and not own:
        sources = np.array([source or "" for source in lesions.sources])
        to_training = np.where(sources[:, None] == training.patients, np.inf, to_training)
    to_held_out = distances(lesions, held_out)
    to_held_out = np.where(lesions.patients[:, None] == held_out.patients, np.inf, to_held_out)
    return Neighbours(to_training.min(axis=1), to_held_out.min(axis=1), to_training.argmin(axis=1))


def _no_others(training: Lesions, synthetic: Lesions) -> str | None:
    """Why there is no training lesion to compare with, if so."""
    if synthetic.pasted and len(np.unique(training.patients)) < 2:
        return "all lesions were pasted from the only training patient; another one is needed to compare with"
    return None


def _details(kind: Copies) -> dict[str, float]:
    return {
        "copied": float(kind.copied.mean()),
        "real_copied": float(kind.real_copied.mean()),
        "copied_with_own_source": float(kind.own_copied.mean()),
        "nearer_than_95_percent_of_real": kind.near,
        "median_distance": float(np.median(kind.synthetic.training)),
        "median_distance_of_real": float(np.median(kind.real.training)),
        "median_ratio": float(np.median(kind.synthetic.ratio)),
        "median_ratio_of_real": float(np.median(kind.real.ratio)),
    }
