"""Audits: each asks one thing that can be wrong with synthetic images, and answers pass, warn or fail with a figure.

An audit is a function of arrays and callables that returns a `Finding`; it knows nothing of runs and files.
"""

from medaug.quality.audits.cases import Insertion, LesionView, Limits, Segment
from medaug.quality.audits.finding import Finding, Verdict, judged, skipped
from medaug.quality.audits.intervals import over_patients

__all__ = [
    "Finding", "Insertion", "LesionView", "Limits", "Segment", "Verdict", "judged", "over_patients", "skipped",
]  # fmt: skip
