"""The sections `data`, `target` and `split`: what is read, its window and classes, its grid, and who trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from medaug.data.visits import checked_regex
from medaug.errors import ConfigError
from medaug.settings import EachOnce, LabelValue, Section, Seed, SpacingMm, Voxels, Workers
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
Bounds = tuple[float, float]
Patients = Annotated[int, Field(ge=0, le=10**6)]
Share = Annotated[float, Field(ge=0, lt=1)]

PhantomSize = Annotated[int, Field(ge=4, le=512)]


def modality_of(name: str) -> str | None:
    """The modality that goes by this name, in upper or lower case; None of a name that says nothing."""
    name = name.lower()
    return next((kind for kind, names in MODALITIES.items() if name == kind.lower() or name in names), None)


def _known_name(value: Any) -> Any:
    return (modality_of(value) or value) if isinstance(value, str) else value


def _as_values(value: Any) -> Any:
    """One label value may stand without its brackets."""
    return (value,) if isinstance(value, int) else value


Modality = Annotated[Literal["MR", "CT", "PET", "US", "XR", "other"], BeforeValidator(_known_name)]
Classes = dict[str, Annotated[tuple[LabelValue, ...], BeforeValidator(_as_values)]]


class PhantomData(Section):
    """Built-in patients, used where `data.root` is not given."""

    anatomy: Literal["head", "abdomen"] = "head"
    patients: int = Field(16, ge=2, le=10**6)
    seed: Seed = 0
    shape: tuple[PhantomSize, PhantomSize, PhantomSize] = (96, 96, 24)
    spacing_mm: tuple[SpacingMm, SpacingMm, SpacingMm] = (2.0, 2.0, 5.0)
    label: Literal["tumor", "parts", "organ", "organs"] = Field(
        "tumor",
        description="parts: of heads, in t1, t1ce, t2 and flair, 1 core, 2 edema, 4 enhancing; organ: 1 liver (brain), "
        "2 tumor; organs: abdomen 1 liver, 2 kidneys, 3 spine",
    )
    healthy: NonNegativeInt = Field(
        0, le=10**6, description="so many further patients without a tumor; they are data.healthy, if nothing else is"
    )

    @model_validator(mode="after")
    def _fits(self) -> PhantomData:
        if self.label == "parts" and self.anatomy != "head":
            raise ValueError(
                f"label: found parts of the anatomy {self.anatomy}; expected anatomy head, or another label"
            )
        return self


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
    sequences: Annotated[tuple[str | int, ...], EachOnce] | None = Field(
        None, min_length=1, max_length=16, description="several instead: the image's channels, in this order"
    )
    missing: Literal["zero"] | None = Field(
        None, description="zero: a sequence that a case lacks is all zeros; none: the case is refused"
    )
    modality: Modality | dict[str, Modality] = Field(
        "MR",
        description="also by DICOM's codes (PT, CR, DX, MG, OT); all but CT have a window of each scan's own. Of "
        "several sequences one each, {t1: MR, ct: CT}; left out, names such as ct, pet and flair say it",
    )
    window_hu: Bounds = Field((-160.0, 240.0), description="CT only: mapped to [-1, 1]")
    window: Bounds | dict[str, Bounds] | None = Field(
        None,
        description="fixed bounds in au, of any modality: [0, 255] for pictures of 8 bits, also of a CT, whose "
        "grey levels are not HU; of several sequences by name, {pet: [0, 20]} in SUV; none: window_hu for CT, "
        "percentiles of each scan otherwise",
    )
    tumor_labels: tuple[LabelValue, ...] | None = Field(
        None, min_length=1, description="label values that are tumor; none: as their names say, else all above 0"
    )
    tumor: Classes | None = Field(
        None, description="the tumor's parts instead, name: label values, such as {edema: 2, core: 1, enhancing: 4}"
    )
    organ: tuple[LabelValue, ...] | Path | None = Field(
        None,
        description="where tumors may lie: label values, or a folder of masks named as the cases; none: it is found",
    )
    healthy: Path | None = Field(
        None, description="a folder of further scans, in any layout, that are known to be tumor-free: they train"
    )
    classes: Classes | None = Field(
        None, description="domain ct: what is segmented, name: label values; none: one class, the tumor"
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
    workers: Workers | None = Field(
        None, description="processes that look for organs and bodies in large scans; none: one a core"
    )
    phantoms: PhantomData = PhantomData()

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        windows = self.window if isinstance(self.window, dict) else {"": self.window}
        for key, bounds in (("window_hu", self.window_hu), *(("window", bounds) for bounds in windows.values())):
            if bounds is not None and not bounds[1] - bounds[0] > LEAST_WINDOW:
                raise ValueError(f"{key}: found {list(bounds)}; expected [low, high] with low below high")
        if self.grid_size is not None and self.resample_mm is not None:
            raise ValueError("grid_size and resample_mm both say which grid: give one of them")
        if self.patient_regex is not None:
            checked_regex(self.patient_regex)
        if self.sequence is not None and self.sequences is not None:
            raise ValueError("sequence and sequences both say which channels: give one of them")
        for key, by_name in (("modality", self.modality), ("window", self.window)):
            unknown = [
                name for name in (by_name if isinstance(by_name, dict) else ()) if name not in self.sequence_names
            ]
            if unknown:
                names = ", ".join(self.sequence_names) or "nothing"
                raise ValueError(f"{key}: found {', '.join(unknown)}; expected names of sequences: {names}")
        for key, classes in (("tumor", self.tumor), ("classes", self.classes)):
            if classes is not None:
                _check_classes(key, classes)
        given = [key for key in ("tumor", "classes", "tumor_labels") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say what is segmented: give one of them")
        if isinstance(self.organ, tuple):
            both = sorted({*self.organ} & {v for values in (self.class_values or ()) for v in values})
            if both or not self.organ or 0 in self.organ:
                raise ValueError(f"organ: found {list(self.organ)}; expected label values above 0, none of a tumor")
        return self

    @property
    def channels(self) -> int:
        """How many sequences an image has."""
        return len(self.sequences or (None,))

    @property
    def sequence_names(self) -> tuple[str, ...]:
        """By channel, what was asked for; of one that nobody chose, its modality."""
        return tuple(map(str, self.sequences)) if self.sequences is not None else (self.kind,)

    @property
    def modalities(self) -> tuple[str, ...]:
        """By channel; of several that are not given one each, as their names say, else as `modality`."""
        if self.sequences is None and not isinstance(self.modality, dict):
            return (self.modality,)
        given = self.modality if isinstance(self.modality, dict) else {}
        general = self.modality if isinstance(self.modality, str) else "MR"
        return tuple(given.get(name) or modality_of(name) or general for name in self.sequence_names)

    def domain(self, name: str) -> Domain:
        """The domain of this name (healthy, tumor) with the data's modalities and windows."""
        first, *others = (
            Domain(name if number == 0 else sequence, modality, self._window_of(sequence, modality))
            for number, (sequence, modality) in enumerate(zip(self.sequence_names, self.modalities, strict=True))
        )
        return replace(first, others=tuple(others))

    def _window_of(self, sequence: str, modality: str) -> Window | Percentiles:
        bounds = self.window.get(sequence) if isinstance(self.window, dict) else self.window
        if bounds is not None:
            return Window(*bounds, unit="au")
        return Window(*self.window_hu, unit="HU") if modality == "CT" else Percentiles()

    def check_modality(self, section: str, image: str, lowest: float, said: str | None, channel: int = 0) -> None:
        """What the file says (DICOM), else how dark the scan is, has to fit the configured modality.

        Args:
            section: "data" or "target", for the message.
            image: the path, for the message.
            lowest: intensity of the scan.
            said: the DICOM Modality; None where the file does not say it.
            channel: the number of the sequence.

        Raises:
            ConfigError: naming the setting to correct.
        """
        key = f"{section}.modality" + (f".{self.sequence_names[channel]}" if self.channels > 1 else "")
        modality = self.modalities[channel]
        kind = None if said is None else modality_of(said) or "other"
        if kind is not None and kind != modality and (modality != "other" or kind == "CT"):
            raise ConfigError(f"{image}: found the DICOM Modality {said}; {key} is {modality}. Set {key}={kind}.")
        if modality not in ("CT", "other") and lowest < HU_OF_AIR:
            found = f"intensities down to {lowest:g}, as in CT (HU)"
            raise ConfigError(f"{image}: found {found}; {key} is {modality}. Set {key}=CT.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """What labels hold once they are prepared, class 1 first: the tumor, its parts, or the classes."""
        return tuple(self.tumor or self.classes or ("tumor",))

    @property
    def class_values(self) -> tuple[tuple[int, ...], ...] | None:
        """The label values of each class; None where nobody says them."""
        named = self.tumor or self.classes
        return None if named is None else tuple(named.values())

    @property
    def allowed_labels(self) -> tuple[int, ...] | None:
        """What a label may hold: as set, or where the tumor's parts are named, their values and the organ's; or any."""
        if self.known_labels is not None or self.tumor is None:
            return self.known_labels
        organ = self.organ if isinstance(self.organ, tuple) else ()
        return (*organ, *(value for values in self.tumor.values() for value in values))

    @property
    def kind(self) -> str:
        """A name for this kind of image: its sequences, or its modality where there is only one."""
        if self.sequences is not None:
            return "+".join(map(str, self.sequences))
        return str(self.sequence) if self.sequence is not None else str(self.modality).lower()


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
    nnunet: str | None = Field(
        None,
        exclude_if=lambda name: name is None,
        description="the data set and fold of nnU-Net's that split.file is of, as train-cycle --nnunet sets it: "
        "Dataset501_Name/fold_0; the weights tell it",
    )
    train: Patients | Share = Field(0.6, gt=0)
    validation: Patients | Share = 0.2
    labelled: PositiveInt | None = Field(
        None,
        le=10**6,
        description="only so many of the training patients, drawn by seed; the others are unused; none: all",
    )
    healthy: PositiveInt | None = Field(
        None,
        le=10**6,
        description="so many further patients of whom only tumor-free slices (or scans) train, without labels: of "
        "those that split.labelled leaves out, then of those who would test; see data.healthy, too",
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


def _check_classes(key: str, classes: dict[str, tuple[int, ...]]) -> None:
    """Refuses classes without a value, and values that are of two classes or of none (0)."""
    if not 1 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"{key}: found {len(classes)}; expected 1 to {MOST_CLASSES}, as name: [label values]")
    owners: dict[int, str] = {}
    for name, values in classes.items():
        if not values or 0 in values:
            raise ValueError(f"{key}.{name}: found {list(values)}; expected label values above 0 (0 is no class)")
        for value in values:
            if owners.setdefault(value, name) != name:
                raise ValueError(f"{key}: found the label value {value} in {owners[value]} and {name}; expected one")
