"""The section `audit`: what is looked at on held-out patients, and from where on an audit warns or fails.

The reasons for the limits are in docs/audits.md.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from medaug.settings import Section, Seed


class LimitConfig(Section):
    """Beyond `warn` an audit warns, beyond `fail` it fails; a limit itself still passes."""

    warn: float
    fail: float


class LimitsConfig(Section):
    """By audit."""

    outside: LimitConfig = Field(LimitConfig(warn=0, fail=0), description="voxels changed outside the mask")
    unchanged: LimitConfig = Field(LimitConfig(warn=0.02, fail=0.1), description="share of insertions without effect")
    lost: LimitConfig = Field(
        LimitConfig(warn=0.2, fail=0.5), description="share of inserted lesions not found, above that of real ones"
    )
    gained: LimitConfig = Field(LimitConfig(warn=0.1, fail=0.3), description="findings beside the mask, an image")
    null_shortcut: LimitConfig = Field(LimitConfig(warn=0.75, fail=0.9), description="AUC of null against untouched")
    shortcut: LimitConfig = Field(LimitConfig(warn=0.75, fail=0.95), description="AUC of inserted against real")
    steganography: LimitConfig = Field(LimitConfig(warn=1.5, fail=3), description="cycle error with over without noise")
    seams: LimitConfig = Field(LimitConfig(warn=1.5, fail=2.5), description="steps at the border over those of real")
    checkerboard: LimitConfig = Field(LimitConfig(warn=3, fail=10), description="energy at the stride's frequencies")
    lesion_size: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, by that of real with real")
    lesion_contrast: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    lesion_location: LimitConfig = Field(LimitConfig(warn=1, fail=1.5), description="distance, as in lesion_size")
    memorisation: LimitConfig = Field(LimitConfig(warn=0.15, fail=0.3), description="share of copied training lesions")
    diversity: LimitConfig = Field(LimitConfig(warn=1, fail=0.7), description="difference, by that of real with real")
    diversity_in_one_place: LimitConfig = Field(
        LimitConfig(warn=0.2, fail=0.05), description="difference by seed or style, by that of two real lesions"
    )
    frechet: LimitConfig = Field(LimitConfig(warn=1, fail=2), description="squared distance, by that of real with real")

    @model_validator(mode="before")
    @classmethod
    def _partly_given(cls, values: Any) -> Any:
        """One limit given alone leaves the other at its default."""
        if not isinstance(values, dict):
            return values
        return {
            name: cls.model_fields[name].default.model_dump() | given
            if name in cls.model_fields and isinstance(given, dict)
            else given
            for name, given in values.items()
        }


class AuditConfig(Section):
    """The look at patients the GAN never saw."""

    lesions: int = Field(
        150, ge=0, le=10**6, description="insertions into held-out patients for the probe and the audits"
    )
    volumes: int = Field(
        8, ge=0, le=10**4, description="insertions into whole held-out volumes, for the look across slices"
    )
    noise: float = Field(
        0.02, gt=0, le=2, description="standard deviation of the noise on a fake, in window units [-1, 1]"
    )
    limits: LimitsConfig = LimitsConfig()
    seed: Seed = 0
