"""Which audits there are, in the order in which they are done and shown; a new one is one line here.

An audit looks at `Material` and is told its limits; it answers with a `Finding` and, unless it was skipped, a picture
(PNG). Its name is that of its limits in `audit.limits` and of `audit/<name>.png`.
"""

from __future__ import annotations

from collections.abc import Callable

from medaug.quality.audits import Finding, Limits
from medaug.stages.audits import behaviour, distributions
from medaug.stages.audits.material import Material
from medaug.stages.config import PipelineConfig
from medaug.stages.runs import RunDir

Look = Callable[[Material, Limits], tuple[Finding, bytes | None]]

AUDITS: dict[str, Look] = {
    "outside": behaviour.outside,
    "unchanged": behaviour.unchanged,
    "lost": behaviour.lost,
    "gained": behaviour.gained,
    "null_shortcut": behaviour.null_shortcut,
    "shortcut": behaviour.shortcut,
    "steganography": behaviour.steganography,
    "seams": behaviour.seams,
    "checkerboard": behaviour.checkerboard,
    "lesion_size": distributions.lesion_size,
    "lesion_contrast": distributions.lesion_contrast,
    "lesion_location": distributions.lesion_location,
    "memorisation": distributions.memorisation,
    "diversity": distributions.diversity,
    "diversity_in_one_place": distributions.diversity_in_one_place,
    "frechet": distributions.frechet,
    "frechet_radiomics": distributions.frechet_radiomics,
    "kernel": distributions.kernel,
}


def audits_of(config: PipelineConfig, run: RunDir) -> tuple[Material, dict[str, Look]]:
    """What a run's audits are given, and which there are for its domain."""
    return Material(config, run), AUDITS
