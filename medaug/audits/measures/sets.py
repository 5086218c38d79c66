"""What inserted lesions are like as a set: sizes, contrasts and places, features, and how much they differ.

*Sizes, contrasts, places, parts*: Wasserstein-1 distances, in the measure's unit; contrasts are asked of each sequence
alone, and of places and shares of parts the axis or part that differs most counts. *Features*: the Fréchet radiomics
distance (Osuala 2024, Konz and Osuala 2024, 2412.01496) on our own, z-scored by the real set, with a Gaussian each:
d² = |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) (Dowson and Landau 1982). Departs from the paper: sets are compared at equal
sizes, beside groups of real patients; with fewer than ten lesions a feature, in principal components; d² itself is
judged (log d, the paper's figure, stands in the details). *Diversity*: the mean distance between two lesions' features,
over that between real ones, near 0 for a generator that paints one lesion everywhere. The tissue around a lesion and
the brightness matched to it do not count: they differ by patient even then. None of these figures selects a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import wasserstein_distance
from sklearn.decomposition import PCA

from medaug.audits.measures.finding import (
    Finding,
    Limits,
    Question,
    against_halves,
    bootstrap_interval,
    each_of,
    group_size,
    halvings,
    over_patients,
    too_few,
)
from medaug.audits.measures.lesions import LesionSet, standardised
from medaug.errors import DataError

FRECHET = Question(
    "frechet",
    "Do synthetic lesions have the handcrafted features of real ones, their spread and correlations included?",
)
DIVERSITY = Question("diversity", "Do synthetic lesions differ from one another as much as real ones do?")
ONE_PLACE = Question("diversity_in_one_place", "Does another seed or style give another lesion in the same place?")
LESIONS_A_FEATURE, LEAST_COMPONENTS = 10, 2
DIVERSITY_FLOOR = 0.05
"""Quantile of the diversity of groups of real patients."""


@dataclass(frozen=True)
class Measure:
    """One property of a lesion. `column` of a `LesionSet` holds it; `noun` and `unit` go into sentences and plots.

    Attributes:
        channel: where the column has one value a sequence, the number of the one to look at.
        names: of the column's values, where a finding lists them.
    """

    audit: str
    column: str
    noun: str
    unit: str
    digits: int
    channel: int | None = None
    names: tuple[str, ...] = ()

    @property
    def question(self) -> Question:
        return Question(self.audit, f"Do synthetic lesions have the {self.noun} of real ones?")

    def of(self, lesions: LesionSet) -> np.ndarray:
        """(N,) or (N, D)."""
        values = getattr(lesions, self.column)
        return values if self.channel is None else values[:, self.channel]

    def told(self, values: np.ndarray) -> str:
        """One lesion's value or values, as a sentence has them."""
        texts = [f"{value:.{self.digits}f}" for value in np.atleast_1d(values)]
        named = [f"{name} {text}" for name, text in zip(self.names, texts, strict=False)]
        return ", ".join(named) if named else " × ".join(texts)


SIZE = Measure("lesion_size", "diameters_mm", "equivalent diameter", "mm", 1)
CONTRAST = Measure("lesion_contrast", "contrasts", "contrast to the surroundings", "window units", 3)
LOCATION = Measure("lesion_location", "locations", "place in the organ", "of the organ's width", 3)
PARTS = Measure("lesion_parts", "shares", "part shares", "of the volume", 3)
MEASURES = (SIZE, CONTRAST, LOCATION, PARTS)


def distribution_audit(
    measure: Measure, real: LesionSet, synthetic: LesionSet, limits: Limits, *, seed: int
) -> Finding:
    """Judges the distance of one measure between real held-out and synthetic lesions.

    Args:
        limits: in multiples of the floor, the distance that 95 % of random groups of real patients stay below.
    """
    if (reason := too_few(real, synthetic)) is not None:
        return measure.question.skipped(reason)
    rng = np.random.RandomState(seed)
    ours, theirs = measure.of(real), measure.of(synthetic)
    value, group = distance(ours, theirs), group_size(real, synthetic)
    low, high = bootstrap_interval(distance, (ours, real.patients), (theirs, synthetic.origins), rng)
    halves = against_halves(distance, ours, theirs, real.patients, group, rng)
    spread, digits, unit = ours.std(axis=0), f".{measure.digits}f", measure.unit
    standard = distance(*(values / np.where(spread > 0, spread, 1.0) for values in (ours, theirs)))
    medians = [measure.told(np.median(values, axis=0)) for values in (ours, theirs)]
    sentence = (
        f"{measure.noun[:1].upper()}{measure.noun[1:]}: {value:{digits}} {unit} apart ({low:{digits}} to "
        f"{high:{digits}}; {standard:.2f} standard deviations); random groups of {group} and "
        f"{len(np.unique(real.patients)) - group} real patients differ by up to {halves.floor:{digits}}. Medians: real "
        f"{medians[0]}, synthetic {medians[1]} {unit}."
    )
    return measure.question.judged(
        sentence,
        value,
        limits.times(halves.floor),
        (low, high),
        unit=unit,
        floor=halves.floor,
        n=real.counts("real") | synthetic.counts("synthetic"),
        details={"standardised": standard, "group_patients": group, "floors": halves.listed()},
        each=each_of(measure.names, distances(ours, theirs)),
    )


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples (N,) and (M,); of (N, D) and (M, D) the largest along an axis."""
    return max(distances(first, second))


def distances(first: np.ndarray, second: np.ndarray) -> list[float]:
    """The Wasserstein-1 distance along each axis of two samples (N, D) and (M, D)."""
    columns = zip(first.reshape(len(first), -1).T, second.reshape(len(second), -1).T, strict=True)
    return [float(wasserstein_distance(*pair)) for pair in columns]


def frechet_audit(real: LesionSet, synthetic: LesionSet, limits: Limits, *, seed: int) -> Finding:
    """Judges the distance of features by that between groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return FRECHET.skipped(reason)
    rng, group = np.random.RandomState(seed), group_size(real, synthetic)
    scores = [standardised(lesions.features, real.features) for lesions in (real, synthetic)]
    count, features = components_for(scores, real.patients, group), scores[0].shape[1]
    ours, theirs, explained = principal(scores[0], scores[1], count)
    halves = against_halves(frechet_distance, ours, theirs, real.patients, group, rng)
    value, (low, high) = float(halves.values.mean()), np.quantile(halves.values, [0.025, 0.975]).tolist()
    sentence = (
        f"d² = {value:.2f} between real and synthetic lesions ({halves.lesions} a side; 95 % of the draws "
        f"{low:.2f} to {high:.2f}), up to {halves.floor:.2f} between groups of real patients. "
    )
    reduced = (
        f"Too few lesions for {features} features (about {LESIONS_A_FEATURE} each are needed): reduced to {count} "
        "principal components."
    )
    sentence += reduced if count < features else f"{features} features."
    return FRECHET.judged(
        sentence,
        value,
        limits.times(halves.floor),
        (low, high),
        floor=halves.floor,
        n=real.counts("real") | synthetic.counts("synthetic") | {"lesions a side": halves.lesions},
        details={
            "log_distance": 0.5 * float(np.log(max(value, 1e-12))),
            "features": features,
            "components": count,
            "variance_explained": explained,
            "group_patients": group,
            "floors": halves.listed(),
        },
    )


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """d² of the Gaussians fitted to (N, F) and (M, F).

    Raises:
        DataError: if a set has fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise DataError(f"Fréchet distance: found sets of {len(first)} and {len(second)} rows; expected at least 2")
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second)]
    # Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric.
    eigenvalues, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(eigenvalues.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    apart = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return float(max(0.0, apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared))


def principal(real: np.ndarray, synthetic: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Both sets (N, F), (M, F) in the first `count` principal components of the two together, and their variance share.

    The two together, because a synthetic set may differ along what hardly varies among real lesions.
    """
    reduction = PCA(count, svd_solver="full").fit(np.concatenate([real, synthetic]))
    share = float(reduction.explained_variance_ratio_.sum())
    return reduction.transform(real), reduction.transform(synthetic), share


def components_for(scores: list[np.ndarray], patients: np.ndarray, group: int) -> int:
    """How many features the smaller side can carry, at `LESIONS_A_FEATURE` each."""
    counts = np.sort(np.unique(patients, return_counts=True)[1])
    least = min(int(counts[:group].sum()), len(scores[1]))
    return min(scores[0].shape[1], max(LEAST_COMPONENTS, least // LESIONS_A_FEATURE))


def diversity_audit(real: LesionSet, synthetic: LesionSet, limits: Limits, *, seed: int) -> Finding:
    """Judges the diversity of the set by that of groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return DIVERSITY.skipped(reason)
    ours, theirs = (standardised(lesions.features, real.features) for lesions in (real, synthetic))
    whole, group = mean_distance(ours), group_size(real, synthetic)
    drawn = [mean_distance(ours[r]) / whole for _, r in halvings(real.patients, group, np.random.RandomState(seed))]
    floor, value = float(np.quantile(drawn, DIVERSITY_FLOOR)), mean_distance(theirs) / whole

    def distinct(rows: np.ndarray) -> float:
        return mean_distance(np.unique(rows, axis=0)) / whole  # the repeats of a resample are no pair

    sentence = (
        f"Two synthetic lesions differ {value:.2f} times as much as two real ones; lesions of {group} random real "
        f"patients at least {floor:.2f} times (95 % of the draws)."
    )
    return DIVERSITY.judged(
        sentence,
        value,
        limits.times(floor),
        over_patients(theirs, synthetic.origins, seed=seed, statistic=distinct),
        higher_is_worse=False,
        floor=floor,
        n=real.counts("real") | synthetic.counts("synthetic"),
        details={
            "mean_distance": mean_distance(theirs),
            "mean_distance_of_real": whole,
            "group_patients": group,
            "floors": [round(ratio, 4) for ratio in drawn],
        },
    )


def one_place_audit(real: LesionSet, places: Sequence[LesionSet], limits: Limits, *, seed: int) -> Finding:
    """Judges how much lesions of one place differ, as a share of the mean distance between real lesions.

    Args:
        places: several lesions each, made with other seeds or styles.
    """
    if len(places) < 2 or min(len(place) for place in places) < 2:
        return ONE_PLACE.skipped(f"{len(places)} places to fill anew; at least 2 with 2 lesions each are needed")
    whole = mean_distance(standardised(real.features, real.features))
    ratios = [mean_distance(standardised(place.features, real.features)) / whole for place in places]
    value, each = float(np.mean(ratios)), len(places[0])
    interval = over_patients(ratios, [place.patients[0] for place in places], seed=seed)
    sentence = (
        f"With other seeds or styles, lesions in one place differ {value:.2f} times as much as two real lesions do "
        f"({len(places)} places, {each} lesions each)."
    )
    n = {"places": len(places), "lesions a place": each} | real.counts("real")
    return ONE_PLACE.judged(sentence, value, limits, interval, higher_is_worse=False, n=n)


def mean_distance(rows: np.ndarray) -> float:
    """Mean Euclidean distance between two different rows of (N, F), over √F; 0 for a single row."""
    return float(pairwise(rows).mean()) if len(rows) > 1 else 0.0


def pairwise(rows: np.ndarray) -> np.ndarray:
    """(N (N - 1) / 2,) Euclidean distances between the rows of (N, F), over √F."""
    return pdist(rows) / np.sqrt(rows.shape[1])
