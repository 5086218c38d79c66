"""Which audits a run has: those of its job."""

from __future__ import annotations

from typing import Any

from medaug.audits import insertion_audits, translations
from medaug.audits.insertions import InsertionRun
from medaug.audits.translations import TranslationRun
from medaug.config import PipelineConfig
from medaug.runs.folder import RunDir


def audits_of(config: PipelineConfig, run: RunDir) -> tuple[Any, dict[str, Any]]:
    """What a run's audits are given, and which there are for its job."""
    if config.domain == "tumor":
        return InsertionRun(config, run), insertion_audits.AUDITS
    return TranslationRun(config, run), translations.AUDITS
