"""The schema of `pipelines/*.yaml`: every setting, its default and its meaning.

A pipeline file holds only differences from these defaults; `--set section.key=value` holds differences from the file.
Unknown keys are errors that name the nearest valid one. Method settings (`translator.*`) are checked against the
method's own config dataclass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medaug.generation.config import DCGANConfig
from medaug.training.config import TrainingConfig
from medaug.volumes import Domain, Percentiles, Window

ORGAN_MARGIN_MM = 6.0


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhantomData(Section):
    """Built-in patients, used where `data.root` is not given."""

    anatomy: Literal["head", "abdomen"] = "head"
    patients: int = Field(16, ge=2)
    seed: int = 0
    shape: tuple[int, int, int] = (96, 96, 24)
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 5.0)


class DataConfig(Section):
    """What is read, and the grid all later stages work on."""

    root: Path | None = Field(None, description="folder or datalist JSON; none: phantoms")
    layout: str = Field("auto", description="auto, brats, kaggle-lgg, msd, datalist or images-labels")
    sequence: str | int | None = Field(None, description="which sequence or channel, by name or index")
    modality: Literal["MR", "CT"] = "MR"
    window_hu: tuple[float, float] = Field((-160.0, 240.0), description="CT only: mapped to [-1, 1]")
    tumor_labels: tuple[int, ...] | None = Field(None, description="label values that are tumor; none: all above 0")
    known_labels: tuple[int, ...] | None = Field(
        None, description="every value a label may hold; others are refused; none: any"
    )
    spatial_dims: Literal[2, 3] = 2
    grid_size: tuple[int, int] | None = Field(None, description="in-plane size to resample to; none: as stored")
    spacing_mm: tuple[float, ...] | None = Field(None, description="for pictures without spacing; none: 1 mm")
    organ_margin_mm: float = Field(ORGAN_MARGIN_MM, ge=0, description="lesions stay this far from the organ's edge")
    skip_unreadable: bool = Field(False, description="list unreadable files and go on without them")
    phantoms: PhantomData = PhantomData()

    def domain(self, name: str) -> Domain:
        """The domain of this name (healthy, tumor) with the data's modality and window."""
        window = Window(*self.window_hu, unit="HU") if self.modality == "CT" else Percentiles()
        return Domain(name, self.modality, window)


class SplitConfig(Section):
    """How many patients train and validate (a count, or a fraction below 1); the rest test."""

    train: int | float = 0.6
    validation: int | float = 0.2
    seed: int = 0


class TranslatorConfig(BaseModel):
    """The method; all other keys are its own settings (see the method's config dataclass)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str = "cyclegan"
    mask_guided: bool = True

    @property
    def method(self) -> str:
        return f"mask-guided-{self.type}" if self.mask_guided else self.type

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class CropConfig(Section):
    """Where the mask-guided translator looks, and which lesions it learns from."""

    size: tuple[int, ...] = Field((48, 48), description="voxels; the third axis for 3-D")
    min_diameter_mm: float = Field(5.0, gt=0)
    healthy: Literal["anywhere", "tumor-free"] = Field(
        "anywhere", description="healthy crops: any place without tumor, or tumor-free slices at the tumors' levels"
    )
    level_tolerance: float = Field(0.1, description="how far from a tumor's relative slice level 'tumor-free' may go")


class SynthesisConfig(Section):
    """How many paired examples are written."""

    insertions: int = Field(200, ge=0)
    removals: int = Field(20, ge=0, description="pseudo-healthy counterparts of real tumors")
    lesions: tuple[int, int] = Field((1, 1), description="least and most lesions a case")
    size_mm: tuple[float, float] | None = Field(None, description="diameters; none: the training fold's")
    shape: Literal["bank", "blob", "mixed"] = "bank"
    seed: int = 0
    workers: int = Field(1, ge=0)


class AuditConfig(Section):
    """The look at realism on patients the GAN never saw."""

    lesions: int = Field(150, ge=0, description="insertions into held-out patients for the probe")
    seed: int = 0


class EvaluationConfig(Section):
    """The downstream experiment: the same network, equal updates, with and without synthetic cases."""

    arms: tuple[str, ...] = ("standard", "standard+gan")
    seeds: tuple[int, ...] = (0, 1, 2)
    synthetic_ratio: float = Field(0.5, ge=0, le=1, description="part of a batch that is synthetic in GAN arms")
    patients: Literal["test", "validation"] = "test"
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    updates: int = Field(800, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    patch_size: tuple[int, ...] | None = Field(None, description="3-D only: size of training patches")
    tolerance_mm: float = Field(2.0, gt=0, description="of the normalised surface distance")
    workers: int = Field(1, ge=0)


class PipelineConfig(Section):
    """One pipeline: split → train → synthesize → audit → evaluate → report."""

    name: str = "medaug"
    domain: Literal["tumor", "ct"] = "tumor"
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    translator: TranslatorConfig = TranslatorConfig()
    gan: DCGANConfig = DCGANConfig()
    crop: CropConfig = CropConfig()
    training: TrainingConfig = TrainingConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    audit: AuditConfig = AuditConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineConfig:
        dims = self.data.spatial_dims
        if self.translator.mask_guided and len(self.crop.size) != dims:
            raise ValueError(f"crop.size has {len(self.crop.size)} axes, data.spatial_dims is {dims}")
        return self
