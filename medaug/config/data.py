"""The sections `data`, `target` and `split`: what is read, its window and classes, its grid, and who trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from medaug.data.visits import checked_regex
from medaug.errors import ConfigError
from medaug.settings import LabelValue, Section, Seed, SpacingMm, Voxels
from medaug.volumes import HU_OF_AIR, Domain, Percentiles, Window

ORGAN_MARGIN_MM = 6.0
LEAST_WINDOW = 1e-9
MODALITIES = {
    "MR": ("mri", "t1", "t1n", "t1c", "t1ce", "t1w", "t2", "t2w", "t2f", "flair", "dwi", "adc"),
    "CT": (),
    "PET": ("pt", "suv", "fdg"),
    "US": ("ultrasound", "sonography", "busi"),
    "XR": ("xray", "x-ray", "cr", "dx", "dr", "rg", "mg", "cxr", "mammography"),
    "other": ("ot",),
}
"""A modality's other names: DICOM's codes, sequences, words in the names of folders."""
MOST_CLASSES = 255
"""Class numbers are stored in 8 bits."""
Patients = Annotated[int, Field(ge=0, le=10**6)]
Share = Annotated[float, Field(ge=0, lt=1)]

PhantomSize = Annotated[int, Field(ge=4, le=512)]


def modality_of(name: str) -> str | None:
    """The modality that goes by this name, in upper or lower case; None of a name that says nothing."""
    name = name.lower()
    return next((kind for kind, names in MODALITIES.items() if name == kind.lower() or name in names), None)


def _known_name(value: Any) -> Any:
    return (modality_of(value) or value) if isinstance(value, str) else value


class PhantomData(Section):
    """Built-in patients, used where `data.root` is not given."""

    anatomy: Literal["head", "abdomen"] = "head"
    patients: int = Field(16, ge=2, le=10**6)
    seed: Seed = 0
    shape: tuple[PhantomSize, PhantomSize, PhantomSize] = (96, 96, 24)
    spacing_mm: tuple[SpacingMm, SpacingMm, SpacingMm] = (2.0, 2.0, 5.0)
    label: Literal["tumor", "organs"] = Field("tumor", description="organs: abdomen 1 liver, 2 kidneys, 3 spine")


class DataConfig(Section):
    """What is read, and the grid all later stages work on."""

    root: Path | None = Field(None, description="folder or datalist JSON; none: phantoms")
    layout: str = Field(
        "auto",
        description="auto, brats, kaggle-lgg, msd, datalist, dicom, images-labels, bids, case-folders, "
        "side-by-side or paired-folders",
    )
    patient_regex: str | None = Field(
        None, description="finds the patient, its one group, in a scan's name; none: visits are known by their names"
    )
    sequence: str | int | None = Field(None, description="which sequence or channel, by name or index")
    modality: Annotated[Literal["MR", "CT", "PET", "US", "XR", "other"], BeforeValidator(_known_name)] = Field(
        "MR", description="also by DICOM's codes (PT, CR, DX, MG, OT); all but CT have a window of each scan's own"
    )
    window_hu: tuple[float, float] = Field((-160.0, 240.0), description="CT only: mapped to [-1, 1]")
    window: tuple[float, float] | None = Field(
        None,
        description="fixed bounds in au, of any modality: [0, 255] for pictures of 8 bits, also of a CT, whose "
        "grey levels are not HU; none: window_hu for CT, percentiles of each scan otherwise",
    )
    tumor_labels: tuple[LabelValue, ...] | None = Field(
        None, min_length=1, description="label values that are tumor; none: as their names say, else all above 0"
    )
    classes: dict[str, tuple[LabelValue, ...]] | None = Field(
        None, description="what is segmented, name: label values; none: one class, the tumor"
    )
    known_labels: tuple[LabelValue, ...] | None = Field(
        None, description="every value a label may hold; others are refused; none: any"
    )
    spatial_dims: Literal[2, 3] = 2
    slices: int = Field(1, ge=1, le=99, description="domain ct in 2-D: neighbouring slices as channels (odd; 2.5-D)")
    grid_size: tuple[Voxels, Voxels] | tuple[Voxels, Voxels, Voxels] | None = Field(
        None, description="size to resample to, in the plane or (three sizes) of whole volumes; none: as stored"
    )
    resample_mm: tuple[SpacingMm, SpacingMm] | tuple[SpacingMm, SpacingMm, SpacingMm] | None = Field(
        None,
        description="voxel size to resample to instead of grid_size: in the plane, or of whole volumes; of "
        "pictures without a voxel size in their pixels",
    )
    spacing_mm: tuple[SpacingMm, SpacingMm] | tuple[SpacingMm, SpacingMm, SpacingMm] | None = Field(
        None, description="for pictures without spacing; none: their sizes are in pixels"
    )
    organ_margin_mm: float = Field(
        ORGAN_MARGIN_MM, ge=0, le=1000, description="lesions stay this far from the organ's edge"
    )
    skip_unreadable: bool = Field(False, description="list unreadable files and go on without them")
    phantoms: PhantomData = PhantomData()

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        for key, bounds in (("window_hu", self.window_hu), ("window", self.window)):
            if bounds is not None and not bounds[1] - bounds[0] > LEAST_WINDOW:
                raise ValueError(f"{key}: found {list(bounds)}; expected [low, high] with low below high")
        if self.grid_size is not None and self.resample_mm is not None:
            raise ValueError("grid_size and resample_mm both say which grid: give one of them")
        if self.patient_regex is not None:
            checked_regex(self.patient_regex)
        if self.classes is not None:
            _check_classes(self.classes)
            if self.tumor_labels is not None:
                raise ValueError("classes and tumor_labels both say what is segmented: give one of them")
        return self

    def domain(self, name: str) -> Domain:
        """The domain of this name (healthy, tumor) with the data's modality and window."""
        if self.window is not None:
            return Domain(name, self.modality, Window(*self.window, unit="au"))
        window = Window(*self.window_hu, unit="HU") if self.modality == "CT" else Percentiles()
        return Domain(name, self.modality, window)

    def check_modality(self, section: str, image: str, lowest: float, said: str | None) -> None:
        """What the file says (DICOM), else how dark the scan is, has to fit the configured modality.

        Args:
            section: "data" or "target", for the message.
            image: the path, for the message.
            lowest: intensity of the scan.
            said: the DICOM Modality; None where the file does not say it.

        Raises:
            ConfigError: naming the setting to correct.
        """
        key, modality = f"{section}.modality", self.modality
        kind = None if said is None else modality_of(said) or "other"
        if kind is not None and kind != modality and (modality != "other" or kind == "CT"):
            raise ConfigError(f"{image}: found the DICOM Modality {said}; {key} is {modality}. Set {key}={kind}.")
        if modality not in ("CT", "other") and lowest < HU_OF_AIR:
            found = f"intensities down to {lowest:g}, as in CT (HU)"
            raise ConfigError(f"{image}: found {found}; {key} is {modality}. Set {key}=CT.")

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes) if self.classes else ("tumor",)

    @property
    def kind(self) -> str:
        """A name for this kind of image: its sequence, or its modality where there is only one."""
        return str(self.sequence) if self.sequence is not None else self.modality.lower()


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


def _check_classes(classes: dict[str, tuple[int, ...]]) -> None:
    """Refuses classes without a value, and values that are of two classes or of none (0)."""
    if not 1 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"classes: found {len(classes)}; expected 1 to {MOST_CLASSES}, as name: [label values]")
    owners: dict[int, str] = {}
    for name, values in classes.items():
        if not values or 0 in values:
            raise ValueError(f"classes.{name}: found {list(values)}; expected label values above 0 (0 is no class)")
        for value in values:
            if owners.setdefault(value, name) != name:
                raise ValueError(f"classes: found the label value {value} in {owners[value]} and {name}; expected one")
