"""What the two stages that train have in common: their files come back from a checkpoint, and their log warns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medaug.progress import say
from medaug.runs.folder import RunDir
from medaug.runs.markers import run_stage
from medaug.training.checkpoint import has_checkpoint
from medaug.training.config import TrainingConfig
from medaug.training.log import METRICS
from medaug.training.monitors import warnings_in
from medaug.training.processes import is_helper


def run_training(
    run: RunDir, stage: str, inputs: Any, folder: Path, work: Callable[[], None], settings: TrainingConfig
) -> bool:
    """`run_stage` of a training in this folder; what its log warns of is said, also where nothing was left to do.

    What was changed there since is made again from the last checkpoint, all but the log itself.
    """
    helper = is_helper(settings)
    ran = run_stage(
        run,
        stage,
        inputs,
        [folder],
        work,
        helper=helper,
        remade=lambda path: path.name != METRICS and has_checkpoint(folder),
    )
    for warning in [] if helper else warnings_in(folder):
        say(f"warning: {warning}")
    return ran
