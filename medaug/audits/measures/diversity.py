"""Do synthetic lesions differ from one another as real ones do, over the set and in one place?

The mean distance between two lesions' features (z-scored by the real set), relative to that between real lesions. A
generator that has collapsed paints one lesion everywhere: its ratio is near 0. The tissue around a lesion and the
brightness it was matched to do not count, because they differ by patient even then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist

from medaug.audits.measures.cases import Limits
from medaug.audits.measures.finding import Finding, judged, skipped
from medaug.audits.measures.intervals import over_patients
from medaug.audits.measures.lesions import Lesions, standardised
from medaug.audits.measures.resampling import group_size, halvings, too_few

NAME, NAME_ONE_PLACE = "diversity", "diversity_in_one_place"
QUESTION = "Do synthetic lesions differ from one another as much as real ones do?"
QUESTION_ONE_PLACE = "Does another seed or style give another lesion in the same place?"
FLOOR_QUANTILE = 0.05


def diversity_audit(real: Lesions, synthetic: Lesions, limits: Limits, *, seed: int) -> Finding:
    """Judges the diversity of the set by that of groups of real patients; `limits` are multiples of that floor."""
    if (reason := too_few(real, synthetic)) is not None:
        return skipped(NAME, QUESTION, reason)
    ours, theirs = (standardised(lesions.features, real.features) for lesions in (real, synthetic))
    whole, group = mean_distance(ours), group_size(real, synthetic)
    rng = np.random.RandomState(seed)
    drawn = [mean_distance(ours[rows]) / whole for _, rows in halvings(real.patients, group, rng)]
    floor, value = float(np.quantile(drawn, FLOOR_QUANTILE)), mean_distance(theirs) / whole
    low, high = over_patients(theirs, synthetic.origins, seed=seed, statistic=lambda rows: _distinct(rows) / whole)
    sentence = (
        f"Two synthetic lesions differ {value:.2f} times as much as two real ones; lesions of {group} random real "
        f"patients at least {floor:.2f} times (95 % of the draws)."
    )
    return judged(
        NAME,
        QUESTION,
        sentence,
        value=value,
        low=low,
        high=high,
        warn=limits.warn * floor,
        fail=limits.fail * floor,
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


def one_place_audit(real: Lesions, places: Sequence[Lesions], limits: Limits, *, seed: int) -> Finding:
    """Judges how much lesions of one place differ, as a share of the mean distance between real lesions.

    Args:
        places: several lesions each, made with other seeds or styles.
    """
    if len(places) < 2 or min(len(place) for place in places) < 2:
        reason = f"{len(places)} places to fill anew; at least 2 with 2 lesions each are needed"
        return skipped(NAME_ONE_PLACE, QUESTION_ONE_PLACE, reason)
    whole = mean_distance(standardised(real.features, real.features))
    ratios = [mean_distance(standardised(place.features, real.features)) / whole for place in places]
    value = float(np.mean(ratios))
    low, high = over_patients(ratios, [place.patients[0] for place in places], seed=seed)
    sentence = (
        f"With other seeds or styles, lesions in one place differ {value:.2f} times as much as two real lesions do "
        f"({len(places)} places, {len(places[0])} lesions each)."
    )
    return judged(
        NAME_ONE_PLACE,
        QUESTION_ONE_PLACE,
        sentence,
        value=value,
        low=low,
        high=high,
        warn=limits.warn,
        fail=limits.fail,
        higher_is_worse=False,
        n={"places": len(places), "lesions a place": len(places[0])} | real.counts("real"),
    )


def mean_distance(rows: np.ndarray) -> float:
    """Mean Euclidean distance between two different rows of (N, F), over √F; 0 for a single row."""
    return float(pairwise(rows).mean()) if len(rows) > 1 else 0.0


def pairwise(rows: np.ndarray) -> np.ndarray:
    """(N (N - 1) / 2,) Euclidean distances between the rows of (N, F), over √F."""
    return pdist(rows) / np.sqrt(rows.shape[1])


def _distinct(rows: np.ndarray) -> float:
    """`mean_distance` without the repeats of a resample, which are no pair."""
    return mean_distance(np.unique(rows, axis=0))
