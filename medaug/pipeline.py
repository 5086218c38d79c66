"""Runs the stages of one pipeline in order: prepare → train → synthesize → audit → evaluate → report.

The GAN from noise is a branch of its own: prepare → train_gan.

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
GAN_STAGES = ("prepare", "train_gan")


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
    if config.domain == "ct":
        raise ConfigError(
            "domain 'ct' (synthetic CT) is in the schema but has no pipeline in this version; use --domain tumor"
        )
    stages = GAN_STAGES if until in GAN_STAGES[1:] else STAGES[: STAGES.index(until) + 1]
    if "evaluate" in stages:
        check_arms(config.evaluation)
    run = open_run(out, config)
    for name in stages:
        stage: Any = getattr(import_module(f"medaug.stages.{name}"), name)
        on_stage(StageResult(name, bool(stage(config, run))))
        if name == "prepare" and "evaluate" in stages:  # not after an hour of training
            held_out_patients(config.evaluation, Split.from_dict(read_json(run.split)))
    return run
