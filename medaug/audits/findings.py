"""Asks a run's audits and keeps their answers: `audit/findings.json`, and a picture each in `audit/<name>.png`.

{"findings": [a `Finding`, and "made_of": the fingerprint of what it was made of]}. An answer is kept as long as what it
was made of is the same (weights, split, data, settings, its own limits), so a second call asks only what is new, and a
stopped one goes on where it was. Held-out patients, those to validate and to test, are looked at in audits and nowhere
used for training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, TypeVar

import medaug
from medaug.audits.measures.finding import Finding, Limits
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path, read_json, write_json
from medaug.errors import ConfigError
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.runs.markers import data_prints, essential, fingerprint
from medaug.runs.provenance import refuse_known
from medaug.splits import Split

logger = logging.getLogger(__name__)
T = TypeVar("T")

Answer = tuple[Finding, bytes | None]
"""What an audit says, and its picture (PNG)."""


@dataclass(frozen=True)
class AuditedRun:
    """A run that has trained; every part is read or made when it is first asked for, and once."""

    config: PipelineConfig
    run: RunDir

    @property
    def seed(self) -> int:
        return self.config.audit.seed

    def limits(self, audit: str) -> Limits:
        """The limits in `audit.limits`."""
        return Limits(**getattr(self.config.audit.limits, audit).model_dump())

    @cached_property
    def split(self) -> Split:
        return self.run.read_split()

    @property
    def held_out(self) -> set[str]:
        """The patients to validate and to test."""
        return {*self.split.validation, *self.split.test}

    @cached_property
    def weights(self) -> Weights:
        """The run's own.

        Raises:
            LeakageError: if they were trained on a held-out patient.
        """
        weights = load_weights(self.run.weights).on(self.config.accelerator, self.config.precision)
        refuse_known(weights.facts, self.run, self.split, f"weights {self.run.weights}")
        return weights


def asked_audits(
    audited: AuditedRun, audits: Mapping[str, Callable[[Any], Answer]], only: Sequence[str] = ()
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
    settings = essential(config.audit)
    limits = settings.pop("limits")
    shared = [
        essential(config.segmenter),
        [config.evaluation.budget, config.evaluation.patch_size],
        read_json(run.weights / "model.json")["sha256"],
        read_json(run.split)["hash"],
        *data_prints(run),
    ]
    made_of = {}
    for name in audits:
        own = {key: limit for key, limit in limits.items() if key.startswith(name)}
        made_of[name] = fingerprint([medaug.__version__, name, settings, own, *shared])
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


def in_turn(queues: Sequence[Sequence[T]]) -> list[T]:
    """The first of each queue, then the second of each, and so on: none dominates what is cut off."""
    return [item for turn in zip_longest(*queues) for item in turn if item is not None]


def kept_findings(run: RunDir) -> list[Finding]:
    """The findings that a run keeps; none where no audit was asked."""
    return [Finding.from_json(row) for row in _kept(run)]


def _kept(run: RunDir) -> list[Mapping[str, Any]]:
    path = run.audit / "findings.json"
    return read_json(path)["findings"] if path.exists() else []
