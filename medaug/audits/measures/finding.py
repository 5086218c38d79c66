"""What an audit asks and finds: a question, one figure with its interval, floor and limits, and a verdict.

Intervals and floors are by patient, because lesions of one patient are alike. The floor of a distance is the same
distance between two groups of the real patients, drawn many times: what lesions of other patients of the same
population show too. Its 95 % quantile is what a synthetic set is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from medaug.audits.measures.lesions import LesionSet

Verdict = Literal["pass", "warn", "fail", "skipped"]
VERDICTS: tuple[Verdict, ...] = ("skipped", "pass", "warn", "fail")
"""The worst last."""
Bounds = tuple[float | None, float | None]
"""Low and high end of a 95 % interval; None where there is none."""
RESAMPLES = 1000
LEAST_PATIENTS = 4
LEAST_LESIONS = 8
DRAWS = 200
"""Halvings of the real patients, and resamples of an interval."""
FLOOR_QUANTILE = 0.95

Distance = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Limits:
    """Beyond `warn` is a warning, beyond `fail` a failure; a limit itself still passes."""

    warn: float
    fail: float

    def times(self, floor: float) -> Limits:
        """These limits as multiples of a floor."""
        return Limits(self.warn * floor, self.fail * floor)

    def above(self, floor: float) -> Limits:
        """These limits counted from a floor."""
        return Limits(self.warn + floor, self.fail + floor)


@dataclass(frozen=True)
class Finding:
    """The answer to one audit's question.

    Attributes:
        name: of the audit, as in `audits/<name>.png` and in the settings.
        question: what was asked, in plain words.
        value: the figure that is judged; None where the audit was skipped. `low`, `high`: its 95 % interval.
        unit: of the value, empty for a share or a ratio.
        warn, fail: the limits; beyond `warn` is a warning, beyond `fail` a failure.
        higher_is_worse: on which side of the limits trouble lies.
        floor: the same figure of real against real, where there is such a thing.
        n: how many of what, such as {"lesions": 120, "patients": 4}.
        sentence: the finding in plain words; for a skipped audit the reason.
        details: further figures, as JSON.
        each: the same figure of every sequence, part or pair of sequences, by name; empty where there is only one.
    """

    name: str
    question: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    warn: float | None = None
    fail: float | None = None
    higher_is_worse: bool = True
    floor: float | None = None
    n: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    each: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Finding:
        """The inverse of `dataclasses.asdict`; what is no field of a finding is left out."""
        return cls(**{part.name: row[part.name] for part in fields(cls) if part.name in row})


@dataclass(frozen=True)
class Question:
    """What one audit asks; `name` is that of its limits and of its picture."""

    name: str
    text: str

    def skipped(self, reason: str) -> Finding:
        """An audit that could not be done, and why; never a pass."""
        return Finding(self.name, self.text, "skipped", reason)

    def judged(
        self,
        sentence: str,
        value: float,
        limits: Limits,
        interval: Bounds = (None, None),
        *,
        higher_is_worse: bool = True,
        **further: Any,
    ) -> Finding:
        """A finding whose verdict follows from its value and limits; `further` are other fields of a `Finding`."""
        sign = 1 if higher_is_worse else -1
        warned, failed = (sign * value > sign * limit for limit in (limits.warn, limits.fail))
        return Finding(
            self.name,
            self.text,
            "fail" if failed else "warn" if warned else "pass",
            sentence,
            value,
            *interval,
            warn=limits.warn,
            fail=limits.fail,
            higher_is_worse=higher_is_worse,
            **further,
        )


def each_of(names: Sequence[str], values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """The figures by name, as `Finding.each` has them: none of one sequence alone, whose figure is the finding's."""
    return dict(zip(names, map(float, values), strict=True)) if len(names) > 1 else {}


def worst_of(names: Sequence[str], found: Sequence[Finding]) -> tuple[Finding, int]:
    """Of one audit asked of every sequence alone, the worst answer, which says whose it is; and the sequence's number.

    The worst is nearest to failing, each by its own limits; what was skipped counts where all were.
    """

    def badness(number: int) -> tuple[int, float]:
        finding = found[number]
        if finding.value is None or finding.fail is None:
            return 0, 0.0
        share = finding.value / finding.fail if finding.fail else finding.value
        return VERDICTS.index(finding.verdict), share if finding.higher_is_worse else -share

    worst = max(range(len(found)), key=badness)
    finding = found[worst]
    if len(names) == 1 or finding.value is None:
        return finding, worst
    named = list(zip(names, found, strict=True))
    judged = {name: other.value for name, other in named if other.value is not None}
    floors = {name: other.floor for name, other in named if other.floor is not None}
    skipped = [f" {name}: {other.sentence}." for name, other in named if other.value is None]
    sentence = f"{names[worst]}: {finding.sentence}" + "".join(skipped)
    details = finding.details | ({"floors_by_sequence": floors} if floors else {})
    return replace(finding, sentence=sentence, each=judged, details=details), worst


def over_patients(
    values: Sequence[float] | np.ndarray,
    patients: Sequence[str] | np.ndarray,
    *,
    seed: int,
    statistic: Callable[[np.ndarray], float] = np.mean,
) -> Bounds:
    """The 95 % percentile interval of a statistic of cases; (None, None) with fewer than two patients.

    Patients are what was drawn at random, so patients are resampled, each with all of its cases.

    Args:
        values: (cases,) or (cases, columns); `statistic` is given the cases of a resample.
        patients: the patient of each case.
    """
    rows = np.asarray(values, dtype=np.float64)
    members, rng = _members(patients), np.random.RandomState(seed)
    if len(members) < 2:
        return None, None
    draws = [float(statistic(rows[_resampled(members, rng)])) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Halves:
    """Distances from one group of real patients: to equally many lesions of the rest, and of the synthetic set.

    Attributes:
        floors, values: (DRAWS,) real against real, and real against synthetic lesions.
        lesions: in the smaller group, as many in every draw.
    """

    floors: np.ndarray
    values: np.ndarray
    lesions: int

    @property
    def floor(self) -> float:
        return float(np.quantile(self.floors, FLOOR_QUANTILE))

    def listed(self) -> list[float]:
        """The floors, as a finding's details keep them for its picture."""
        return [float(f"{floor:.4g}") for floor in self.floors]


def too_few(real: LesionSet, synthetic: LesionSet) -> str | None:
    """Why these sets are too small to compare; None if they are not."""
    patients = len(np.unique(real.patients))
    if patients < LEAST_PATIENTS:
        return f"real lesions of {patients} held-out patients; {LEAST_PATIENTS} are needed to compare real with real"
    for name, lesions in (("real", real), ("synthetic", synthetic)):
        if len(lesions) < LEAST_LESIONS:
            return f"{len(lesions)} {name} lesions; at least {LEAST_LESIONS} are needed"
    return None


def group_size(real: LesionSet, synthetic: LesionSet) -> int:
    """Patients in the smaller group: half of them, or as few as the synthetic lesions were made from."""
    sources = {source for source in synthetic.sources if source is not None}
    half = len(np.unique(real.patients)) // 2
    return max(2, min(half, len(sources))) if sources else half


def halvings(patients: np.ndarray, group: int, rng: np.random.RandomState) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of all other patients, rows of `group` random patients), `DRAWS` times."""
    names, numbers = np.unique(patients, return_inverse=True)
    for _ in range(DRAWS):
        drawn = np.isin(numbers, rng.permutation(len(names))[:group])
        yield np.flatnonzero(~drawn), np.flatnonzero(drawn)


def against_halves(
    distance: Distance,
    real: np.ndarray,
    synthetic: np.ndarray,
    patients: np.ndarray,
    group: int,
    rng: np.random.RandomState,
) -> Halves:
    """Both distances between sets of equal sizes, so that what small sets add to a distance is in both.

    Args:
        distance: of two sets of rows.
        real, synthetic: (N, ...), (M, ...), one row a lesion.
        patients: (N,) of the real lesions.
        group: patients in the smaller group.
    """
    pairs = list(halvings(patients, group, rng))
    least = min(len(synthetic), *(len(drawn) for _, drawn in pairs))
    floors, values = [], []
    for rest, drawn in pairs:
        floors.append(distance(real[rest], real[rng.permutation(drawn)[:least]]))
        values.append(distance(real[rest], synthetic[rng.permutation(len(synthetic))[:least]]))
    return Halves(np.array(floors), np.array(values), least)


def bootstrap_interval(
    distance: Distance,
    real: tuple[np.ndarray, np.ndarray],
    synthetic: tuple[np.ndarray, np.ndarray],
    rng: np.random.RandomState,
) -> tuple[float, float]:
    """95 % interval of the distance of two sets of (rows, patients); patients of both are drawn with replacement.

    A resample repeats lesions, which adds to a distance that is never negative. The basic bootstrap interval
    (2 × estimate − quantiles; Davison and Hinkley 1997, section 5.2) takes that off again; it is cut off at 0.
    """
    estimate = distance(real[0], synthetic[0])
    both = [(rows, _members(patients)) for rows, patients in (real, synthetic)]
    draws = [distance(*(rows[_resampled(members, rng)] for rows, members in both)) for _ in range(DRAWS)]
    low, high = 2 * estimate - np.quantile(draws, [0.975, 0.025])
    return max(0.0, float(low)), max(0.0, float(high))


def _members(patients: Sequence[str] | np.ndarray) -> list[np.ndarray]:
    """The rows of each patient."""
    names, numbers = np.unique(np.asarray(patients), return_inverse=True)
    return [np.flatnonzero(numbers == number) for number in range(len(names))]


def _resampled(members: list[np.ndarray], rng: np.random.RandomState) -> np.ndarray:
    """Rows of patients drawn with replacement, each with all of its lesions."""
    return np.concatenate([members[number] for number in rng.randint(len(members), size=len(members))])
