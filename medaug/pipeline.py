"""Runs the stages of one pipeline in order: prepare → train → synthesize → audit → evaluate → report.

A stage whose inputs and settings are unchanged is not run again; the same command resumes what was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from medaug.errors import ConfigError
from medaug.io.atomic import read_json
from medaug.splits import Split
from medaug.stages.config import PipelineConfig
from medaug.stages.evaluate import check_arms, held_out_patients
from medaug.stages.runs import RunDir, open_run

STAGES = ("prepare", "train", "synthesize", "audit", "evaluate", "report")
TWO_DOMAIN_STAGES = ("prepare", "train")


@dataclass(frozen=True)
class StageResult:
    """A stage's name and whether it had to run."""

    name: str
    ran: bool


def run_pipeline(
    config: PipelineConfig, out: Path, *, until: str = "report",
    on_stage: Callable[[StageResult], None] = lambda result: None,
) -> RunDir:  # fmt: skip
    """Runs the pipeline up to and including stage `until` in the folder `out`.

    Raises:
        ConfigError: if the config asks for what cannot be run.
        MedaugError: whatever a stage refuses.
    """
    if config.domain == "ct" and until not in TWO_DOMAIN_STAGES:
        raise ConfigError(
            f"domain 'ct' goes as far as {TWO_DOMAIN_STAGES[-1]} in this version; found a run to {until}. Train with "
            "medaug train-cycle --domain ct, which takes the same settings (--config)."
        )
    stages = STAGES[: STAGES.index(until) + 1]
    if "evaluate" in stages:
        check_arms(config.evaluation)
    run = open_run(out, config)
    for name in stages:
        stage: Any = getattr(import_module(f"medaug.stages.{name}"), name)
        on_stage(StageResult(name, bool(stage(config, run))))
        if name == "prepare" and "evaluate" in stages:  # not after an hour of training
            held_out_patients(config.evaluation, Split.from_dict(read_json(run.split)))
    return run
