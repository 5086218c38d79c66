"""Runs a finished run again, and says what differs: environment, settings, split, weights, scores and verdicts.

On one machine with the same versions nothing does: the tables are identical, digit by digit.
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

    def to_json(self) -> dict[str, object]:
        """What `medaug reproduce --json` prints."""
        return {"identical": self.identical, "found": asdict(self)}

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
    folder: Path,
    out: Path | None,
    *,
    jobs: int = 1,
    accelerator: str | None = None,
    on_stage: Callable[[StageResult], object] = lambda result: None,
) -> Reproduction:
    """Runs a finished run again in another folder (by default `<folder>-again`) and compares the two.

    Args:
        jobs: of a benchmark, the processes that work on it.
        accelerator: another than the run's own.

    Raises:
        RunError: if the run is unfinished, or the other folder holds something else.
        DataError: if the data have changed since; nothing is trained then.
    """
    before, again = finished_run(folder), RunDir(out or folder.with_name(f"{folder.name}-again"))
    if again.root.resolve() == folder.resolve():
        raise ConfigError(f"--out: found {again.root}, the run itself; expected another folder")

    def check(result: StageResult) -> None:  # before an hour is spent on training with other scans or labels
        for name in before.splits:
            for datalist in (RunDir(Path(name)).datalist, RunDir(Path(name)).datalist_b):
                if (folder / datalist).exists() and (again.root / datalist).exists():
                    _check_same_data(folder / datalist, again.root / datalist)
        on_stage(result)

    config = before.config.model_copy(update={"accelerator": accelerator or before.config.accelerator})
    if before.is_benchmark:
        first = blocks_of(config, open_run(again.root, config))[0]
        check(StageResult("prepare", prepare_block(first, again)))
        run_benchmark(config, again.root, jobs=jobs)
    else:
        run_pipeline(config, again.root, on_stage=check)
    return compared(before, finished_run(again.root))


def _check_same_data(before: Path, again: Path) -> None:
    """Compares the fingerprints of what was prepared of scans and labels."""
    held, found = (
        {case["case"]: [case["patient"], case["content"]] for case in read_json(path)["cases"]}
        for path in (before, again)
    )
    changed = {
        "missing": held.keys() - found.keys(),
        "new": found.keys() - held.keys(),
        "changed": {case for case in held.keys() & found.keys() if held[case] != found[case]},
    }
    if any(changed.values()):
        raise DataError.about(
            again,
            "; ".join(f"{len(names)} {what} ({_listed(sorted(names))})" for what, names in changed.items() if names),
            f"the {len(held)} cases that {before.parent.parent} was made from",
            "Put the data back as they were where the settings say (data.root in config.yaml).",
        )


def compared(before: Finished, again: Finished) -> Reproduction:
    """Compares two finished runs, and notes the result in `reproduced.json` of the second."""
    old_facts, new_facts, tables = _facts(before), _facts(again), list(_tables(before, again))
    differences = [
        Difference(kind, name, str(old.get(name, "none")), str(new.get(name, "none")))
        for kind, old, new in ((kind, old_facts[kind], new_facts[kind]) for kind in old_facts)
        for name in sorted(old.keys() | new.keys())
        if str(old.get(name, "none")) != str(new.get(name, "none"))
    ]
    for name in before.splits.keys() | again.splits.keys():
        paths = [run.splits.get(name) for run in (before, again)]
        old_split, new_split = ({} if path is None else read_json(path) for path in paths)
        if old_split != new_split:
            parts = [part for part in {**old_split, **new_split} if part != "hash"]
            moved = sorted({p for part in parts for p in set(old_split.get(part, ())) ^ set(new_split.get(part, ()))})
            where = f"{name or 'patients'}: {_listed(moved)}" if moved else name or "patients"
            hashes = (split.get("hash", "none")[:16] for split in (old_split, new_split))
            differences.append(Difference("split", where, *hashes))
    differences += [difference for table in tables for difference in _score_differences(*table)]
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
