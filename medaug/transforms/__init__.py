"""Tumor insertion and removal as MONAI transforms.

Array transforms (`InsertTumor`, `RandInsertTumor`, `RemoveTumor`, `RandRemoveTumor`) and their dictionary twins with a
trailing d / D / Dict, as MONAI names them.
"""

from medaug.transforms.array import InsertTumor, RandInsertTumor, RandRemoveTumor, RemoveTumor
from medaug.transforms.dictionary import (
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

__all__ = [
    "InsertTumor", "InsertTumorD", "InsertTumorDict", "InsertTumord",
    "RandInsertTumor", "RandInsertTumorD", "RandInsertTumorDict", "RandInsertTumord",
    "RandRemoveTumor", "RandRemoveTumorD", "RandRemoveTumorDict", "RandRemoveTumord",
    "RemoveTumor", "RemoveTumorD", "RemoveTumorDict", "RemoveTumord",
]  # fmt: skip
