"""Folds into one result: every patient was tested once, by networks that had not seen that patient.

Reads: `fold-*/evaluation`, `fold-*/audit`. Writes: `evaluation/` (cells with the scores of all patients, tables,
`summary.json`), `audit/translation.json` of two domains (each patient from the fold that tested it) and `report.html`,
which shows the figures of all folds, and links to the folds' own pages.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medaug.audits.audit_scans import averaged
from medaug.config import PipelineConfig
from medaug.data.atomic import read_json, write_json
from medaug.experiment.cells import cell_path, cells_of, read_cell
from medaug.experiment.downstream import scoring_of
from medaug.experiment.records import Cell, Evaluation
from medaug.experiment.summary import write_domain_summary, write_summary, write_translation_summary
from medaug.runs.folder import RunDir
from medaug.stages.report_folds import report_folds
from medaug.volumes import length_unit


def pool(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> bool:
    """Always runs: it takes a second or two."""
    shutil.rmtree(run.evaluation, ignore_errors=True)  # cells of arms or seeds that are no longer asked for
    for name in _names(folds[0]):
        cells = [read_cell(fold.evaluation / "cells" / name) for fold in folds]
        write_json(run.evaluation / "cells" / name, Cell.of_folds(cells).to_json())
    if (folds[0].evaluation / "summary.json").exists():
        _summarize(config, run, folds)
    if (folds[0].audit / "translation.json").exists():
        write_json(run.audit / "translation.json", _audits(folds))
    report_folds(config, run, folds)
    return True


def _names(fold: RunDir) -> list[str]:
    """Of the cells that a fold's summary is of."""
    found = Evaluation.of_run(fold)
    if found is None:
        return []
    first = next(iter(found.tests.values()))
    return [cell_path(fold, arm, seed).name for arm in first.arms for seed in first.seeds]


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
    tests = [found.tests for fold in folds if (found := Evaluation.of_run(fold))]
    summaries, settings = [next(iter(found.values())) for found in tests], config.evaluation
    first = summaries[0]
    cells = cells_of(run, list(first.arms), first.seeds)
    if first.translation is not None:
        left_out = {case: why for s in summaries if s.translation for case, why in s.translation.left_out.items()}
        facts = replace(first.translation, left_out=left_out, registered_training_patients=[])
        write_translation_summary(run, cells, facts)
        return
    cells, scoring = cells_of(run, settings.arms, settings.seeds), scoring_of(config)
    if "" not in tests[0]:
        write_domain_summary(run, cells, dict.fromkeys(tests[0], scoring))
        return
    write_summary(run, cells, sorted(patient for summary in summaries for patient in summary.patients), scoring)
