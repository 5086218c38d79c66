"""What an audit found: one figure, its limits, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "warn", "fail", "skipped"]


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


def judged(
    name: str,
    question: str,
    sentence: str,
    *,
    value: float,
    warn: float,
    fail: float,
    higher_is_worse: bool = True,
    **further: Any,
) -> Finding:
    """A finding whose verdict follows from its value and limits; a limit itself still passes."""
    sign = 1 if higher_is_worse else -1
    beyond = [sign * value > sign * limit for limit in (warn, fail)]
    verdict: Verdict = "fail" if beyond[1] else "warn" if beyond[0] else "pass"
    return Finding(
        name, question, verdict, sentence, value=value, warn=warn, fail=fail, higher_is_worse=higher_is_worse, **further
    )


def skipped(name: str, question: str, reason: str) -> Finding:
    """An audit that could not be done, and why; never a pass."""
    return Finding(name, question, "skipped", reason)
