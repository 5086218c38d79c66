"""The schema of `pipelines/*.yaml`: every setting, its default and its meaning.

A pipeline file holds only differences from these defaults; `--set section.key=value` holds differences from the file.
Unknown keys are errors that name the nearest valid one. Method settings (`translator.*`) are checked against the
method's own config dataclass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from medaug.config.arms import ArmName, OwnArmConfig
from medaug.config.audits import AuditConfig
from medaug.config.benchmark import BenchmarkConfig
from medaug.config.data import DataConfig
from medaug.config.two_domains import with_two_domains
from medaug.models.noise.config import DCGANConfig
from medaug.settings import Count, Samples, Section, Seed, SpacingMm, Voxels, Width, Workers
from medaug.training.config import TrainingConfig

DEFAULT_CROP = {2: (48, 48), 3: (32, 32, 16)}


Patients = Annotated[int, Field(ge=0, le=10**6)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SplitConfig(Section):
    """How many patients train and validate (a count, or a fraction below 1); the rest test.

    With folds every patient is tested once: `medaug run` goes through all folds and pools their scores. With a file
    nothing is drawn but `labelled`.
    """

    file: Path | None = Field(
        None,
        exclude_if=lambda file: file is None,
        description='a split of your own: {"train": [patient, ...], '
        '"validation": [...], "test": [...]}, or nnU-Net\'s splits_final.json with split.fold (its `val` is tested)',
    )
    train: Patients | Share = Field(0.6, gt=0)
    validation: Patients | Share = 0.2
    labelled: PositiveInt | None = Field(
        None,
        le=10**6,
        description="only so many of the training patients, drawn by seed; the others are unused; none: all",
    )
    seed: Seed = 0
    folds: int | None = Field(
        None, ge=2, le=1000, description="parts; one tests, all others but split.validation train"
    )
    fold: NonNegativeInt | None = Field(None, description="only this part, counted from 0; none: all, one by one")

    @model_validator(mode="after")
    def _fits(self) -> SplitConfig:
        outside = self.fold is not None and self.folds is not None and self.fold >= self.folds
        if outside or (self.fold is not None and self.folds is None and self.file is None):
            found = f"split.fold: found {self.fold} with split.folds {self.folds}"
            raise ValueError(f"{found}; expected a fold from 0 to split.folds - 1: set split.folds, or leave it out")
        drawn, given = self.folds is not None and self.file is None, "train" in self.model_fields_set
        if drawn and given and self.train != SplitConfig().train:
            raise ValueError("split.train and split.folds exclude each other: with folds, all other patients train")
        return self


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
    def settings(self) -> dict[str, Any]:
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
    healthy: Literal["anywhere", "tumor-free"] = Field(
        "anywhere", description="healthy crops: any place without tumor, or tumor-free slices at the tumors' levels"
    )
    level_tolerance: float = Field(
        0.1, ge=0, le=1, description="how far from a tumor's relative slice level 'tumor-free' may go"
    )


class PairingConfig(Section):
    """Two domains only: which training patients count as registered pairs, and how the others' images are drawn."""

    paired: NonNegativeInt | Literal["all"] | None = Field(
        None, description="how many patients (drawn by seed), or all; none: all for pix2pix, 0 otherwise"
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
    channels: tuple[Width, ...] = Field((16, 32, 64), min_length=1, max_length=12)
    learning_rate: float = Field(1e-3, gt=0, le=10)


Lesions = Annotated[int, Field(ge=1, le=100)]


class SynthesisConfig(Section):
    """How many paired examples are written; `lesions`, `size_mm` and `shape` also of what is inserted online."""

    insertions: int = Field(200, ge=0, le=10**7)
    removals: int = Field(20, ge=0, le=10**7, description="pseudo-healthy counterparts of real tumors")
    lesions: tuple[Lesions, Lesions] = Field((1, 1), description="least and most lesions a case")
    size_mm: tuple[SpacingMm, SpacingMm] | None = Field(None, description="diameters; none: the training fold's")
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

    @field_validator("lesions", "size_mm")
    @classmethod
    def _least_and_most(cls, values: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        if values is not None and values[0] > values[1]:
            raise ValueError(f"synthesis.{info.field_name}: found {list(values)}; expected [least, most]")
        return values


class EvaluationConfig(Section):
    """The downstream experiment: the same network, equal updates, with and without synthetic cases."""

    task: Literal["segmentation", "classification", "translation", "none"] = Field(
        "segmentation",
        description="of the downstream network: outline the tumor, or tell whether there is one; "
        "domain ct: segmentation in both domains, translation (compared with registered images), or none",
    )
    arms: tuple[str, ...] = Field(
        ("standard", "standard+gan"),
        description="(not given, where nothing is inserted online, in domain ct and for "
        "classification: standard, standard+gan-offline)",
    )
    own_arms: dict[ArmName, OwnArmConfig] = Field({}, description="a user's, by name; trained after `arms`")
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    synthetic_ratio: float = Field(0.5, ge=0, le=1, description="part of a batch that is synthetic in GAN arms")
    patients: Literal["test", "validation"] = "test"
    network: Literal["unet", "segresnet", "dynunet"] = Field("unet", description="segmentation: by MONAI's name")
    channels: tuple[Width, ...] = Field(
        (16, 32, 64, 128, 256),
        min_length=2,
        max_length=12,
        description="segmentation: width of each level; segresnet: each twice the one before",
    )
    classifier_width: int = Field(
        16, ge=4, le=1024, multiple_of=4, description="classification: of the ResNet's first stage"
    )
    updates: Count = 800
    batch_size: Samples = 16
    learning_rate: float = Field(1e-3, gt=0, le=10)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    patch_size: tuple[PositiveInt, ...] | None = Field(
        None,
        description="size of training patches (whole images are segmented), and of what is classified; none: "
        "whole slices or volumes, filled up with the window's lowest value to one size where they differ",
    )
    tolerance_mm: float = Field(2.0, gt=0, le=1000, description="of the normalised surface distance")
    size_limits_mm: tuple[float, ...] = Field(
        (10.0, 20.0), description="equivalent diameters between the size classes of lesions, the smallest first"
    )
    workers: Workers = 1

    @field_validator("seeds", "arms")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError(f"evaluation.{info.field_name}: found {list(values)}; expected every one once")
        return values

    @model_validator(mode="after")
    def _sizes_rise(self) -> EvaluationConfig:
        limits = self.size_limits_mm
        if any(high <= low for low, high in zip((0.0, *limits), limits, strict=False)):
            found = ", ".join(f"{limit:g}" for limit in limits)
            raise ValueError(f"size_limits_mm: found {found}; expected diameters above 0, each larger than the last")
        return self

    @model_validator(mode="after")
    def _own_arms_are_trained(self) -> EvaluationConfig:
        arms = (*self.arms, *(name for name in self.own_arms if name not in self.arms))
        object.__setattr__(self, "arms", arms)  # the model is frozen for everyone else
        return self


class AnomalyConfig(Section):
    """How `medaug anomaly` looks for what is not healthy, and what it scores."""

    tile_mm: float | None = Field(
        None, gt=0, le=1000, description="of refilled tiles; none: the lesions' upper quartile"
    )
    passes: int = Field(
        2, ge=1, le=100, description="how often the tiles are refilled, each time from the result before"
    )
    smoothing_mm: float = Field(5.0, ge=0, le=1000, description="standard deviation of the Gaussian over the map")
    only_brighter: bool = Field(False, description="count only what is brighter than the pseudo-healthy image")
    search_steps: int = Field(
        60, ge=0, le=10**6, description="of a latent search, where the weights are of a GAN from noise"
    )
    percentile: float = Field(100.0, gt=0, le=100, description="of the map inside the organ: a slice's score")
    seed: Seed = 0


class PipelineConfig(Section):
    """One pipeline: split → train → synthesize → audit → evaluate → report.

    Domain `tumor` inserts and removes tumors; `ct` translates between two kinds of image, `data` and `target`.
    """

    name: str = "medaug"
    domain: Literal["tumor", "ct"] = "tumor"
    data: DataConfig = DataConfig()
    target: DataConfig | None = Field(None, description="domain ct: what to translate to; keys left out are as in data")
    pairing: PairingConfig = PairingConfig()
    segmenter: SegmenterConfig = SegmenterConfig()
    split: SplitConfig = SplitConfig()
    translator: TranslatorConfig = TranslatorConfig()
    gan: DCGANConfig = DCGANConfig()
    crop: CropConfig = CropConfig()
    training: TrainingConfig = TrainingConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    audit: AuditConfig = AuditConfig()
    anomaly: AnomalyConfig = AnomalyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()

    @property
    def domain_names(self) -> tuple[str, str]:
        """Of two domains: what kind of image they are; one kind in two folders goes by the folders' names."""
        a, b = self.data, self.target or self.data
        if a.kind != b.kind or a.root is None or b.root is None:
            return a.kind, b.kind
        return a.root.name, b.root.name

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        sections = isinstance(values, dict) and all(
            isinstance(values.get(key) or {}, dict) for key in ("data", "target", "translator", "crop")
        )
        return with_two_domains(values) if sections and values.get("domain") == "ct" else values

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineConfig:
        dims, guided = self.data.spatial_dims, self.translator.mask_guided
        if self.domain == "ct":
            self._check_two_domains()
            if self.evaluation.task == "classification":
                raise ValueError(
                    "evaluation.task 'classification' is for domain tumor; expected another with domain ct"
                )
        elif self.evaluation.task in ("translation", "none"):
            raise ValueError(f"evaluation.task '{self.evaluation.task}' is for two kinds of image; set domain: ct")
        elif len(self.data.class_names) > 1:
            raise ValueError(
                f"data.classes: found {', '.join(self.data.class_names)}; domain 'tumor' edits one class, "
                "the tumor: give one, or set domain: ct"
            )
        elif self.target is not None:
            raise ValueError("target is a second kind of image, which domain 'tumor' does not have; set domain: ct")
        elif not guided:
            raise ValueError(
                "translator.mask_guided: found false; expected true in domain 'tumor', which edits inside a mask and "
                "nowhere else: leave it out, or set domain: ct, which translates whole images"
            )
        elif self.data.slices > 1:
            raise ValueError(
                f"data.slices: found {self.data.slices}; expected 1 in domain 'tumor', which edits slice by slice, or "
                "with data.spatial_dims=3 in 3-D: leave it out, or set domain: ct, which translates in 2.5-D"
            )
        if "size" not in self.crop.model_fields_set and (guided or dims == 3):
            crop = self.crop.model_copy(update={"size": DEFAULT_CROP[dims]})
            object.__setattr__(self, "crop", crop)  # the model is frozen for everyone else
        if self.crop.size is None and (guided or dims == 3):
            kind = "mask-guided methods edit crops" if guided else "no network takes a whole volume"
            raise ValueError(f"crop.size: found null, but {kind}; give {dims} sizes, for example {DEFAULT_CROP[dims]}")
        if self.crop.size is not None and len(self.crop.size) != dims:
            raise ValueError(f"crop.size has {len(self.crop.size)} axes, data.spatial_dims is {dims}")
        patch = self.evaluation.patch_size
        if patch is not None and len(patch) != dims:
            raise ValueError(f"evaluation.patch_size has {len(patch)} axes, data.spatial_dims is {dims}")
        self._check_slices()
        if "arms" not in self.evaluation.model_fields_set and not self.learns_online:
            arms = self.evaluation.model_copy(update={"arms": ("standard", "standard+gan-offline")})
            object.__setattr__(self, "evaluation", arms)
        return self

    @property
    def learns_online(self) -> bool:
        """Whether synthetic samples can be made while the network of the configured task trains."""
        return self.domain == "tumor" and self.evaluation.task == "segmentation"

    def _check_two_domains(self) -> None:
        if self.translator.mask_guided:
            raise ValueError("translator.mask_guided edits tumors; domain 'ct' translates images: set it to false")
        if self.target is None:
            raise ValueError(
                "domain 'ct' translates between two kinds of image; found no second one: set target.sequence (same "
                "folder), or target.root, and target.modality where it differs"
            )
        if self.data.root is None and self.target.root is not None:
            raise ValueError("target.root is set and data.root is not; set data.root to the folder to translate from")
        for key in ("spatial_dims", "slices", "phantoms"):
            if getattr(self.target, key) != getattr(self.data, key):
                raise ValueError(f"target.{key} differs from data.{key}; the domains share it: leave it out of target")
        if self.target.class_names != self.data.class_names:
            raise ValueError(
                f"target.classes: found {', '.join(self.target.class_names)}; expected the names of data.classes, "
                f"{', '.join(self.data.class_names)}, in their order (label values may differ)"
            )
        if self.data == self.target:
            raise ValueError("target is the same as data; set target.sequence or target.root to the other kind")

    def _check_slices(self) -> None:
        slices, channels = self.data.slices, self.translator.settings.get("channels")
        if slices % 2 == 0:
            raise ValueError(f"data.slices: found {slices}; expected an odd number, the slice itself in the middle")
        if slices > 1 and self.data.spatial_dims == 3:
            raise ValueError(
                f"data.slices={slices} is for 2-D methods; leave it out, or set data.spatial_dims=2 instead of 3"
            )
        if slices > 1 and channels not in (None, slices):
            raise ValueError(f"translator.channels: found {channels}; data.slices={slices} sets it, leave it out")
