"""Can a classifier tell real lesions from synthetic ones? An AUC of 0.5 means no, 1.0 means always.

A high AUC warns of the shortcut "synthetic look = tumor" (2407.21674): a network could learn the generator's
fingerprint in place of the disease. Folds are by patient, so knowing a scanner or an anatomy gains nothing; of a linear
classifier and a forest the better one counts. Of several sequences a probe sees all features together, and one each
those of a sequence alone; the best counts. A low AUC says that these features (`features.lesion_features`) do not tell
them apart, not that nothing could. It is asked of inserted lesions against the same patients' real ones, and of crops
that the generator passed over with nothing inserted against the same crops untouched: its fingerprint alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from medaug.audits.measures.features import FEATURE_NAMES, feature_table
from medaug.audits.measures.finding import Finding, Limits, Question, each_of
from medaug.audits.measures.lesions import Insertion, LesionView
from medaug.errors import DataError

NULL_SHORTCUT = Question("null_shortcut", "Does the generator leave a fingerprint where it inserts nothing?")
SHORTCUT = Question("shortcut", "Can inserted lesions be told from real ones?")
TOGETHER = "all together"
"""The name of the probe that sees every sequence."""
MIN_PATIENTS = 4
FOLDS, REPEATS = 5, 2
CLASSIFIERS = ("logistic regression", "random forest")
RESAMPLES = 1000


def null_shortcut(
    nulls: Sequence[Insertion], size: Sequence[int], limits: Limits, names: Sequence[str], *, seed: int
) -> Finding:
    """AUC of null insertions against the same crops untouched.

    Args:
        nulls: `image` is what the generator made of `before` with nothing inserted.
        size: of the crops, in voxels.
        names: of the sequences.
    """
    return told_from_untouched(
        NULL_SHORTCUT, "null insertions from untouched crops", nulls, size, limits, names, seed=seed
    )


def told_from_untouched(
    question: Question,
    what: str,
    made: Sequence[Insertion],
    size: Sequence[int],
    limits: Limits,
    names: Sequence[str],
    *,
    seed: int,
) -> Finding:
    """AUC of edited crops against the same crops as they were; `what` is told, arguments as of `null_shortcut`."""
    edited = [i.crop(size) for i in made]
    untouched = [(i.crop_before(size), mask) for i, (_, mask) in zip(made, edited, strict=True)]
    return _told_apart(question, what, untouched, edited, [i.patient for i in made], limits, names, seed)


def shortcut(
    real: Sequence[LesionView],
    inserted: Sequence[Insertion],
    size: Sequence[int],
    limits: Limits,
    names: Sequence[str],
    *,
    seed: int,
) -> Finding:
    """AUC of inserted lesions against real ones, one of each a view."""
    own, made = ([lesion.crop(size) for lesion in lesions] for lesions in (real, inserted))
    patients = [view.patient for view in real]
    return _told_apart(SHORTCUT, "inserted from real lesions", own, made, patients, limits, names, seed)


def _told_apart(
    question: Question,
    what: str,
    first: Sequence[tuple[np.ndarray, np.ndarray]],
    second: Sequence[tuple[np.ndarray, np.ndarray]],
    patients: list[str],
    limits: Limits,
    names: Sequence[str],
    seed: int,
) -> Finding:
    """Judges pairs of crops, one of each kind from every view; the floor is chance at the same size."""
    if (count := len(set(patients))) < MIN_PATIENTS:
        return question.skipped(
            f"{count} held-out patients with a lesion of a size that is inserted; the probe needs {MIN_PATIENTS}"
        )
    a, b = (feature_table(crops) for crops in (first, second))
    results = probes_of(a, b, patients, names, seed=seed)
    best, found = max(results.items(), key=lambda result: result[1].auc)
    swap = np.random.RandomState(seed).random_sample(len(a))[:, None, None] < 0.5  # each pair's sides, drawn by lot
    drawn = np.where(swap, b, a), np.where(swap, a, b)
    chance = _probe(*drawn, patients, names, _channels_of(names)[best], seed=seed)
    of = "" if len(results) == 1 else " of all sequences together" if best == TOGETHER else f" of {best} alone"
    sentence = (
        f"A probe{of} tells {what} with an AUC of {found.auc:.2f} ({found.low:.2f} to "
        f"{found.high:.2f}); by chance it reaches {chance.auc:.2f} here. It looks most at "
        f"{', '.join(found.top_features[:3])}."
    )
    n = {"pairs": len(a), "patients": found.n_patients}
    details = {"top_features": list(found.top_features), "classifier": found.classifier}
    each = each_of(list(results), [result.auc for result in results.values()])
    interval = (found.low, found.high)
    return question.judged(sentence, found.auc, limits, interval, floor=chance.auc, n=n, details=details, each=each)


def probes_of(
    real: np.ndarray, synthetic: np.ndarray, patients: Sequence[str], names: Sequence[str], *, seed: int
) -> dict[str, ProbeResult]:
    """A probe of all sequences together, and where there are several one of each alone.

    Args:
        real, synthetic: (N, C, F) features, a lesion of either kind from every view.
        patients: of the views.
        names: of the sequences.
    """
    return {
        name: _probe(real, synthetic, patients, names, channels, seed=seed)
        for name, channels in _channels_of(names).items()
    }


def _channels_of(names: Sequence[str]) -> dict[str, list[int]]:
    """The channels that each probe sees, by its name."""
    alone = {name: [channel] for channel, name in enumerate(names)} if len(names) > 1 else {}
    return {TOGETHER: list(range(len(names)))} | alone


def _probe(
    real: np.ndarray,
    synthetic: np.ndarray,
    patients: Sequence[str],
    names: Sequence[str],
    channels: list[int],
    *,
    seed: int,
) -> ProbeResult:
    seen = [f"{names[channel]} {feature}" for channel in channels for feature in FEATURE_NAMES]
    first, second = (table[:, channels].reshape(len(table), -1) for table in (real, synthetic))
    features = seen if len(channels) > 1 else FEATURE_NAMES
    return probe_auc(first, patients, second, patients, seed=seed, feature_names=features)


@dataclass(frozen=True)
class ProbeResult:
    """How well real and synthetic lesions are told apart.

    Attributes:
        auc: of the better classifier, on patients it was not trained on; slightly above 0.5 by chance, being the
            larger of two.
        low, high: 95 % interval, bootstrap over patients with the trained classifiers held fixed. Where real and
            synthetic lesions come from different patients, chance differences between few patients can look like
            a fingerprint: prefer both kinds from each patient.
        top_features: the features it relies on most, the first the most.
    """

    auc: float
    low: float
    high: float
    n_real: int
    n_synthetic: int
    n_patients: int
    top_features: tuple[str, ...]
    classifier: str


def probe_auc(
    features_real: np.ndarray,
    groups_real: Sequence[str],
    features_synthetic: np.ndarray,
    groups_synthetic: Sequence[str],
    *,
    seed: int,
    feature_names: Sequence[str] | None = None,
) -> ProbeResult:
    """Cross-validates two classifiers by patient.

    Only crops tested in the same fold are compared with one another, because scores of different folds come from
    different models and are not on one scale.

    Args:
        features_real, features_synthetic: (N, F) and (M, F).
        groups_real, groups_synthetic: the patient of each row; for a synthetic lesion, the patient it was put into.
        seed: of the folds, the forest and the bootstrap.
        feature_names: F names; by default `FEATURE_NAMES` where F fits.

    Raises:
        DataError: if there are fewer than four patients, or fewer than two on either side, or the arrays do not fit
            each other or are not finite.
    """
    features, synthetic, patients = _checked(features_real, groups_real, features_synthetic, groups_synthetic)
    width = features.shape[1]
    if feature_names is None:
        feature_names = FEATURE_NAMES if width == len(FEATURE_NAMES) else [f"feature {i}" for i in range(width)]
    elif len(feature_names) != width:
        raise DataError(f"feature_names: found {len(feature_names)}; expected {width}, one per column.")
    rng = np.random.RandomState(seed)
    numbers = np.unique(patients, return_inverse=True)[1]  # patient of each row, 0 … P - 1
    n_folds = min(FOLDS, *(len(np.unique(numbers[synthetic == side])) for side in (False, True)))
    seeds = [int(s) for s in rng.randint(2**31 - 1, size=REPEATS)]
    results = {name: _cross_validated(name, features, synthetic, numbers, n_folds, seeds) for name in CLASSIFIERS}
    best = max(results, key=lambda name: _auc(*results[name][:2]))
    won, pairs, importance = results[best]
    weights = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), RESAMPLES)  # (R, P)
    low, high = np.nanquantile([_auc(won, pairs, w) for w in weights], [0.025, 0.975])
    top = tuple(feature_names[i] for i in np.argsort(-importance, kind="stable")[:5])
    counts = int((~synthetic).sum()), int(synthetic.sum()), len(pairs)
    return ProbeResult(_auc(won, pairs), float(low), float(high), *counts, top, best)


def _cross_validated(
    name: str, features: np.ndarray, synthetic: np.ndarray, patients: np.ndarray, n_folds: int, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, by patient, the comparisons of a synthetic with a real crop that were tested in the same fold.

    Returns:
        (P, P) comparisons that the classifier got right, [patient of the real crop, patient of the synthetic one];
        (P, P) comparisons made; (F,) mean importance of the features.
    """
    n_patients = int(patients.max()) + 1
    won, pairs, importance = np.zeros((n_patients,) * 2), np.zeros((n_patients,) * 2), np.zeros(features.shape[1])
    for seed in seeds:
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        for train, test in folds.split(features, synthetic, patients):
            if len(np.unique(synthetic[train])) < 2:
                continue
            if name == CLASSIFIERS[0]:
                linear = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000, random_state=seed)
                model = make_pipeline(StandardScaler(), linear)
            else:
                model = RandomForestClassifier(
                    60, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1
                )
            model.fit(features[train], synthetic[train])
            score = model.predict_proba(features[test])[:, 1]
            real, fake = ~synthetic[test], synthetic[test]
            difference = score[fake][None] - score[real][:, None]  # (n_real, n_synthetic)
            rows, columns = np.broadcast_arrays(*np.ix_(patients[test][real], patients[test][fake]))
            np.add.at(won, (rows, columns), (difference > 0) + 0.5 * (difference == 0))
            np.add.at(pairs, (rows, columns), 1.0)
            raw = np.abs(model[-1].coef_[0]) if isinstance(model, Pipeline) else model.feature_importances_
            importance += raw / max(raw.sum(), 1e-12)
    if not pairs.any():
        raise DataError(
            "probe: no fold holds both a real and a synthetic lesion to compare; expected both kinds in several "
            "patients. Add patients."
        )
    return won, pairs, importance


def _auc(won: np.ndarray, pairs: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of the comparisons won, each patient counted `weights` times; NaN where a resample holds no comparison."""
    weights = np.ones(len(pairs)) if weights is None else weights
    made = weights @ pairs @ weights
    return float(weights @ won @ weights / made) if made > 0 else float("nan")


def _checked(
    real: np.ndarray, groups_real: Sequence[str], synthetic: np.ndarray, groups_synthetic: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N + M, F), which rows are synthetic, and the patient of each row."""
    for name, features, groups in (("real", real, groups_real), ("synthetic", synthetic, groups_synthetic)):
        if np.ndim(features) != 2 or len(features) != len(groups):
            raise DataError(
                f"{name} lesions: found features of shape {np.shape(features)} and {len(groups)} patients; "
                "expected (lesions, features) and one patient per lesion."
            )
        if not np.isfinite(features).all():
            raise DataError(f"{name} lesions: found features that are NaN or infinite; expected finite ones.")
        if len(set(groups)) < 2:
            raise DataError(
                f"{name} lesions: found {len(set(groups))} patients; expected at least 2, to test on other patients "
                "than the classifier was trained on. Add patients."
            )
    if np.shape(real)[1] != np.shape(synthetic)[1]:
        raise DataError(
            f"found {np.shape(real)[1]} real and {np.shape(synthetic)[1]} synthetic features; expected equal."
        )
    patients = np.array([str(g) for g in (*groups_real, *groups_synthetic)])
    if len(np.unique(patients)) < MIN_PATIENTS:
        raise DataError(
            f"probe: found {len(np.unique(patients))} patients; expected at least {MIN_PATIENTS}, because folds are by "
            "patient. Add patients, or leave the probe out."
        )
    kinds = np.repeat([False, True], [len(real), len(synthetic)])
    return np.concatenate([real, synthetic]).astype(np.float64), kinds, patients
