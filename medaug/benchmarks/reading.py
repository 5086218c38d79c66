"""What a benchmark folder holds, read back: the results by setting, the scores of every cell, and the cells' files.

A group of results is one setting: a number of labelled patients and a synthetic part (ratio). Its arms, comparisons and
rivals are as in `downstream.summary`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medaug.data.atomic import read_json
from medaug.data.tables import read_csv
from medaug.errors import RunError
from medaug.runs.folder import RunDir

Group = dict[str, Any]
ALL = "all"
"""The name of the block with every labelled patient there is."""


@dataclass(frozen=True)
class Results:
    """`results/summary.json` and `results/cells.csv`.

    Attributes:
        rows: of the table, a dict a scored patient of a cell; numbers as text.
    """

    task: str
    metrics: dict[str, dict[str, Any]]
    groups: list[Group]
    rows: list[dict[str, str]]

    @property
    def main(self) -> str:
        """The metric that decides."""
        return next(iter(self.metrics))

    @cached_property
    def gan_arms(self) -> frozenset[str]:
        """Arms with synthetic samples: those whose cells have a ratio."""
        return frozenset(row["arm"] for row in self.rows if row["ratio"])

    @property
    def labelled(self) -> list[int]:
        return sorted({group["labelled"] for group in self.groups})

    @property
    def ratios(self) -> list[float]:
        return sorted({group["ratio"] for group in self.groups})

    def group(self, labelled: int, ratio: float) -> Group:
        return next(g for g in self.groups if (g["labelled"], g["ratio"]) == (labelled, ratio))

    def headline(self, ratio: float) -> Group:
        """The setting that the page's answer is of, fixed before anything is measured.

        All labelled patients, and the synthetic part of a single run, if that is among those tried (else the least).
        """
        return self.group(self.labelled[-1], ratio if ratio in self.ratios else self.ratios[0])

    def scores(self, group: Group, arm: str) -> dict[int, dict[str, dict[str, float | None]]]:
        """By seed, patient and metric; None where a metric is not defined for a patient alone."""
        found: dict[int, dict[str, dict[str, float | None]]] = {}
        for row in self._by_cell.get((group["labelled"], arm), []):
            if not row["ratio"] or float(row["ratio"]) == group["ratio"]:
                values = {metric: float(row[metric]) if row[metric] else None for metric in self.metrics}
                found.setdefault(int(row["seed"]), {})[row["patient"]] = values
        return found

    def table(self, group: Group, arm: str) -> np.ndarray:
        """(patients, seeds) of the main metric; NaN where a patient has none alone."""
        scores = self.scores(group, arm)
        return np.array(
            [[_number(scores[seed][patient][self.main]) for seed in group["seeds"]] for patient in group["patients"]]
        )

    @cached_property
    def _by_cell(self) -> dict[tuple[int, str], list[dict[str, str]]]:
        """By labelled patients and arm. A group of folds is named by its least: all of one may be one more."""
        found: dict[tuple[int, str], list[dict[str, str]]] = {}
        for row in self.rows:
            labelled = max((n for n in self.labelled if n <= int(row["labelled"])), default=int(row["labelled"]))
            found.setdefault((labelled, row["arm"]), []).append(row)
        return found


class CellFile(NamedTuple):
    """A trained cell that the results are of."""

    path: Path
    labelled: int
    fold: str
    arm: str
    seed: int
    ratio: float | None
    seconds: float | None
    patients: int
    score: float


def read_results(run: RunDir) -> Results:
    """The results of a finished benchmark.

    Raises:
        RunError: naming what is missing.
    """
    summary, table = run.results / "summary.json", run.results / "cells.csv"
    missing = [str(path.relative_to(run.root)) for path in (summary, table) if not path.exists()]
    if missing:
        raise RunError(
            f"{run.root}: an unfinished benchmark: found no {' and no '.join(missing)}. Run the same `medaug "
            "benchmark` command again to finish it."
        )
    values = read_json(summary)
    return Results(values["task"], values["metrics"], values["groups"], read_csv(table))


def cell_files(run: RunDir, results: Results) -> list[CellFile]:
    """The cells that the results are of, in the order of the settings; others lie there from earlier settings."""
    wanted = {(g["labelled"], arm, seed) for g in results.groups for arm in g["arms"] for seed in g["seeds"]}
    found = []
    for folder, name, fold in blocks(run):
        labelled = results.labelled[-1] if name == ALL else int(name)
        for path in sorted((folder / "evaluation" / "cells").glob("[!.]*.json")):
            cell = read_json(path)
            ratio = cell.get("ratio")
            if (labelled, cell["arm"], cell["seed"]) in wanted and ratio in (None, *results.ratios):
                scores = [s[results.main] for s in cell["scores"].values() if s[results.main] is not None]
                found.append(
                    CellFile(
                        path,
                        labelled,
                        fold,
                        cell["arm"],
                        cell["seed"],
                        ratio,
                        cell.get("seconds"),
                        len(cell["scores"]),
                        float(np.mean(scores)) if scores else float("nan"),
                    )
                )
    return found


def blocks(run: RunDir) -> Iterator[tuple[Path, str, str]]:
    """(folder, labelled patients or "all", fold or "") of every block: a run folder with a translator of its own."""
    for parent in sorted(run.root.glob("labelled-*"), key=lambda path: (len(path.name), path.name)):
        folds = sorted(parent.glob("fold-*"))
        for folder in folds or [parent]:
            yield folder, parent.name.removeprefix("labelled-"), folder.name if folds else ""


def best_of(group: Group, arms: Sequence[str], metric: str) -> str | None:
    """The arm with the best mean; None of none."""
    sign = 1 if group["metrics"][metric]["higher_is_better"] else -1
    return max(arms, key=lambda arm: sign * group["arms"][arm][metric]["mean"], default=None)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
