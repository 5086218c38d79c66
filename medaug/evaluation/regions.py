"""Regions: unions of classes that a network outlines and is scored by, such as whole tumor, core and enhancing.

They may overlap, and are told by a sigmoid each (nnU-Net's "region-based training", Isensee 2021, Nat Methods 18:203).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from medaug.errors import ConfigError

C = TypeVar("C", int, str)


def class_of_each(regions: Sequence[Sequence[C]], classes: Sequence[C]) -> tuple[C, ...]:
    """By region, the class that it adds to those after it, as in nnU-Net's `regions_class_order`.

    Regions are written into a label one after the other: edema wherever the whole tumor is, then core in the core, then
    enhancing. A voxel so gets the class of the last region that holds it.

    Args:
        regions: the classes of each, by number or by name.
        classes: all that there are.

    Raises:
        ConfigError: if the regions do not tell every class from all others in this way.
    """
    added: list[list[C]] = []
    for number, region in enumerate(regions):
        later = {held for other in regions[number + 1 :] for held in other}
        added.append([held for held in region if held not in later])
    if [len(own) for own in added] != [1] * len(classes) or sorted(own[0] for own in added) != sorted(classes):
        found = "; ".join(", ".join(map(str, region)) for region in regions)
        raise ConfigError(
            f"regions: found {found}; expected regions that can be brought back to the {len(classes)} classes "
            f"{', '.join(map(str, classes))}: as many regions, the largest first, each with one class that no region "
            "after it holds, such as {whole: [edema, core, enhancing], core: [core, enhancing], enhancing: "
            "[enhancing]}. Change their order, name the missing ones, or join classes in data.tumor."
        )
    return tuple(own[0] for own in added)
