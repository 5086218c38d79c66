"""Folds into one result: every patient was tested once, by networks that had not seen that patient.

Reads: `fold-*/evaluation`, `fold-*/audit`. Writes: `evaluation/` (cells with the scores of all patients, tables,
`summary.json`), `audit/translation.json` of two domains (each patient from the fold that tested it) and `report.html`,
which shows the figures of all folds, and links to the folds' own pages.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medaug.audits.audit_scans import averaged
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.cells import cell_path, cells_of
from medaug.experiment.downstream import DOWNSTREAM, Downstream
from medaug.experiment.summary import write_domain_summary, write_summary, write_translation_summary
from medaug.runs.folder import RunDir
from medaug.stages.report_folds import report_folds
from medaug.volumes import length_unit

OF_ONE_FOLD = ("losses",)


def pool(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> bool:
    """Always runs: it takes a second or two."""
    shutil.rmtree(run.evaluation, ignore_errors=True)  # cells of arms or seeds that are no longer asked for
    for name in _names(folds[0]):
        cells = [read_json(fold.evaluation / "cells" / name) for fold in folds]
        write_json(run.evaluation / "cells" / name, united(cells) | {key: [] for key in OF_ONE_FOLD})
    if (folds[0].evaluation / "summary.json").exists():
        _summarize(config, run, folds)
    if (folds[0].audit / "translation.json").exists():
        write_json(run.audit / "translation.json", _audits(folds))
    report_folds(config, run, folds)
    return True


def _names(fold: RunDir) -> list[str]:
    """Of the cells that a fold's summary is of."""
    path = fold.evaluation / "summary.json"
    if not path.exists():
        return []
    summary = read_json(path)
    first = next(iter(summary.get("tests", {"": summary}).values()))
    return [cell_path(fold, arm, seed).name for arm in first["arms"] for seed in first["seeds"]]


def united(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Nested dicts joined key by key; of values that are no dicts the first counts."""
    joined: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, dict) and isinstance(joined.get(key), dict):
                joined[key] = united([joined[key], value])
            else:
                joined.setdefault(key, value)
    return joined


def _audits(folds: Sequence[RunDir]) -> dict[str, Any]:
    """Figures of the tested patients; windows and pictures stay in the folds."""
    by_patient: dict[str, Any] = {}
    patients: dict[str, list[str]] = {"source": [], "target": []}
    left_out: dict[str, str] = {}
    units = []
    for fold in folds:
        audit, tested = read_json(fold.audit / "translation.json"), read_json(fold.split)["test"]
        units.append(length_unit(audit))
        by_patient |= {patient: audit["by_patient"][patient] for patient in tested if patient in audit["by_patient"]}
        left_out |= audit["left_out"]
        for side, names in patients.items():
            names += [patient for patient in audit["patients"][side] if patient in tested]
    unit = length_unit(*({"length_unit": unit} for unit in units))
    facts = {"patients": patients, "length_unit": unit, "tiling": None, "by_patient": by_patient, "left_out": left_out}
    return facts | averaged(list(by_patient.values()))


def _summarize(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> None:
    summaries = [read_json(fold.evaluation / "summary.json") for fold in folds]
    if config.evaluation.task == "translation":
        arms = list(summaries[0]["arms"])
        cells = {
            arm: [read_json(path)] for arm in arms for path in (run.evaluation / "cells").glob(f"{arm}-seed*.json")
        }
        facts = {key: summaries[0][key] for key in ("unit", "scale", "source", "target")}
        left_out = united([summary["left_out"] for summary in summaries])
        write_translation_summary(run, cells, facts | {"left_out": left_out})
        return
    settings, task = config.evaluation, task_of(config, run.root)
    cells = cells_of(run, settings)
    if config.domain == "ct":
        write_domain_summary(run, cells, dict.fromkeys(summaries[0]["tests"], task))
        return
    write_summary(run, cells, sorted(patient for summary in summaries for patient in summary["patients"]), task)


def task_of(config: PipelineConfig, folder: Path) -> Downstream:
    """The configured task with nothing to train on: it knows the metrics."""
    nobody = ViewFolder([], folder)
    return DOWNSTREAM[config.evaluation.task](config, nobody, None, nobody, [], folder)
