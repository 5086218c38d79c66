"""What the GAN sees, learns and makes: the sections `translator`, `crop`, `pairing`, `segmenter` and `synthesis`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from medaug.settings import Count, LeastAndMost, Samples, Section, Seed, SpacingMm, Values, Voxels, Width, Workers

LesionCount = Annotated[int, Field(ge=1, le=100)]
LesionCounts = Annotated[tuple[LesionCount, LesionCount], LeastAndMost]
SizesMm = Annotated[tuple[SpacingMm, SpacingMm], LeastAndMost]
SEGMENTER_TERMS = ("segmentation_weight", "round_trip_weight", "label_input")
"""Settings of a translator that look through a frozen segmenter."""


def segmenter_terms(settings: Values) -> list[str]:
    """Those that these settings of a translator ask for."""
    return [term for term in SEGMENTER_TERMS if settings.get(term, 0) > 0]


class TranslatorConfig(BaseModel):
    """The method; all other keys are its own settings (see the method's config dataclass)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = "cyclegan"
    mask_guided: bool = True
    warm_start: Path | None = Field(
        None,
        exclude_if=lambda folder: folder is None,
        description="weights folder of the same method and sizes that "
        "the generators start from (discriminators start anew)",
    )

    @property
    def method(self) -> str:
        return f"mask-guided-{self.type}" if self.mask_guided else self.type

    @property
    def settings(self) -> Values:
        return dict(self.model_extra or {})


class CropConfig(Section):
    """What the translator sees at once, and which lesions it learns from."""

    size: tuple[Voxels, ...] | None = Field(
        None,
        min_length=2,
        max_length=3,
        description="voxels by axis (not given: 48 × 48, 3-D 32 × 32 × 16); null: whole images, which is what "
        "domain ct reads in 2-D if nothing is given",
    )
    overlap: float = Field(0.5, ge=0, lt=1, description="domain ct, in use: of neighbouring windows, as a fraction")
    min_diameter_mm: float = Field(5.0, gt=0, le=1000)
    references: Count | None = Field(
        None, description="training lesions that weights keep, drawn alike from all; none: as many as 1 GiB holds"
    )
    healthy: Literal["anywhere", "tumor-free"] = Field(
        "anywhere", description="healthy crops: any place without tumor, or tumor-free slices at the tumors' levels"
    )
    level_tolerance: float = Field(
        0.1, ge=0, le=1, description="how far from a tumor's relative slice level 'tumor-free' may go"
    )


class PairingConfig(Section):
    """Two domains only: which training patients count as registered pairs, and how the others' images are drawn."""

    paired: NonNegativeInt | Literal["all"] | None = Field(
        None, description="how many patients (drawn by seed), or all; none: all for pix2pix and regression, 0 otherwise"
    )
    share: float = Field(0.5, gt=0, le=1, description="part of the samples that are pairs, where there are both kinds")
    tumor_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="part of the unpaired images of either domain that show something labelled; in "
        "the target what a network trained on data sees; none: all images alike",
    )
    seed: Seed = 0


class SegmenterConfig(Section):
    """The frozen network that judges images, trained on real training labels alone.

    Read by `medaug audit` and `synthesis.gate`, and between two domains by `translator.segmentation_weight`.
    """

    updates: Count = 300
    batch_size: Samples = 8
    channels: tuple[Width, ...] = Field((16, 32, 64), min_length=3, max_length=12)
    learning_rate: float = Field(1e-3, gt=0, le=10)


class SynthesisConfig(Section):
    """How many paired examples are written; `lesions`, `size_mm` and `shape` also of what is inserted online."""

    insertions: int = Field(200, ge=0, le=10**7)
    removals: int = Field(20, ge=0, le=10**7, description="pseudo-healthy counterparts of real tumors")
    lesions: LesionCounts = Field((1, 1), description="least and most lesions a case")
    size_mm: SizesMm | None = Field(None, description="diameters; none: the training fold's")
    shape: Literal["bank", "blob", "mixed"] = "bank"
    gate: float | None = Field(
        None,
        ge=0,
        le=1,
        description="least agreement (Dice around the lesions) of a frozen segmenter with a written "
        "case, or else it is drawn again; null: all are written",
    )
    styles: int = Field(4, ge=1, le=1000, description="domain ct: translations a scan, by methods that know styles")
    seed: Seed = 0
    workers: Workers = 1
