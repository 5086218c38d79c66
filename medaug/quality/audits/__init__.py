"""Audits: each asks one thing that can be wrong with synthetic images, and answers pass, warn or fail with a figure.

An audit is a function of arrays and callables that returns a `Finding`; it knows nothing of runs and files.
"""

from medaug.quality.audits.finding import Finding, Verdict, judged, skipped

__all__ = ["Finding", "Verdict", "judged", "skipped"]
