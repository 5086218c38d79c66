"""The quality gate of synthetic cases: a frozen segmenter, trained on real labels alone, must see what was inserted.

`agreement` is the Dice of its answer and the label around the inserted lesions (see `evaluation.agreement`). With
`synthesis.gate` cases below it are drawn again; the arm `standard+gan-gated` leaves them out of what it learns from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.audits.measures.lost_and_gained import frozen_segmenter
from medaug.config import PipelineConfig
from medaug.data.prepared import View
from medaug.data.synthetic import SyntheticCase
from medaug.errors import DataError
from medaug.evaluation.predictions import FrozenSegmenter, agreement
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.arms import arms_of
from medaug.experiment.edits import Edited, one_thread

LEAST_AGREEMENT = 0.5
"""The agreement of a case that counts as accepted, where `synthesis.gate` does not say."""
DRAWS = 50
"""How often a case is drawn; where all draws are rejected, almost everything is."""

Records = Sequence[SyntheticCase]


class QualityGate:
    """Measures the agreement of edited views."""

    def __init__(self, segmenter: FrozenSegmenter, patch_size: tuple[int, ...] | None):
        self.segmenter, self.patch_size = segmenter, patch_size

    def __call__(self, edited: Edited, view: View) -> float:
        image = view.window.normalize(edited.image.numpy()[0]).astype(np.float32)
        label = edited.label.numpy()[0] > 0
        with one_thread():
            found = agreement(self.segmenter, image, label, label & ~(edited.truth.numpy()[0] > 0), self.patch_size)
        return round(found, 4)


def gate_of(config: PipelineConfig, real: ViewFolder) -> QualityGate:
    """The gate whose segmenter learns from these training views.

    Raises:
        DataError: if none of them has a tumor.
    """
    if not any(view.tumor_voxels for view in real.views):
        raise DataError(
            "synthesis.gate: found no tumor in a training label; expected some, to train the segmenter of the gate on. "
            "Add labels, or set synthesis.gate to null."
        )
    patch_size = config.evaluation.patch_size
    return QualityGate(frozen_segmenter(config, real, patch_size), patch_size)


def is_judged(config: PipelineConfig) -> bool:
    """Whether cases are measured: for the gate, or for an arm that learns from the accepted ones."""
    arms = arms_of(config.evaluation)
    wanted = any(arms[name].synthetic == "accepted" for name in config.evaluation.arms if name in arms)
    return config.synthesis.gate is not None or wanted


def least_agreement(config: PipelineConfig) -> float:
    """The agreement that makes a case an accepted one."""
    return LEAST_AGREEMENT if config.synthesis.gate is None else config.synthesis.gate


@dataclass(frozen=True)
class GateFigures:
    """How many insertions were drawn, and how many of them reached the `least` agreement."""

    least: float
    drawn: int
    accepted: int
    accept_rate: float | None


def gate_figures(config: PipelineConfig, records: Records) -> GateFigures:
    """Counts the insertions drawn for these records."""
    least = least_agreement(config)
    judged = [(r.draws or 0, r.agreement) for r in records if r.agreement is not None]
    drawn, accepted = sum(draws for draws, _ in judged), sum(agreement >= least for _, agreement in judged)
    rate = round(accepted / drawn, 4) if drawn else None
    return GateFigures(least, drawn, accepted, rate)


def accepted_cases(config: PipelineConfig, records: Records) -> set[str]:
    """The names of those that reach the least agreement; only insertions are judged.

    Raises:
        DataError: if an insertion was not judged.
    """
    unknown = [r.case for r in records if r.kind == "inserted" and r.agreement is None]
    if unknown:
        raise DataError(
            f"synthetic/datalist.json: found no agreement of {unknown[0]}, and {len(unknown) - 1} others; expected it "
            "of every insertion, for the arms that learn from accepted cases. Run synthesize again with these settings."
        )
    return {r.case for r in records if r.kind != "inserted" or (r.agreement or 0) >= least_agreement(config)}
