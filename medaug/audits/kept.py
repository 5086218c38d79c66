"""The findings that a run keeps: {"findings": [a `Finding`, and "made_of": the fingerprint of what it was made of]}."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from medaug.audits.measures.finding import Finding
from medaug.data.atomic import read_json
from medaug.runs.folder import RunDir


def kept_rows(run: RunDir) -> list[dict[str, Any]]:
    """The findings as they were written; none where no audit was asked."""
    path = run.audit / "findings.json"
    return read_json(path)["findings"] if path.exists() else []


def finding_of(row: dict[str, Any]) -> Finding:
    """The inverse of writing it."""
    return Finding(**{field.name: row[field.name] for field in fields(Finding)})
