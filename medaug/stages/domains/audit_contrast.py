"""Whether what is labelled still stands out: its contrast to the surroundings, real, translated, and in the target.

In window units [-1, 1], each image in its own window; see `quality.contrast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from medaug.audits.audit_scans import Scan
from medaug.audits.measures.lesions import lesion_statistics
from medaug.errors import DataError


class Contrasts(NamedTuple):
    """Of one patient: class → mean over the scans that hold it; and case → why it could not be measured."""

    by_class: dict[str, float]
    left_out: dict[str, str]


def contrasts_of(scans: Sequence[Scan], class_names: Sequence[str]) -> Contrasts:
    """Mean of the labelled region minus mean of its surroundings (2 to 8 mm around it, inside the body)."""
    values: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for scan in scans:
        for number, name in enumerate(class_names, start=1):
            region = scan.classes == number
            if not region.any():
                continue
            try:
                found = lesion_statistics(scan.normalized, region, scan.spacing_mm, organ=scan.body)
                values.setdefault(name, []).append(found["contrast"])
            except DataError as error:
                left_out[scan.case] = str(error)
    return Contrasts({name: float(np.mean(numbers)) for name, numbers in values.items()}, left_out)
