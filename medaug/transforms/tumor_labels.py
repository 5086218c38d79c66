"""Which values of a label are tumor, and which of them a new tumor gets: what transforms read, write and leave.

Weights know which values were tumor in the labels that they learnt from, and which others there were (organs). Where
the labels held an organ beside one kind of tumor, that kind's value is a new tumor's. Where they held tumors alone, so
does a label of one value, whatever it is; one of several is refused unless their sizes tell: no value is the tumor's
whose parts are far larger than any lesion the weights know.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

import numpy as np

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import component_voxels, diameter_of_voxels
from medaug.models.weights import Weights

log = logging.getLogger(__name__)

TumorLabels = int | Sequence[int]

MUCH_LARGER = 1.5
"""Times the largest lesion that the weights know, from which on a part is an organ."""


def checked_labels(given: TumorLabels | None) -> tuple[int, ...] | None:
    """`tumor_labels` of a transform as a tuple; a new tumor gets the first.

    Raises:
        ConfigError: if there is none in it, or one that is not above 0.
    """
    if given is None:
        return None
    values = (given,) if isinstance(given, int) else tuple(int(value) for value in given)
    if not values or min(values) < 1:
        raise ConfigError(f"tumor_labels: found {list(values)}; expected label values above 0, a new tumor's first")
    return values


def tumor_values(
    label: np.ndarray | None, weights: Weights, given: tuple[int, ...] | None, spacing_mm: Sequence[float]
) -> tuple[int, ...]:
    """The values that are tumor in this label (*S).

    Args:
        label: values as they are; None where a new one is begun.
        given: what the user says, which counts.
        spacing_mm: of the label.

    Raises:
        DataError: if nobody says which of several they are.
    """
    if given is not None:
        return given
    learnt, others = weights.facts.tumor_labels, weights.facts.other_labels
    if learnt and others:
        return learnt
    found = [] if label is None else [int(value) for value in np.unique(label) if value > 0]
    if len(found) < 2:
        return tuple(found) or (1,)
    if len(learnt) > 1 and {*found} <= {*learnt}:
        return learnt
    assert label is not None
    small = [value for value in found if not _is_an_organ(label == value, weights, spacing_mm)]
    if len(small) != 1:
        raise DataError(_question(found))
    _say_once(
        f"label: of the values {', '.join(map(str, found))}, {small[0]} is taken for the tumor: the others are far "
        f"larger than any lesion these weights know. tumor_labels={small[0]} says so for good, also where there is one "
        "value alone."
    )
    return (small[0],)


def new_value(label: np.ndarray | None, tumors: tuple[int, ...], given: tuple[int, ...] | None) -> int:
    """The value that a new tumor gets, of those that are tumor.

    Raises:
        DataError: if the label holds several of them, or none, and the user says nothing.
    """
    if given is not None or len(tumors) == 1 or label is None:
        return tumors[0]
    there = [value for value in tumors if (label == value).any()]
    if len(there) == 1:
        return there[0]
    raise DataError(_question(tumors))


@functools.cache
def _say_once(sentence: str) -> None:
    log.warning("%s", sentence)


def _question(values: Sequence[int]) -> str:
    listed = ", ".join(map(str, values))
    return (
        f"label: found the values {listed}, of which a new tumor could have any; expected to know which. Say which are "
        f"tumor, a new tumor's first: tumor_labels={values[-1]}, or tumor_labels={[*reversed(values)]}; in a command "
        f"--tumor-labels {values[-1]}."
    )


def _is_an_organ(region: np.ndarray, weights: Weights, spacing_mm: Sequence[float]) -> bool:
    """Whether a part of it is far larger than the lesions of the prior, each slice by itself where that is 2-D."""
    if weights.prior is None:
        return False
    largest_mm = max(reference.diameter_mm for reference in weights.prior.references)
    flat = weights.translator.spatial_dims < region.ndim
    planes = [region[..., z] for z in np.flatnonzero(region.any(axis=(0, 1)))] if flat else [region]
    spacing_mm = spacing_mm[: planes[0].ndim]
    parts_mm = [diameter_of_voxels(int(component_voxels(plane).max()), spacing_mm) for plane in planes]
    return max(parts_mm) > MUCH_LARGER * largest_mm
