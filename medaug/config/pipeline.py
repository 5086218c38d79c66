"""The schema of `pipelines/*.yaml`: every setting, its default and its meaning.

A pipeline file holds only differences from these defaults; `--set section.key=value` holds differences from the file.
Unknown keys are errors that name the nearest valid one. Method settings (`translator.*`) are checked against the
method's own config dataclass.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from medaug.config.data import DataConfig, SplitConfig
from medaug.config.evaluation import REFERENCE, AnomalyConfig, AuditConfig, BenchmarkConfig, EvaluationConfig, with_gan
from medaug.config.synthesis import CropConfig, PairingConfig, SegmenterConfig, SynthesisConfig, TranslatorConfig
from medaug.devices import Compute
from medaug.evaluation.regions import class_of_each
from medaug.models.noise.config import DCGANConfig
from medaug.settings import Values
from medaug.training.config import TrainingConfig, TrainingSection

DEFAULT_CROP = {2: (48, 48), 3: (32, 32, 16)}
OF_THE_FILES = ("layout", "sequence", "sequences")
"""Keys of `data` that say nothing about the files of another folder."""
CHANNELS = ("sequence", "sequences")
"""Keys of `data` that choose the channels, of which one is given."""
MOVED = (("training", "accelerator"), ("training", "precision"), ("evaluation", "precision"))
"""Keys of sections that hold for all stages now."""
PHANTOMS_A: Values = {"sequence": "mr"}
PHANTOMS_B: Values = {"sequence": "contrast", "modality": "CT"}
PHANTOMS = {"anatomy": "abdomen", "shape": [96, 96, 24], "spacing_mm": [4.0, 4.0, 8.0]}


class PipelineConfig(Compute):
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
    training: TrainingSection = TrainingSection()
    synthesis: SynthesisConfig = SynthesisConfig()
    audit: AuditConfig = AuditConfig()
    anomaly: AnomalyConfig = AnomalyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()

    @property
    def fit_config(self) -> TrainingConfig:
        """What `fit` is told: the section `training`, and what all networks run on."""
        return TrainingConfig(**dict(self.training), accelerator=self.accelerator, precision=self.precision)

    @property
    def domain_names(self) -> tuple[str, str]:
        """What kind of image the two domains are; one kind in two folders goes by the folders' names."""
        a, b = self.data, self.target or self.data
        if a.kind != b.kind or a.root is None or b.root is None:
            return a.kind, b.kind
        return a.root.name, b.root.name

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        for section, key in MOVED:
            if isinstance(values, dict) and isinstance(own := values.get(section), dict) and key in own:
                raise ValueError(
                    f"{section}.{key}: found {own[key]!r}; expected {key} at the top of the file, for every stage. "
                    f"Write `{key}: {own[key]}` there and leave {section}.{key} out, or give --{key} {own[key]}"
                )
        sections = isinstance(values, dict) and all(
            isinstance(values.get(key) or {}, dict) for key in ("data", "target", "translator", "crop")
        )
        return with_two_domains(values) if sections and values.get("domain") == "ct" else values

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineConfig:
        if self.domain == "ct":
            self._check_translation()
        else:
            self._check_insertion()
        self._check_slices()
        self._check_regions()
        dims, guided, patch = self.data.spatial_dims, self.translator.mask_guided, self.evaluation.patch_size
        if "size" not in self.crop.model_fields_set and (guided or dims == 3):
            crop = self.crop.model_copy(update={"size": DEFAULT_CROP[dims]})
            object.__setattr__(self, "crop", crop)  # the model is frozen for everyone else
        if self.crop.size is None and (guided or dims == 3):
            kind = "mask-guided methods edit crops" if guided else "no network takes a whole volume"
            raise ValueError(f"crop.size: found null, but {kind}; give {dims} sizes, for example {DEFAULT_CROP[dims]}")
        if self.crop.size is not None and len(self.crop.size) != dims:
            raise ValueError(f"crop.size has {len(self.crop.size)} axes, data.spatial_dims is {dims}")
        if patch is not None and len(patch) != dims:
            raise ValueError(f"evaluation.patch_size has {len(patch)} axes, data.spatial_dims is {dims}")
        if "arms" not in self.evaluation.model_fields_set and not self.learns_online:
            online, written = with_gan(REFERENCE), with_gan(REFERENCE, "gan-offline")
            arms = tuple(written if name == online else name for name in self.evaluation.arms)
            object.__setattr__(self, "evaluation", self.evaluation.model_copy(update={"arms": arms}))
        return self

    @property
    def scored(self) -> dict[str, tuple[int, ...]]:
        """What a segmentation is scored by, name: class numbers: `evaluation.regions`, or else the classes."""
        classes = self.data.class_names
        regions = self.evaluation.regions or {name: (name,) for name in classes}
        return {region: tuple(classes.index(name) + 1 for name in names) for region, names in regions.items()}

    @property
    def learns_online(self) -> bool:
        """Whether synthetic samples can be made while the network of the configured task trains."""
        return self.target is None and self.evaluation.task == "segmentation"

    def _check_insertion(self) -> None:
        task, classes = self.evaluation.task, self.data.class_names
        if task in ("translation", "none"):
            raise ValueError(f"evaluation.task '{task}' is for two kinds of image; set domain: ct")
        if self.data.classes is not None and len(classes) > 1:
            raise ValueError(
                f"data.classes: found {', '.join(classes)}; domain 'tumor' edits tumors: name their parts in "
                "data.tumor, or set domain: ct"
            )
        if self.target is not None:
            raise ValueError("target is a second kind of image, which domain 'tumor' does not have; set domain: ct")
        if not self.translator.mask_guided:
            raise ValueError(
                "translator.mask_guided: found false; expected true in domain 'tumor', which edits inside a mask and "
                "nowhere else: leave it out, or set domain: ct, which translates whole images"
            )
        if self.data.slices > 1:
            raise ValueError(
                f"data.slices: found {self.data.slices}; expected 1 in domain 'tumor', which edits slice by slice, or "
                "with data.spatial_dims=3 in 3-D: leave it out, or set domain: ct, which translates in 2.5-D"
            )

    def _check_translation(self) -> None:
        data, target = self.data, self.target
        if self.evaluation.backend != "monai":
            raise ValueError(
                f"evaluation.backend: found {self.evaluation.backend}; expected monai in domain 'ct', where one "
                "network looks at images of both domains, which nnU-Net would scale each in its own way: leave it out"
            )
        if self.translator.mask_guided:
            raise ValueError("translator.mask_guided edits tumors; domain 'ct' translates images: set it to false")
        if target is None:
            raise ValueError(
                "domain 'ct' translates between two kinds of image; found no second one: set target.sequence (same "
                "folder), or target.root, and target.modality where it differs"
            )
        if data.root is None and target.root is not None:
            raise ValueError("target.root is set and data.root is not; set data.root to the folder to translate from")
        for key in ("spatial_dims", "slices", "phantoms"):
            if getattr(target, key) != getattr(data, key):
                raise ValueError(f"target.{key} differs from data.{key}; the domains share it: leave it out of target")
        if target.class_names != data.class_names:
            raise ValueError(
                f"target.classes: found {', '.join(target.class_names)}; expected the names of data.classes, "
                f"{', '.join(data.class_names)}, in their order (label values may differ)"
            )
        tumor_share, apart = self.pairing.tumor_share is not None, data.channels != target.channels
        if apart and (tumor_share or self.evaluation.task == "segmentation"):
            key = "pairing.tumor_share" if tumor_share else "evaluation.task 'segmentation'"
            raise ValueError(
                f"{key}: found {data.channels} sequence(s) in data and {target.channels} in target; expected as many "
                "in both, because one network looks at images of either. "
                + ("Leave it out" if tumor_share else "Set evaluation.task to translation or none")
                + ", or give both as many sequences."
            )
        if data == target:
            raise ValueError("target is the same as data; set target.sequence or target.root to the other kind")
        if self.evaluation.task == "classification":
            raise ValueError("evaluation.task 'classification' is for domain tumor; expected another with domain ct")

    def _check_regions(self) -> None:
        regions, known = self.evaluation.regions or {}, self.data.class_names
        unknown = {name: None for names in regions.values() for name in names if name not in known}
        if unknown:
            raise ValueError(
                f"evaluation.regions: found {', '.join(unknown)}; expected names of classes: {', '.join(known)}. Name "
                "them in data.tumor (or data.classes), or correct the regions"
            )
        if regions:
            class_of_each(list(regions.values()), known)
        if regions and self.evaluation.task != "segmentation":
            raise ValueError(
                f"evaluation.regions are outlined; evaluation.task is {self.evaluation.task}: leave them out, or set "
                "evaluation.task=segmentation"
            )

    def _check_slices(self) -> None:
        slices, channels = self.data.slices, self.translator.settings.get("channels")
        if slices % 2 == 0:
            raise ValueError(f"data.slices: found {slices}; expected an odd number, the slice itself in the middle")
        if slices > 1 and self.data.spatial_dims == 3:
            raise ValueError(
                f"data.slices={slices} is for 2-D methods; leave it out, or set data.spatial_dims=2 instead of 3"
            )
        if slices > 1 and max(self.data.channels, (self.target or self.data).channels) > 1:
            raise ValueError(
                f"data.slices={slices} makes channels of neighbouring slices of one sequence; found several sequences. "
                "Leave data.slices out, or choose one sequence."
            )
        if slices > 1 and channels not in (None, slices):
            raise ValueError(f"translator.channels: found {channels}; data.slices={slices} sets it, leave it out")


def with_two_domains(values: Values) -> Values:
    """Settings of a two-domain pipeline with everything filled in that follows from the rest.

    Whole images are translated (`mask_guided: false`). What `target` does not give is as in `data`, but for layout and
    sequence where it has a `root` of its own. Where it chooses its own channels, those of `data` do not count, nor do
    modalities and windows by name. Without `data.root` both are built-in phantoms: an MR-like abdomen and its contrast
    CT.
    """
    values = dict(values)
    values["translator"] = {"mask_guided": False} | dict(values.get("translator") or {})
    data, target = dict(values.get("data") or {}), dict(values.get("target") or {})
    on_phantoms = data.get("root") is None and target.get("root") is None
    if on_phantoms:
        data = _filled(data, PHANTOMS_A)
        data["phantoms"] = PHANTOMS | dict(data.get("phantoms") or {})
        target = _filled(target, PHANTOMS_B)
    elif not target:
        return values | {"data": data}
    own_root = target.get("root") not in (None, data.get("root"))
    inherited = {key: value for key, value in data.items() if not (own_root and key in OF_THE_FILES)}
    return values | {"data": data, "target": _filled(target, inherited)}


def _filled(given: Values, others: Values) -> Values:
    """`given`, and what `others` have beside: nothing of channels where `given` chooses its own."""
    by_name = {key for key in ("modality", "window") if isinstance(others.get(key), dict)}
    left_out = {*CHANNELS, *by_name} if not given.keys().isdisjoint(CHANNELS) else set()
    return {key: value for key, value in others.items() if key not in left_out} | given
