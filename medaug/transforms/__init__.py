"""Tumor insertion, replacement, growth and removal, and translation between two kinds of image, as MONAI transforms.

Array transforms (`FindOrgan`, `InsertTumor`, `RandInsertTumor`, `RandReplaceTumor`, `GrowTumor`, `RemoveTumor`,
`RandRemoveTumor`, `TranslateDomain`, `SynthesizeCT`, `RandTranslateDomain`) and their dictionary twins with a trailing
d / D / Dict, as MONAI names them. `BatchInsertTumor` inserts into a batch, after the loader.
"""

from medaug.transforms.array import FindOrgan, InsertTumor, RandInsertTumor
from medaug.transforms.batch import BatchInsertTumor
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
    RandReplaceTumorD,
    RandReplaceTumord,
    RandReplaceTumorDict,
    RemoveTumorD,
    RemoveTumord,
    RemoveTumorDict,
)
from medaug.transforms.growth import GrowTumor
from medaug.transforms.random_translation import RandTranslateDomain
from medaug.transforms.removal import RandRemoveTumor, RandReplaceTumor, RemoveTumor
from medaug.transforms.translation import SynthesizeCT, TranslateDomain
from medaug.transforms.translation_dictionary import (
    RandTranslateDomainD,
    RandTranslateDomaind,
    RandTranslateDomainDict,
    SynthesizeCTD,
    SynthesizeCTd,
    SynthesizeCTDict,
    TranslateDomainD,
    TranslateDomaind,
    TranslateDomainDict,
)

__all__ = [
    "BatchInsertTumor",
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
    "RandReplaceTumor",
    "RandReplaceTumorD",
    "RandReplaceTumorDict",
    "RandReplaceTumord",
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
