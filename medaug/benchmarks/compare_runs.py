"""Runs side by side: did a setting make the downstream network better?

Every arm that two runs share is compared by its main metric, paired by patient and seed as two arms of one run are:
the same seed means the same initial weights and the same order of real samples in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medaug.data.tables import read_csv
from medaug.errors import DataError
from medaug.evaluation.statistics import Comparison, compare, holm, lacking
from medaug.report.sections import interval_text, main_metric
from medaug.report.terminal import Table, table_text
from medaug.runs.finished import Finished, finished_run

WIDTH = 160
NOT_OF_AN_ARM = {"name", "evaluation.arms"}


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
            change = interval_text(vars(d.comparison.difference), signed=True)
            table.add_row(d.run, arm, f"{d.mean:.3f}", change, d.comparison.verdict)
        lines = [f"{run}: {', '.join(changed) or 'the same settings'}" for run, changed in self.settings.items()]
        first = self.differences[0].comparison
        counted = (
            f"{first.n_patients} patients, {first.n_seeds} seeds; verdicts after Holm's correction for "
            f"{first.n_comparisons} comparisons"
        )
        missing = lacking(first.n_patients, first.n_seeds, first.n_comparisons)
        return "\n".join([table_text(table, WIDTH), counted, *missing, *lines])


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
    runs = {str(folder): finished_run(folder) for folder in folders}
    if len(runs) < len(folders):
        raise DataError(f"found a run named twice among {', '.join(map(str, folders))}; expected different folders.")
    for name, found in runs.items():
        _check(name, found)
    reference, *others = runs
    pairs = [pair for other in others for pair in _pairs(runs, reference, other, arms)]
    if not pairs:
        of_all = "; ".join(f"{name}: {', '.join(_arms(found))}" for name, found in runs.items())
        raise DataError(f"found no arm that all runs have ({of_all}); expected {', '.join(arms) or 'one'} in each.")
    corrected = holm([comparison for *_, comparison in pairs])
    differences = [
        RunDifference(other, arm, test, mean, comparison)
        for (other, arm, test, mean, _), comparison in zip(pairs, corrected, strict=True)
    ]
    title = next(iter(_summaries(runs[reference]).values()))["metrics"][corrected[0].metric]["title"]
    settings = {other: _changed(runs[reference], runs[other]) for other in others}
    return RunComparison(reference, title, settings, differences)


def _check(name: str, found: Finished) -> None:
    if found.is_benchmark:
        raise DataError.about(
            name,
            "a benchmark",
            "the folder of a `medaug run`",
            "A benchmark compares its own arms: see its report.html.",
        )


def _pairs(
    runs: dict[str, Finished], reference: str, other: str, arms: Sequence[str]
) -> Iterator[tuple[str, str, str, float, Comparison]]:
    """(run, arm, test set, mean, comparison) of every arm and test set asked for."""
    shared = [arm for arm in _arms(runs[reference]) if all(arm in _arms(found) for found in runs.values())]
    if unknown := [arm for arm in arms if arm not in shared]:
        raise DataError(f"--arm: found {', '.join(unknown)}; all of these runs have {', '.join(shared) or 'none'}.")
    for test, summary in _summaries(runs[reference]).items():
        metric = main_metric(summary)
        for arm in arms or shared:
            new, old = (_scores(name, runs[name], test, arm, metric) for name in (other, reference))
            if new.keys() != old.keys():
                lone = sorted(new.keys() ^ old.keys())
                raise DataError.about(
                    other,
                    f"other patients or seeds than in {reference} ({len(lone)} of them, such as {lone[0]})",
                    "the same patients and seeds in both",
                    "Compare runs with the same split and evaluation.seeds.",
                )
            tables = [_table(scores) for scores in (new, old)]
            better, unit = (summary["metrics"][metric][key] for key in ("higher_is_better", "unit"))
            compared = compare(
                *tables,
                metric=metric,
                higher_is_better=better,
                unit=unit,
                rng=np.random.RandomState(0),
                arm=f"{other}, {arm}",
                reference=f"{reference}, {arm}",
            )
            yield other, arm, test, float(tables[0].mean()), compared


def _arms(found: Finished) -> list[str]:
    return list(next(iter(_summaries(found).values()))["arms"])


def _summaries(found: Finished) -> dict[str, dict[str, Any]]:
    return dict(found.summaries())


def _scores(name: str, found: Finished, test: str, arm: str, metric: str) -> dict[tuple[str, str], float]:
    """By patient and seed."""
    path = found.tables.get(f"scores-{test}.csv" if test else "scores.csv")
    if path is None:
        raise DataError.about(
            name,
            f"no scores of the test set {test}",
            "the test sets of the first run",
            "Compare runs of the same pipeline.",
        )
    rows = [row for row in read_csv(path) if row["arm"] == arm]
    if blank := [row for row in rows if not row.get(metric)]:
        raise DataError.about(
            path,
            f"no {metric} of patient {blank[0]['patient']} alone",
            f"a {metric} of every patient",
            "A metric over all patients together cannot be compared patient by patient.",
        )
    return {(row["patient"], row["seed"]): float(row[metric]) for row in rows}


def _table(scores: dict[tuple[str, str], float]) -> np.ndarray:
    """(patients, seeds)."""
    patients, seeds = (sorted({key[axis] for key in scores}) for axis in (0, 1))
    return np.array([[scores[patient, seed] for seed in seeds] for patient in patients])


def _changed(first: Finished, other: Finished) -> list[str]:
    """Settings that differ; which other arms there are changes none."""
    old, new = first.settings, other.settings
    return [
        f"{key}: {old.get(key)} → {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in NOT_OF_AN_ARM
    ]
