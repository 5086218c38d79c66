"""Which values of a label are tumor, and which of them a new tumor gets: what transforms read, write and leave.

Weights know which values were tumor in the labels that they learnt from, and which others there were (organs). Where
the labels held an organ beside one kind of tumor, that kind's value is a new tumor's. Where they held tumors alone, so
does a label of one value, whatever it is; one of several is refused unless their sizes tell: no value is the tumor's
whose parts are far larger than any lesion the weights know.

Weights of tumors with parts (edema, core, ...) know the values of each, and label a new tumor's parts by the first.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import component_voxels, diameter_of_voxels
from medaug.models.weights import Weights
from medaug.transforms.label_forms import ENCODED, REGIONS

log = logging.getLogger(__name__)

TumorLabels = int | Sequence[int] | Mapping[str, int | Sequence[int]] | Literal["parts", "regions"]
"""Of a tumor of one part, its values, a new tumor's first; else by part: its name and values, or one value each; or
the form that a label of several channels has (`label_forms`)."""
Parts = tuple[tuple[int, ...], ...]
"""By part the label's values, a new tumor's first."""

MUCH_LARGER = 1.5
"""Times the largest lesion that the weights know, from which on a part is an organ."""


def checked_labels(given: TumorLabels | None, weights: Weights) -> Parts | None:
    """`tumor_labels` of a transform, by part of the tumors that these weights know.

    Raises:
        ConfigError: if there is none in it, one that is not above 0, or other parts than the weights'.
    """
    if given is None:
        return None
    names = tuple(weights.facts.parts)
    if isinstance(given, str):
        if given not in ENCODED or not names or (given == "regions" and {*names} != REGIONS["WT"]):
            forms = "'parts', or for the parts edema, core and enhancing 'regions'"
            raise ConfigError(
                f"tumor_labels: found {given!r} with weights of the part(s) {', '.join(names) or 'tumor'}; expected "
                f"label values, or of several parts {forms}"
            )
        return None
    if isinstance(given, Mapping):
        if set(given) != set(names):
            known = ", ".join(names) or "no parts: give the values alone"
            raise ConfigError(
                f"tumor_labels: found the parts {', '.join(given)}; expected those of the weights, {known}"
            )
        parts = [given[name] for name in names]
    else:
        values = [given] if isinstance(given, int) else list(given)
        if names and len(values) != len(names):
            raise ConfigError(
                f"tumor_labels: found {len(values)} value(s); expected one for each part of the weights' tumors, "
                f"{', '.join(names)}, or a dict with these names"
            )
        parts = list(values) if names else [values]
    checked = tuple(tuple(map(int, [part] if isinstance(part, int) else part)) for part in parts)
    if not all(part and min(part) >= 1 for part in checked):
        raise ConfigError(f"tumor_labels: found {given}; expected label values above 0, a new tumor's first")
    return checked


def tumor_values(label: np.ndarray | None, weights: Weights, given: Parts | None, spacing_mm: Sequence[float]) -> Parts:
    """The values that are tumor in this label (*S), by part.

    Args:
        label: values as they are; None where a new one is begun.
        given: what the user says, which counts.
        spacing_mm: of the label.

    Raises:
        DataError: if nobody says which of several they are.
    """
    if given is not None:
        return given
    if weights.facts.parts:
        _check_known(label, weights)
        return tuple(weights.facts.parts.values())
    learnt, others = weights.facts.tumor_labels, weights.facts.other_labels
    if learnt and others:
        return (learnt,)
    found = [] if label is None else [int(value) for value in np.unique(label) if value > 0]
    if len(found) < 2:
        return (tuple(found) or (1,),)
    if len(learnt) > 1 and {*found} <= {*learnt}:
        return (learnt,)
    assert label is not None
    small = [value for value in found if not _is_an_organ(label == value, weights, spacing_mm)]
    if len(small) != 1:
        raise DataError(_question(found))
    _say_once(
        f"label: of the values {', '.join(map(str, found))}, {small[0]} is taken for the tumor: the others are far "
        f"larger than any lesion these weights know. tumor_labels={small[0]} says so for good, also where there is one "
        "value alone."
    )
    return ((small[0],),)


def new_values(label: np.ndarray | None, parts: Parts, given: Parts | None) -> tuple[int, ...]:
    """By part, the value that a new tumor gets.

    Raises:
        DataError: if a tumor of one part has several values in the label, or none, and the user says nothing.
    """
    if given is not None or len(parts) > 1 or len(parts[0]) == 1 or label is None:
        return tuple(values[0] for values in parts)
    there = [value for value in parts[0] if (label == value).any()]
    if len(there) == 1:
        return (there[0],)
    raise DataError(_question(parts[0]))


def numbers_of(label: np.ndarray, parts: Parts) -> np.ndarray:
    """Part numbers (*S) uint8 of a label's values; 0 where they are no tumor's."""
    numbers = np.zeros(label.shape, dtype=np.uint8)
    for number, values in enumerate(parts, start=1):
        numbers[np.isin(label, values)] = number
    return numbers


def with_tumor(classes: np.ndarray, numbers: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Label values (*S) with each part's value where `numbers` has its part number."""
    marked, new = classes.copy(), numbers > 0
    marked[new] = np.array((0, *values))[numbers[new].astype(np.uint8)]
    return marked


def healed(classes: np.ndarray, tumors: np.ndarray, replaced: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Label values (*S) that have in `replaced` what lies nearest outside of `tumors` (bool): the organ, or 0."""
    values = classes.copy()
    others = np.where(tumors, 0, values)
    if others.any():
        nearest = ndimage.distance_transform_edt(
            tumors, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        others = others[tuple(nearest)]
    values[replaced] = others[replaced]
    return values


def _check_known(label: np.ndarray | None, weights: Weights) -> None:
    """Refuses a label with values that the weights' training labels did not have, where tumors have parts.

    Raises:
        DataError: naming them.
    """
    parts = weights.facts.parts
    known = {0, *weights.facts.other_labels, *(value for values in parts.values() for value in values)}
    unknown = [] if label is None else [f"{value:g}" for value in np.unique(label) if value not in known]
    if unknown:
        listed = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in parts.items())
        example = {name: values[0] for name, values in parts.items()}
        raise DataError(
            f"label: found the value(s) {', '.join(unknown)}; expected those of the weights' training labels, {listed}."
            f" Say which values are which part, tumor_labels={example} for example; others are then left as they are."
        )


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
