"""Folds over the training patients of a set: a synthetic case never trains where a patient it was made from validates.

The generator itself learnt from all training patients, also from those that a fold validates: only the held-out
patients, which are in no fold, can say how good a network is.
"""

from __future__ import annotations

from typing import NamedTuple

from medaug.exports.cases import ExportCase, ExportSet
from medaug.splits import fold_patients

FOLDS = 5
"""As nnU-Net has by default; fewer where there are fewer patients."""


class Fold(NamedTuple):
    """The cases of one fold; those that validate are real."""

    train: list[ExportCase]
    validation: list[ExportCase]


def folds_of(found: ExportSet) -> list[Fold]:
    """Every training patient validates in one of them; none where a single patient trains."""
    patients = {case.patient for case in found.training if case.is_real}
    count = min(FOLDS, len(patients))
    if count < 2:
        return []
    tested = [set(fold_patients(patients, count, fold, 0, 0).test) for fold in range(count)]
    return [
        Fold(
            [case for case in found.training if not case.sources & validating],
            [case for case in found.training if case.is_real and case.patient in validating],
        )
        for validating in tested
    ]
