"""Which audits there are, in the order in which they are done and shown; a new one is one line here.

An audit looks at `Material` (between two kinds of image at `Translations`) and is told its limits; it answers with a
`Finding` and, unless it was skipped, a picture (PNG). Its name is that of its limits in `audit.limits` and of
`audit/<name>.png`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medaug.audits import behaviour, distributions, translations
from medaug.audits.material import Material
from medaug.audits.measures.finding import Finding, Limits
from medaug.audits.translations import Translations
from medaug.config import PipelineConfig
from medaug.runs.folder import RunDir

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
}
TRANSLATION_AUDITS: dict[str, Callable[[Translations, Limits], tuple[Finding, bytes | None]]] = {
    "steganography": translations.steganography,
    "seams": translations.seams,
    "checkerboard": translations.checkerboard,
}
"""Lesions lost and gained are counted by the evaluation of two domains (arm `target-labels`)."""


def audits_of(config: PipelineConfig, run: RunDir) -> tuple[Any, dict[str, Any]]:
    """What a run's audits are given, and which there are for its domain."""
    if config.domain == "tumor":
        return Material(config, run), AUDITS
    return Translations(config, run), TRANSLATION_AUDITS
