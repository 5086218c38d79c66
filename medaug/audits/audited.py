"""What an audit is given: a run that has trained, and its weights; what they make of patients is added by each job.

Held-out patients are those to validate and to test: looked at in audits and nowhere used for training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from medaug.audits.findings import limits_of
from medaug.audits.measures.finding import Limits
from medaug.config import PipelineConfig
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split


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
        return limits_of(self.config, audit)

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
        weights = load_weights(self.run.weights)
        refuse_known(weights.facts, self.run, self.split, f"weights {self.run.weights}")
        return weights
