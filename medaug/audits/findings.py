"""Asks a run's audits and keeps their answers: `audit/findings.json`, and a picture each in `audit/<name>.png`.

{"findings": [a `Finding`, and "made_of": the fingerprint of what it was made of]}. An answer is kept as long as what it
was made of is the same (weights, split, data, settings, its own limits), so a second call asks only what is new, and a
stopped one goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import medaug
from medaug.audits.measures.finding import Finding, Limits
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path, read_json, write_json
from medaug.errors import ConfigError
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential, fingerprint

logger = logging.getLogger(__name__)

Answer = tuple[Finding, bytes | None]
"""What an audit says, and its picture (PNG)."""


class Audited(Protocol):
    """A run whose audits are asked (see `audited.AuditedRun`)."""

    @property
    def config(self) -> PipelineConfig: ...

    @property
    def run(self) -> RunDir: ...


def asked_audits(
    audited: Audited, audits: Mapping[str, Callable[[Any], Answer]], only: Sequence[str] = ()
) -> list[Finding]:
    """The answers of these audits, or of all, in order; what is not known yet is worked out and written.

    Args:
        audited: what the audits are given, and `audits` those of its job, by name.

    Raises:
        ConfigError: for an audit that there is not.
        LeakageError: if the weights were trained on held-out patients of this run.
    """
    config, run = audited.config, audited.run
    if unknown := [name for name in only if name not in audits]:
        raise ConfigError(f"--only: found {', '.join(unknown)}; expected some of: {', '.join(audits)}")
    made_of = {name: _made_of(name, config, run) for name in audits}
    rows = {row["name"]: row for row in _kept(run) if row["made_of"] == made_of.get(row["name"])}
    asked = [name for name in audits if not only or name in only]
    for name in asked:
        if name not in rows:
            logger.info("audit %s", name)
            finding, picture = audits[name](audited)
            path = run.audit / f"{name}.png"
            if picture is None or finding.verdict == "skipped":
                path.unlink(missing_ok=True)
            else:
                with atomic_path(path) as temporary:
                    temporary.write_bytes(picture)
            rows[name] = asdict(finding) | {"made_of": made_of[name]}
            write_json(run.audit / "findings.json", {"findings": [rows[n] for n in audits if n in rows]})
    return [Finding.from_json(rows[name]) for name in asked]


def kept_findings(run: RunDir) -> list[Finding]:
    """The findings that a run keeps; none where no audit was asked."""
    return [Finding.from_json(row) for row in _kept(run)]


def limits_of(config: PipelineConfig, name: str) -> Limits:
    """The limits in `audit.limits`."""
    return Limits(**getattr(config.audit.limits, name).model_dump())


def _kept(run: RunDir) -> list[Mapping[str, Any]]:
    path = run.audit / "findings.json"
    return read_json(path)["findings"] if path.exists() else []


def _made_of(name: str, config: PipelineConfig, run: RunDir) -> str:
    """The fingerprint of all that decides this answer."""
    settings = essential(config.audit)
    limits = {key: limit for key, limit in settings.pop("limits").items() if key.startswith(name)}
    return fingerprint(
        [
            medaug.__version__,
            name,
            settings,
            limits,
            essential(config.segmenter),
            config.evaluation.patch_size,
            read_json(run.weights / "model.json")["sha256"],
            read_json(run.split)["hash"],
            *data_prints(run),
        ]
    )
