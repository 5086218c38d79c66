"""Fréchet distance between the handcrafted features of real and synthetic lesions.

The Fréchet radiomics distance (Osuala 2024, Konz and Osuala 2024, 2412.01496) on our own features: they are z-scored by
the real set, a Gaussian is fitted to each set, and d² = |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) (Dowson and Landau 1982).

Departs from the paper: sets are compared at equal sizes, beside the same distance between groups of real patients; with
fewer than ten lesions a feature, the features are reduced to principal components, so that a covariance can be fitted;
d² itself is judged (log d, the paper's figure, stands in the details). It is a warning sign and selects no model.
"""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.lesions import Lesions, standardised
from medaug.audits.measures.resampling import against_halves, group_size, too_few
from medaug.errors import DataError

LESIONS_A_FEATURE = 10
LEAST_COMPONENTS = 2
NAME = "frechet"
QUESTION = "Do synthetic lesions have the handcrafted features of real ones, their spread and correlations included?"


def frechet_audit(real: Lesions, synthetic: Lesions, limits: Limits, *, seed: int) -> Finding:
    """Judges the distance by that between groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return skipped(NAME, QUESTION, reason)
    rng, group = np.random.RandomState(seed), group_size(real, synthetic)
    scores = [standardised(lesions.features, real.features) for lesions in (real, synthetic)]
    count, kept = components_for(scores, real.patients, group), scores[0].shape[1]
    ours, theirs, explained = principal(scores[0], scores[1], count)
    halves = against_halves(frechet_distance, ours, theirs, real.patients, group, rng)
    low, high = halves.spread
    sentence = (
        f"d² = {halves.value:.2f} between real and synthetic lesions ({halves.lesions} a side; 95 % of the draws "
        f"{low:.2f} to {high:.2f}), up to {halves.floor:.2f} between groups of real patients. {_small(count, kept)}"
    )
    return judged(
        NAME,
        QUESTION,
        sentence,
        value=halves.value,
        low=low,
        high=high,
        warn=limits.warn * halves.floor,
        fail=limits.fail * halves.floor,
        floor=halves.floor,
        n=real.counts("real") | synthetic.counts("synthetic") | {"lesions a side": halves.lesions},
        details={
            "log_distance": 0.5 * float(np.log(max(halves.value, 1e-12))),
            "features": kept,
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
    root = _root(covariances[0])
    # Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric.
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    apart = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return float(max(0.0, apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared))


def principal(real: np.ndarray, synthetic: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Both sets (N, F), (M, F) in the first `count` principal components of the two together, and their variance share.

    Of the two together, because a synthetic set may differ along what hardly varies among real lesions.
    """
    reduction = PCA(count, svd_solver="full").fit(np.concatenate([real, synthetic]))
    share = float(reduction.explained_variance_ratio_.sum())
    return reduction.transform(real), reduction.transform(synthetic), share


def components_for(scores: list[np.ndarray], patients: np.ndarray, group: int) -> int:
    """How many features the smaller side can carry, at `LESIONS_A_FEATURE` each."""
    counts = np.sort(np.unique(patients, return_counts=True)[1])
    least = min(int(counts[:group].sum()), len(scores[1]))
    return min(scores[0].shape[1], max(LEAST_COMPONENTS, least // LESIONS_A_FEATURE))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _small(components: int, features: int) -> str:
    if components >= features:
        return f"{features} features."
    return (
        f"Too few lesions for {features} features (about {LESIONS_A_FEATURE} each are needed): "
        f"reduced to {components} principal components."
    )
