"""Runs a finished run again, and says what differs: environment, settings, split, weights, scores and verdicts.

On one machine with the same versions nothing does: the tables are identical, digit by digit. `check_same_data` is asked
as soon as the scans are read, before an hour is spent on training with others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from medaug.benchmarks.plan import blocks_of
from medaug.benchmarks.work import prepare_block, run_benchmark
from medaug.data.atomic import read_csv, read_json, write_json
from medaug.errors import ConfigError, DataError
from medaug.experiment.cells import read_cell
from medaug.experiment.records import Summary
from medaug.report.terminal import Table, table_text
from medaug.runs.finished import Finished, finished_run
from medaug.runs.folder import RunDir, open_run
from medaug.stages.pipeline import StageResult, run_pipeline

NAMED = 5
"""How many things that differ in a list are named."""
RESULTS = ("scores", "verdict")
"""Kinds of difference that mean: not reproduced. The others explain why."""
Kind = Literal["environment", "settings", "split", "weights", "scores", "verdict"]
Rows = dict[tuple[str, ...], dict[str, float | None]]
"""What names a row → its metrics."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs, with its value then and now as text."""

    kind: Kind
    where: str
    before: str
    again: str


@dataclass(frozen=True)
class Reproduction:
    """A run beside its repetition.

    Attributes:
        scores: how many were compared, in the tables and in the cells.
    """

    before: str
    again: str
    scores: int
    verdicts: int
    differences: list[Difference]

    @property
    def identical(self) -> bool:
        """Whether all scores and verdicts are; what they were made with may still differ."""
        return not any(difference.kind in RESULTS for difference in self.differences)

    def text(self) -> str:
        """For the terminal: a table of what differs, and the answer."""
        answer = "identical" if self.identical else "NOT identical"
        counted = f"{answer}: {self.scores} scores and {self.verdicts} verdicts compared"
        if not self.differences:
            return counted
        table = Table("what", "where", "before", "again")
        for d in self.differences:
            table.add_row(d.kind, d.where, d.before, d.again)
        return f"{table_text(table)}\n{counted}"


def reproduce(
    folder: Path, out: Path | None, *, jobs: int = 1, on_stage: Callable[[StageResult], object] = lambda result: None
) -> Reproduction:
    """Runs a finished run again in another folder (by default `<folder>-again`) and compares the two.

    Args:
        jobs: of a benchmark, the processes that work on it.

    Raises:
        RunError: if the run is unfinished, or the other folder holds something else.
        DataError: if the data have changed since; nothing is trained then.
    """
    before, again = finished_run(folder), RunDir(out or folder.with_name(f"{folder.name}-again"))
    if again.root.resolve() == folder.resolve():
        raise ConfigError(f"--out: found {again.root}, the run itself; expected another folder")

    def check(result: StageResult) -> None:
        for name in before.splits:
            check_same_data(RunDir(folder / name), RunDir(again.root / name))
        on_stage(result)

    if before.is_benchmark:
        first = blocks_of(before.config, open_run(again.root, before.config))[0]
        check(StageResult("prepare", prepare_block(first, again)))
        run_benchmark(before.config, again.root, jobs=jobs)
    else:
        run_pipeline(before.config, again.root, on_stage=check)
    return compared(before, finished_run(again.root))


def check_same_data(before: RunDir, again: RunDir) -> None:
    """Refuses scans or labels that have changed since, by the fingerprints of what was prepared of them.

    Raises:
        DataError: naming the cases.
    """
    for old, new in ((before.datalist, again.datalist), (before.datalist_b, again.datalist_b)):
        if not (old.exists() and new.exists()):
            continue
        held, found = (
            {e["case"]: [e["patient"], e["content"]] for e in read_json(path)["cases"]} for path in (old, new)
        )
        changed = {
            "missing": sorted(held.keys() - found.keys()),
            "new": sorted(found.keys() - held.keys()),
            "changed": sorted(case for case in held.keys() & found.keys() if held[case] != found[case]),
        }
        if any(changed.values()):
            raise DataError.about(
                new,
                "; ".join(f"{len(names)} {what} ({_listed(names)})" for what, names in changed.items() if names),
                f"the {len(held)} cases that {before.root} was made from",
                "Put the data back as they were where the settings say (data.root in config.yaml).",
            )


def compared(before: Finished, again: Finished) -> Reproduction:
    """Compares two finished runs, and notes the result in `reproduced.json` of the second."""
    old_facts, new_facts, tables = _facts(before), _facts(again), list(_tables(before, again))
    differences = [
        *(difference for kind in old_facts for difference in _changed(kind, old_facts[kind], new_facts[kind])),
        *_split_differences(before, again),
        *(difference for table in tables for difference in _score_differences(*table)),
    ]
    numbers, verdicts = sum(len(row) for old, _, _ in tables for row in old.values()), len(old_facts["verdict"])
    found = Reproduction(str(before.run.root), str(again.run.root), numbers, verdicts, differences)
    write_json(again.run.root / "reproduced.json", {"identical": found.identical} | asdict(found))
    return found


def _facts(found: Finished) -> dict[Kind, Mapping[str, object]]:
    """What is compared as text, by name."""
    made, summaries = read_json(found.run.environment), {n: Summary.from_json(s) for n, s in found.summaries()}
    return {
        "environment": made["packages"] | {key: made[key] for key in ("medaug", "python", "machine")},
        "settings": found.settings,
        "weights": {name or "translator": read_json(path)["sha256"] for name, path in found.weights.items()},
        "verdict": {
            f"{c.arm} against {c.reference}, {c.metric}{f' ({name})' if name else ''}": c.verdict
            for name, summary in summaries.items()
            for c in [*summary.comparisons, *summary.rivals]
        },
    }


def _changed(kind: Kind, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        before, again = (str(values.get(name, "none")) for values in (old, new))
        if before != again:
            yield Difference(kind, name, before, again)


def _split_differences(before: Finished, again: Finished) -> Iterator[Difference]:
    for name in before.splits.keys() | again.splits.keys():
        paths = [run.splits.get(name) for run in (before, again)]
        old, new = ({} if path is None else read_json(path) for path in paths)
        if old != new:
            parts = [part for part in {**old, **new} if part != "hash"]
            moved = sorted({p for part in parts for p in set(old.get(part, ())) ^ set(new.get(part, ()))})
            where = f"{name or 'patients'}: {_listed(moved)}" if moved else name or "patients"
            yield Difference("split", where, old.get("hash", "none")[:16], new.get("hash", "none")[:16])


def _tables(before: Finished, again: Finished) -> Iterator[tuple[Rows, Rows, str]]:
    """The tables as they are cited, and the cells with every digit (those that both runs have)."""
    for name in sorted(before.tables.keys() | again.tables.keys()):
        old, new = (_table(run, name) for run in (before, again))
        yield old, new, name
    old, new = (_cells(run) for run in (before, again))
    both = sorted(old.keys() & new.keys())
    yield {key: old[key] for key in both}, {key: new[key] for key in both}, "cells"


def _table(found: Finished, name: str) -> Rows:
    metrics = {metric for _, summary in found.summaries() for metric in summary["metrics"]}
    return {
        tuple(f"{key} {value}" for key, value in row.items() if key not in metrics and value): {
            key: float(value) if value else None for key, value in row.items() if key in metrics
        }
        for row in (read_csv(found.tables[name]) if name in found.tables else [])
    }


def _cells(found: Finished) -> Rows:
    rows: Rows = {}
    for name in found.splits:
        for path in sorted((found.run.root / name / "evaluation" / "cells").glob("[!.]*.json")):
            cell = read_cell(path)
            for test in cell.tests or [""]:
                for patient, scores in cell.on_test(test).scores.items():
                    rows[tuple(filter(None, (name, path.stem, test, f"patient {patient}")))] = scores
    return rows


def _score_differences(old: Rows, new: Rows, name: str) -> Iterator[Difference]:
    """Rows that one side lacks, and by metric the largest difference."""
    for what, lone in (("missing", old.keys() - new.keys()), ("new", new.keys() - old.keys())):
        if lone:
            counts = (str(len(lone)), "0") if what == "missing" else ("0", str(len(lone)))
            named = _listed([", ".join(key) for key in (old if what == "missing" else new) if key in lone])
            yield Difference("scores", f"{name}: {what} rows: {named}", *counts)

    def gap(pair: tuple[float | None, float | None]) -> float:
        return math.inf if None in pair else abs((pair[0] or 0.0) - (pair[1] or 0.0))

    for metric in dict.fromkeys(metric for row in old.values() for metric in row):
        pairs = {key: (old[key].get(metric), new[key].get(metric)) for key in old.keys() & new.keys()}
        differing = sorted((key for key, (a, b) in pairs.items() if a != b), key=lambda key: (-gap(pairs[key]), key))
        if differing:
            worst = differing[0]
            where = f"{name}: {metric} in {len(differing)} of {len(pairs)} rows, most in {', '.join(worst)}"
            yield Difference("scores", where, *(str(value) for value in pairs[worst]))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
