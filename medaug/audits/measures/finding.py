"""What an audit asks and finds: a question, one figure with its interval and its limits, and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

Verdict = Literal["pass", "warn", "fail", "skipped"]
Bounds = tuple[float | None, float | None]
"""Low and high end of a 95 % interval; None where there is none."""
RESAMPLES = 1000


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

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Finding:
        """The inverse of `dataclasses.asdict`; what is no field of a finding is left out."""
        return cls(**{part.name: row[part.name] for part in fields(cls)})


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
    names, numbers = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        return None, None
    members = [np.flatnonzero(numbers == k) for k in range(len(names))]
    rng = np.random.RandomState(seed)
    draws = [
        float(statistic(rows[np.concatenate([members[k] for k in rng.randint(len(names), size=len(names))])]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)
