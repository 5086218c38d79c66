"""The arms of a downstream experiment: what the same network trains on, and through which augmentation.

Every arm but `none` ends with the standard augmentation; the cheap rivals of a GAN come before it. A new arm is one
line in `ARMS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.transforms import Compose

from medaug.errors import ConfigError
from medaug.evaluation.samples import Source, standard_augmentation
from medaug.transforms.baselines import build_baseline

REFERENCE = "standard"


@dataclass(frozen=True)
class Arm:
    """One way to train the downstream network.

    Attributes:
        standard: whether the standard augmentation is applied (last).
        synthetic: whether a share of the samples is synthetic.
        baseline: the cheap augmentation (see `transforms.baselines`) applied first.
        target: whether it trains on the target domain with its own labels, which only a ceiling may do.
    """

    standard: bool = True
    synthetic: bool = False
    baseline: str | None = None
    target: bool = False

    def augmentation(self, spatial_dims: int, real: Source, target: Source | None) -> Compose:
        """What samples {"image", "label"} go through.

        Args:
            real: the labelled training views: what is pasted from.
            target: the training views of the other domain, used without labels: whose histograms are matched.
        """
        steps: list[Any] = []
        if self.baseline is not None:
            steps.append(build_baseline(self.baseline, bank=_Bank(real), references=_Images(target or real)))
        if self.standard:
            steps.append(standard_augmentation(spatial_dims))
        return Compose(steps)


ARMS: dict[str, Arm] = {
    "none": Arm(standard=False),
    REFERENCE: Arm(),
    "strong-intensity": Arm(baseline="strong-intensity"),
    "histogram-match": Arm(baseline="histogram-match"),
    "copy-paste": Arm(baseline="copy-paste"),
    "carvemix": Arm(baseline="carvemix"),
    "cutmix": Arm(baseline="cutmix"),
    "gan": Arm(standard=False, synthetic=True),
    "standard+gan": Arm(synthetic=True),
    "gan+copy-paste": Arm(synthetic=True, baseline="copy-paste"),
    "gan+strong-intensity": Arm(synthetic=True, baseline="strong-intensity"),
    "target-labels": Arm(target=True),
}


def check_arms(names: Sequence[str], *, two_domains: bool, classes: int = 1) -> None:
    """Refuses arms that do not exist, or not here, or not for so many classes.

    Raises:
        ConfigError: naming them, and those that do.
    """
    possible = [name for name, arm in ARMS.items() if two_domains or not arm.target]
    unknown = [name for name in names if name not in possible]
    if unknown:
        raise ConfigError(f"evaluation.arms: found {', '.join(unknown)}; expected some of: {', '.join(possible)}")
    pasting = [name for name in names if ARMS[name].baseline == "copy-paste"]
    if pasting and classes > 1:
        raise ConfigError(
            f"evaluation.arms: found {', '.join(pasting)} with {classes} classes; copy-paste knows one: leave it out"
        )


class _Bank(Sequence):
    """Views with something labelled, read when asked for: {"image": (1, *S) in [-1, 1], "label": (1, *S)}."""

    def __init__(self, source: Source):
        self.source = Source([view for view in source.views if view.tumor_voxels], source.folder)

    def __len__(self) -> int:
        return len(self.source.views)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        view, folder = self.source.views[index], self.source.folder
        return {"image": view.normalized(folder), "label": view.classes(folder)[None].astype(np.float32)}


class _Images(Sequence):
    """Views read when asked for, (1, *S) in [-1, 1]."""

    def __init__(self, source: Source):
        self.source = source

    def __len__(self) -> int:
        return len(self.source.views)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        return self.source.views[index].normalized(self.source.folder)
