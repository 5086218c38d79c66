"""Tumor insertion, growth and removal as MONAI transforms.

Array transforms (`InsertTumor`, `RandInsertTumor`, `GrowTumor`, `RemoveTumor`, `RandRemoveTumor`) and their dictionary
twins with a trailing d / D / Dict, as MONAI names them.
"""

from medaug.transforms.array import InsertTumor, RandInsertTumor, RandRemoveTumor, RemoveTumor
from medaug.transforms.dictionary import (
    GrowTumorD,
    GrowTumord,
    GrowTumorDict,
    InsertTumorD,
    InsertTumord,
    InsertTumorDict,
    RandInsertTumorD,
    RandInsertTumord,
    RandInsertTumorDict,
    RandRemoveTumorD,
    RandRemoveTumord,
    RandRemoveTumorDict,
    RemoveTumorD,
    RemoveTumord,
    RemoveTumorDict,
)  # fmt: skip
from medaug.transforms.growth import GrowTumor

__all__ = [
    "GrowTumor", "GrowTumorD", "GrowTumorDict", "GrowTumord",
    "InsertTumor", "InsertTumorD", "InsertTumorDict", "InsertTumord",
    "RandInsertTumor", "RandInsertTumorD", "RandInsertTumorDict", "RandInsertTumord",
    "RandRemoveTumor", "RandRemoveTumorD", "RandRemoveTumorDict", "RandRemoveTumord",
    "RemoveTumor", "RemoveTumorD", "RemoveTumorDict", "RemoveTumord",
]  # fmt: skip
