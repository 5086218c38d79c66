"""What a finished run or benchmark leaves to be read, copied and compared; an unfinished one is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medaug.config import PipelineConfig
from medaug.config.files import load_config
from medaug.data.atomic import JsonObject, read_json
from medaug.errors import RunError
from medaug.runs.folder import INCIDENTAL, INNER_RUNS, RunDir


@dataclass(frozen=True)
class Finished:
    """The files of a finished run.

    Attributes:
        summary, tables: what was found, and the scores by patient (CSV), by file name.
        splits, weights: by block: "" for a run by itself, else the name of the folder inside.
    """

    run: RunDir
    config: PipelineConfig
    summary: Path
    tables: dict[str, Path]
    splits: dict[str, Path]
    weights: dict[str, Path]

    @property
    def is_benchmark(self) -> bool:
        return is_benchmark(self.run)

    @property
    def settings(self) -> dict[str, object]:
        """Those that can change results, by dotted name."""
        flat = _flat(self.config.model_dump(mode="json"))
        return {name: value for name, value in flat.items() if name.rsplit(".", 1)[-1] not in INCIDENTAL}

    def summaries(self) -> Iterator[tuple[str, JsonObject]]:
        """Every summary of arms in the file, by what sets it apart: a test set's name, a benchmark's setting, or ""."""
        values = read_json(self.summary)
        if "groups" in values:
            for group in values["groups"]:
                yield f"{group['labelled']} labelled, ratio {group['ratio']:g}", group
        elif "tests" in values:
            yield from values["tests"].items()
        else:
            yield "", values


def trained_run(folder: Path, what: str, weights: Path | None = None) -> RunDir:
    """The folder of a run that has trained, for `what` needs one.

    Args:
        weights: others than the run's own.

    Raises:
        RunError: if a file is missing, naming it.
    """
    run = RunDir(folder)
    needed = (run.config, run.split, run.datalist, (weights or run.weights) / "model.json")
    if missing := [path for path in needed if not path.exists()]:
        folds = " Of a run with folds give one fold's folder." if run.fold(0).root.is_dir() else ""
        raise RunError(
            f"{missing[0]}: missing; {what} needs a run that has trained. Run `medaug train-cycle` first.{folds}"
        )
    return run


def is_benchmark(run: RunDir) -> bool:
    """Whether the folder is a benchmark's, finished or not, rather than a single run's."""
    return run.results.exists() or any(run.root.glob("labelled-*"))


def finished_run(folder: Path) -> Finished:
    """The files of a run folder or a benchmark's.

    Raises:
        RunError: if it is none, or something is missing, naming it.
    """
    run = RunDir(folder)
    if not run.config.exists():
        raise RunError(f"{folder}: found no config.yaml; expected the folder of a medaug run. Check the path.")
    results, pattern = (run.results, "cells.csv") if is_benchmark(run) else (run.evaluation, "scores*.csv")
    inner = [path for names in INNER_RUNS for path in sorted(folder.glob(names))]
    parents = {path.parent for path in inner}
    blocks = {str(path.relative_to(folder)): RunDir(path) for path in inner if path not in parents} or {"": run}
    found = Finished(
        run,
        load_config(run.config, []),
        results / "summary.json",
        {path.name: path for path in sorted(results.glob(pattern))},
        {name: block.split for name, block in blocks.items()},
        {name: path for name, block in blocks.items() if (path := block.weights / "model.json").exists()},
    )
    needed = [run.environment, found.summary, *found.splits.values()]
    missing = [str(path.relative_to(folder)) for path in needed if not path.exists()]
    if not found.tables:
        missing.append(str((results / pattern).relative_to(folder)))
    if not found.is_benchmark and not missing:
        unscored = [name for name, block in blocks.items() if not block.done("evaluate").exists()]
        missing += [f"{name or 'the run'}: evaluation not finished" for name in unscored]
    if missing := [*missing, *_missing_cells(found)]:
        raise RunError(
            f"{folder}: an unfinished run; missing: {', '.join(missing)}. Finish it with the command that began it "
            "(environment.json holds it)."
        )
    return found


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _missing_cells(found: Finished) -> list[str]:
    """Arms and seeds that the settings ask for, and the results are not of."""
    if not found.summary.exists() or found.config.evaluation.task == "translation":
        return []
    if found.is_benchmark:
        asked = len(found.config.benchmark.labelled) * len(found.config.benchmark.ratios or (0,))
        if (there := sum(1 for _ in found.summaries())) < asked:
            return [f"{asked - there} of {asked} settings in results/summary.json"]
    wanted = [(arm, seed) for arm in found.config.evaluation.arms for seed in found.config.evaluation.seeds]
    return [
        f"{arm}, seed {seed}{f' ({name})' if name else ''}"
        for name, summary in found.summaries()
        for arm, seed in wanted
        if arm not in summary["arms"] or seed not in summary["seeds"]
    ]
