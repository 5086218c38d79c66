"""The cheap rivals of a GAN, as MONAI transforms; a GAN that does not beat them has not earned its place.

All act on {"image": (C, *S) in [-1, 1], "label": (1, *S)} in 2-D and 3-D. `BASELINES` has them by arm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.transforms import MapTransform

from medaug.errors import ConfigError
from medaug.transforms.baselines.appearance import (
    RandConvolutions,
    RandConvolutionsD,
    RandConvolutionsd,
    RandConvolutionsDict,
    RandHistogramMatch,
    RandHistogramMatchD,
    RandHistogramMatchd,
    RandHistogramMatchDict,
    random_convolutions,
)
from medaug.transforms.baselines.base import Bank
from medaug.transforms.baselines.mixing import (
    RandCarveMix,
    RandCarveMixD,
    RandCarveMixd,
    RandCarveMixDict,
    RandCutMix,
    RandCutMixD,
    RandCutMixd,
    RandCutMixDict,
)
from medaug.transforms.baselines.pasting import (
    RandCopyPasteTumor,
    RandCopyPasteTumorD,
    RandCopyPasteTumord,
    RandCopyPasteTumorDict,
)

__all__ = [
    "BASELINES",
    "RandCarveMix",
    "RandCarveMixD",
    "RandCarveMixDict",
    "RandCarveMixd",
    "RandCopyPasteTumor",
    "RandCopyPasteTumorD",
    "RandCopyPasteTumorDict",
    "RandCopyPasteTumord",
    "RandCutMix",
    "RandCutMixD",
    "RandCutMixDict",
    "RandCutMixd",
    "RandHistogramMatch",
    "RandHistogramMatchD",
    "RandHistogramMatchDict",
    "RandHistogramMatchd",
    "RandConvolutions",
    "RandConvolutionsD",
    "RandConvolutionsDict",
    "RandConvolutionsd",
    "build_baseline",
    "random_convolutions",
]

BASELINES: dict[str, Callable[..., MapTransform]] = {
    "strong": RandConvolutionsd,
    "histogram-match": RandHistogramMatchd,
    "copy-paste": RandCopyPasteTumord,
    "carvemix": RandCarveMixd,
    "cutmix": RandCutMixd,
}
NEEDS = {"histogram-match": "references", "copy-paste": "bank", "carvemix": "bank", "cutmix": "bank"}
"""What an arm is made from besides the sample itself."""


def build_baseline(
    name: str,
    *,
    prob: float = 0.5,
    bank: Bank | None = None,
    references: Sequence[Any] | None = None,
    tumor_labels: Sequence[int] | None = None,
    strictly_inside: bool = False,
) -> MapTransform:
    """The transform of this arm, on the keys "image" and "label" ("organ" where a case has it).

    Args:
        bank: cases of the training patients, for the arms that paste.
        references: images, for `histogram-match`.
        tumor_labels: the label values that are tumor, one a part, for `copy-paste`, which moves tumors alone.
        strictly_inside: whether what the arms that paste bring has to lie in the case's organ, to the voxel.

    Raises:
        ConfigError: if there is no such arm, or it lacks what it needs.
    """
    if name not in BASELINES:
        raise ConfigError(f"baseline: found {name!r}; expected one of {', '.join(BASELINES)}")
    need = NEEDS.get(name)
    if need is None:
        return BASELINES[name]("image", prob=prob)
    given = {"bank": bank, "references": references}[need]
    if given is None:
        raise ConfigError(f"{name}: found no {need}; expected the training patients' {need}")
    options: dict[str, Any] = {"strictly_inside": strictly_inside} if need == "bank" else {}
    options |= {"tumor_labels": tumor_labels} if name == "copy-paste" else {}
    return BASELINES[name]("image", given, prob=prob, **options)
