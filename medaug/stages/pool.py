"""Folds into one result: every patient was tested once, by networks that had not seen that patient.

Reads: `fold-*/evaluation`, `fold-*/audit`. Writes: `evaluation/` (cells with the scores of all patients, tables,
`summary.json`), of translations `audit/translation.json` (each patient from the fold that tested it), and
`report.html`, which shows the figures of all folds, and links to the folds' own pages.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from medaug.config import PipelineConfig
from medaug.data.atomic import write_json
from medaug.experiment.cells import cell_path, cells_of, read_cell
from medaug.experiment.records import Cell, Evaluation
from medaug.experiment.summary import scoring_of, write_domain_summary, write_summary, write_translation_summary
from medaug.runs.folder import RunDir
from medaug.stages.report import report_folds
from medaug.stages.tasks import task_of


def pool(config: PipelineConfig, run: RunDir, folds: Sequence[RunDir]) -> bool:
    """Always runs: it takes a second or two."""
    shutil.rmtree(run.evaluation, ignore_errors=True)  # cells of arms or seeds that are no longer asked for
    if tests := [found.tests for fold in folds if (found := Evaluation.of_run(fold))]:
        summaries = [next(iter(found.values())) for found in tests]
        first = summaries[0]
        for arm in first.arms:
            for seed in first.seeds:
                cells = [read_cell(cell_path(fold, arm, seed)) for fold in folds]
                write_json(cell_path(run, arm, seed), Cell.of_folds(cells).to_json())
        pooled = cells_of(run, list(first.arms), first.seeds)
        if first.translation is not None:
            left_out = {case: why for s in summaries if s.translation for case, why in s.translation.left_out.items()}
            facts = replace(first.translation, left_out=left_out, registered_training_patients=[])
            write_translation_summary(run, pooled, facts)
        elif "" in tests[0]:
            patients = sorted(patient for summary in summaries for patient in summary.patients)
            write_summary(run, pooled, patients, scoring_of(config))
        else:
            write_domain_summary(run, pooled, tests[0], scoring_of(config))
    task_of(config).pool_audits(run, folds)
    report_folds(config, run, folds)
    return True
