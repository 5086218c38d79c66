"""Questions to a folder that a run or a benchmark has finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.api.paths import AnyPath, path_of

if TYPE_CHECKING:
    from medaug.audits.measures import Finding
    from medaug.benchmarks.compare_runs import RunComparison
    from medaug.benchmarks.reproduce import Reproduction
    from medaug.stages.pipeline import StageResult


def report(folder: AnyPath) -> Path:
    """Draws the page of a run or a benchmark again; returns its path.

    Raises:
        RunError: if there is nothing to draw it from, naming what is missing.
    """
    from medaug.benchmarks.revisit import draw_page

    return draw_page(Path(folder))


def export_results(folder: AnyPath, out: AnyPath) -> Path:
    """Writes results for a paper's supplement into a new folder or zip; returns its path.

    Raises:
        RunError: if the run is unfinished, or `out` is there.
    """
    from medaug.benchmarks.supplement import export_results

    return export_results(Path(folder), Path(out))


def reproduce(
    folder: AnyPath, *, out: AnyPath | None = None, jobs: int = 1, on_stage: Callable[[StageResult], None] | None = None
) -> Reproduction:
    """Runs a finished run or benchmark again; returns what differs.

    Raises:
        MedaugError: if the run is unfinished, or the data have changed.
    """
    from medaug.benchmarks.revisit import reproduce

    return reproduce(Path(folder), path_of(out), jobs=jobs, on_stage=on_stage or (lambda _: None))


def compare_runs(reference: AnyPath, others: Sequence[AnyPath], *, arm: Sequence[str] | None = None) -> RunComparison:
    """Compares the arms of finished runs, scored on the same patients and seeds, with those of `reference`.

    Args:
        arm: only these; not given: all that every run has.

    Raises:
        MedaugError: if a run is unfinished, or they cannot be paired.
    """
    from medaug.benchmarks.compare_runs import compared_runs

    return compared_runs([Path(reference), *map(Path, others)], list(arm or []))


def audit(run: AnyPath, *, only: Sequence[str] | None = None, set_: Sequence[str] | None = None) -> list[Finding]:
    """Asks audits (all, or `only` these) of a finished run.

    Args:
        set_: `audit.key=value`.

    Raises:
        MedaugError: whatever is refused.
    """
    from medaug.benchmarks.revisit import audit_run

    return audit_run(Path(run), list(only or []), list(set_ or []))
