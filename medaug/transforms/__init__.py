"""Tumor insertion, growth and removal, and translation between two kinds of image, as MONAI transforms.

Array transforms (`FindOrgan`, `InsertTumor`, `RandInsertTumor`, `GrowTumor`, `RemoveTumor`, `RandRemoveTumor`,
`TranslateDomain`, `SynthesizeCT`, `RandTranslateDomain`) and their dictionary twins with a trailing d / D / Dict, as
MONAI names them.
"""

from medaug.transforms.array import FindOrgan, InsertTumor, RandInsertTumor, RandRemoveTumor, RemoveTumor
from medaug.transforms.dictionary import (
    FindOrganD,
    FindOrgand,
    FindOrganDict,
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
    RandTranslateDomainD,
    RandTranslateDomaind,
    RandTranslateDomainDict,
    RemoveTumorD,
    RemoveTumord,
    RemoveTumorDict,
    SynthesizeCTD,
    SynthesizeCTd,
    SynthesizeCTDict,
    TranslateDomainD,
    TranslateDomaind,
    TranslateDomainDict,
)
from medaug.transforms.growth import GrowTumor
from medaug.transforms.random_translation import RandTranslateDomain
from medaug.transforms.translation import SynthesizeCT, TranslateDomain

__all__ = [
    "FindOrgan",
    "FindOrganD",
    "FindOrganDict",
    "FindOrgand",
    "GrowTumor",
    "GrowTumorD",
    "GrowTumorDict",
    "GrowTumord",
    "InsertTumor",
    "InsertTumorD",
    "InsertTumorDict",
    "InsertTumord",
    "RandInsertTumor",
    "RandInsertTumorD",
    "RandInsertTumorDict",
    "RandInsertTumord",
    "RandRemoveTumor",
    "RandRemoveTumorD",
    "RandRemoveTumorDict",
    "RandRemoveTumord",
    "RandTranslateDomain",
    "RandTranslateDomainD",
    "RandTranslateDomainDict",
    "RandTranslateDomaind",
    "RemoveTumor",
    "RemoveTumorD",
    "RemoveTumorDict",
    "RemoveTumord",
    "SynthesizeCT",
    "SynthesizeCTD",
    "SynthesizeCTDict",
    "SynthesizeCTd",
    "TranslateDomain",
    "TranslateDomainD",
    "TranslateDomainDict",
    "TranslateDomaind",
]
