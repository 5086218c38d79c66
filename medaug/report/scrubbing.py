"""Texts without paths: where the data and the run lay on one machine says nothing to a reader, and may name people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medaug.config import PipelineConfig
from medaug.config.files import dump_config
from medaug.report.page import ReportPage
from medaug.runs.folder import RunDir

PLACEHOLDER = "<path>"
_PATH = re.compile(r"(?<![\w.:/<>)+~-])(?:\.{0,2}/|~/|[A-Za-z]:[\\/])[^\s'\"<>|,;()\[\]{}]+")
"""A path from the root, from home, from a folder above, or of a drive."""


def without_paths(value: Any, known: Sequence[Path] = ()) -> Any:
    """Replaces the paths in all texts of a JSON value by a placeholder.

    Args:
        known: paths that may hold blanks and are replaced first, as they are written and from the root; a single
            name, which may be any word, only from the root.
    """
    if isinstance(value, dict):
        return {key: without_paths(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item, known) for item in value]
    if not isinstance(value, str):
        return value
    names = {text for path in known for text in (str(path), str(path.resolve())) if "/" in text or " " in text}
    for text in sorted(names, key=len, reverse=True):
        value = re.sub(rf"(?<![\w.-]){re.escape(text)}(?![\w.-])[^\s'\",;]*", PLACEHOLDER, value)
    return _PATH.sub(PLACEHOLDER, value)


def without_roots(config: PipelineConfig) -> PipelineConfig:
    """Puts a placeholder in place of the folders of data."""
    sections: dict[str, Any] = {"data": config.data, "target": config.target}
    changed = {
        key: section.model_copy(update={"root": Path(PLACEHOLDER)})
        for key, section in sections.items()
        if section is not None and section.root is not None
    }
    if config.translator.warm_start is not None:
        changed["translator"] = config.translator.model_copy(update={"warm_start": Path(PLACEHOLDER)})
    if config.split.file is not None:
        changed["split"] = config.split.model_copy(update={"file": Path(PLACEHOLDER)})
    return config.model_copy(update=changed)


def known_paths(config: PipelineConfig, run: RunDir) -> list[Path]:
    """What a run's texts may name: its own folder, where it was started, and its data."""
    sections = (config.data, config.target)
    given = [*(s.root for s in sections if s is not None), config.translator.warm_start, config.split.file]
    return [run.root, Path.cwd(), *(path for path in given if path is not None)]


def page_without_paths(page: ReportPage, config: PipelineConfig, run: RunDir) -> ReportPage:
    """A page to be passed on: data folders and the run's own are left out of all its texts."""
    known = known_paths(config, run)
    settings = without_paths(dump_config(without_roots(config)), known)
    return replace(
        page,
        settings_yaml=settings,
        commands=without_paths(page.commands, known),
        warnings=without_paths(page.warnings, known),
        facts=[(name, without_paths(text, known)) for name, text in page.facts],
        left_out=[(Path(path).name, without_paths(reason, known)) for path, reason in page.left_out],
    )
