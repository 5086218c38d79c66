"""Runs side by side: did a setting make the downstream network better?

Every arm that two runs share is compared by its main metric, paired by patient and seed as two arms of one run are:
the same seed means the same initial weights and the same order of real samples in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medaug.data.atomic import read_csv
from medaug.errors import DataError
from medaug.evaluation.statistics import Comparison, compare, holm, lacking
from medaug.experiment.records import Summary
from medaug.report.terminal import Table, table_text
from medaug.report.verdicts import interval_text
from medaug.runs.finished import finished_run

WIDTH = 160
NOT_OF_AN_ARM = {"name", "evaluation.arms"}
"""Settings that change no arm: which others there are."""


@dataclass(frozen=True)
class RunDifference:
    """One arm in two runs.

    Attributes:
        run, arm: which.
        test_set: of an evaluation with several ("source", "target"), else "".
        mean: of the run's scores in that arm.
        comparison: against the same arm of the first run, whose folder is its `reference`.
    """

    run: str
    arm: str
    test_set: str
    mean: float
    comparison: Comparison


@dataclass(frozen=True)
class RunComparison:
    """Several runs against the first.

    Attributes:
        metric: title of the metric that decides.
        settings: by run the settings that differ from the first's, as "key: first's → its own".
        differences: verdicts after Holm's correction over all of them.
    """

    reference: str
    metric: str
    settings: dict[str, list[str]]
    differences: list[RunDifference]

    def text(self) -> str:
        """For the terminal: a row an arm and run, then what differs between the runs."""
        table = Table("run", "arm", self.metric, f"difference to {self.reference}", "verdict")
        for d in self.differences:
            arm = f"{d.arm} ({d.test_set})" if d.test_set else d.arm
            change = interval_text(d.comparison.difference, signed=True)
            table.add_row(d.run, arm, f"{d.mean:.3f}", change, d.comparison.verdict)
        lines = [f"{run}: {', '.join(changed) or 'the same settings'}" for run, changed in self.settings.items()]
        first = self.differences[0].comparison
        counted = (
            f"{first.n_patients} patients, {first.n_seeds} seeds; verdicts after Holm's correction for "
            f"{first.n_comparisons} comparisons"
        )
        missing = lacking(first.n_patients, first.n_seeds, first.n_comparisons)
        return "\n".join([table_text(table, WIDTH), counted, *missing, *lines])


class _Run:
    """A finished run and its summaries by test set."""

    def __init__(self, folder: Path):
        self.name, self.files = str(folder), finished_run(folder)
        if self.files.is_benchmark:
            remedy = "A benchmark compares its own arms: see its report.html."
            raise DataError.about(self.name, "a benchmark", "the folder of a `medaug run`", remedy)
        self.summaries = {test: Summary.from_json(values) for test, values in self.files.summaries()}
        self.first = next(iter(self.summaries.values()))

    def scores(self, test: str, arm: str, metric: str) -> dict[tuple[str, str], float]:
        """The scores of an arm by patient and seed."""
        path = self.files.tables.get(f"scores-{test}.csv" if test else "scores.csv")
        if path is None:
            found, remedy = f"no scores of the test set {test}", "Compare runs of the same pipeline."
            raise DataError.about(self.name, found, "the test sets of the first run", remedy)
        rows = [row for row in read_csv(path) if row["arm"] == arm]
        if blank := [row for row in rows if not row.get(metric)]:
            raise DataError.about(
                path,
                f"no {metric} of patient {blank[0]['patient']} alone",
                f"a {metric} of every patient",
                "A metric over all patients together cannot be compared patient by patient.",
            )
        return {(row["patient"], row["seed"]): float(row[metric]) for row in rows}


def compared_runs(folders: Sequence[Path], arms: Sequence[str] = ()) -> RunComparison:
    """Compares finished runs with the first of them.

    Args:
        arms: only these; none: all that every run has.

    Raises:
        RunError: if a folder holds no finished run.
        DataError: if there are fewer than two runs, or they were not scored on the same patients and seeds.
    """
    if len(folders) < 2:
        raise DataError(f"found {len(folders)} run to compare; expected at least two: name the reference first.")
    if len({str(folder) for folder in folders}) < len(folders):
        raise DataError(f"found a run named twice among {', '.join(map(str, folders))}; expected different folders.")
    runs = [_Run(folder) for folder in folders]
    reference, *others = runs
    shared = [arm for arm in reference.first.arms if all(arm in run.first.arms for run in runs)]
    if unknown := [arm for arm in arms if arm not in shared]:
        raise DataError(f"--arm: found {', '.join(unknown)}; all of these runs have {', '.join(shared) or 'none'}.")
    found = [difference for other in others for difference in _differences(reference, other, arms or shared)]
    if not found:
        of_all = "; ".join(f"{run.name}: {', '.join(run.first.arms)}" for run in runs)
        raise DataError(f"found no arm that all runs have ({of_all}); expected {', '.join(arms) or 'one'} in each.")
    corrected = holm([difference.comparison for difference in found])
    differences = [replace(d, comparison=comparison) for d, comparison in zip(found, corrected, strict=True)]
    settings, old = {}, reference.files.settings
    for run in others:
        new = run.files.settings
        keys = sorted((old.keys() | new.keys()) - NOT_OF_AN_ARM)
        settings[run.name] = [f"{k}: {old.get(k)} → {new.get(k)}" for k in keys if old.get(k) != new.get(k)]
    return RunComparison(reference.name, reference.first.metrics[corrected[0].metric].title, settings, differences)


def _differences(reference: _Run, other: _Run, arms: Sequence[str]) -> Iterator[RunDifference]:
    """Every arm and test set, each compared alone."""
    for test, summary in reference.summaries.items():
        metric = summary.metrics[summary.main]
        for arm in arms:
            new, old = (run.scores(test, arm, summary.main) for run in (other, reference))
            if new.keys() != old.keys():
                lone = sorted(new.keys() ^ old.keys())
                raise DataError.about(
                    other.name,
                    f"other patients or seeds than in {reference.name} ({len(lone)} of them, such as {lone[0]})",
                    "the same patients and seeds in both",
                    "Compare runs with the same split and evaluation.seeds.",
                )
            patients, seeds = (sorted({key[axis] for key in new}) for axis in (0, 1))
            tables = [np.array([[scores[p, s] for s in seeds] for p in patients]) for scores in (new, old)]
            compared = compare(
                *tables,
                metric=summary.main,
                higher_is_better=metric.higher_is_better,
                unit=metric.unit or "",
                arm=f"{other.name}, {arm}",
                reference=f"{reference.name}, {arm}",
            )
            yield RunDifference(other.name, arm, test, float(tables[0].mean()), compared)
