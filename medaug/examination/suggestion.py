"""A pipeline for a data set that was looked at: what differs from the defaults, with the reason beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from medaug.config import PipelineConfig
from medaug.config.data import DataConfig, SplitConfig
from medaug.config.files import load_config
from medaug.errors import DataError
from medaug.examination.figures import SPECK_MM, SequenceFigures
from medaug.examination.scans import ScanFacts
from medaug.examination.survey import Survey
from medaug.lesions.prior import MARGIN_VOXELS
from medaug.resampling import grid_of_spacing
from medaug.splits import Split, split_patients
from medaug.volumes import SPACING_TOLERANCE

FIELD_VOXELS = 128
"""Voxels along the longest side of a slice above which the suggestion resamples: more cost time, on CPUs hours."""
CROPS = (32, 48, 64, 96, 128)
"""Sizes of a crop to choose from; every generator's stride divides them."""
ROOMY = 96
"""A crop need not be larger than this for the sake of surroundings, only for lesions to fit."""
PATCH_STEP, LEAST_PATCH = 16, 32
"""What every network takes at its defaults: multiples of the one, from the other on."""
LEAST_TESTED = 2
"""Patients without whom there is no interval."""
SUV_SHOWN = 20.0
"""FDG in all but the hottest tumors stays below it; the bladder and the heart go beyond."""
MOST_LABEL_VALUES = 20
"""Labels with more values are not declared: they are organs, or no label."""


@dataclass(frozen=True)
class Setting:
    """One line of a pipeline file: dotted key, value, and why."""

    key: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Suggestion:
    """The text of a pipeline file, and what it resolves to."""

    yaml: str
    config: PipelineConfig


def suggestion_for(survey: Survey, target: Survey | None, task: str | None, file: str) -> Suggestion:
    """The pipeline, to be written to `file`, for this data set, or from it to a second kind of image.

    Raises:
        ConfigError: if the task does not fit.
    """
    settings = list(_settings(survey, target, task))
    config = load_config(None, [], {setting.key: setting.value for setting in settings})
    root = CommentedMap()
    for setting in settings:
        *parents, last = setting.key.split(".")
        section, value = root, setting.value
        for parent in parents:
            section = section.setdefault(parent, CommentedMap())
        section[last] = _in_one_line(value)
        if setting.why:
            section.yaml_add_eol_comment(setting.why, last)
    root.yaml_set_start_comment(
        f"Written by medaug init from what medaug doctor found; everything else is at its default.\n"
        f"medaug run {quote(file)} --out {quote(f'out/{Path(file).stem}')}"
    )
    yaml, stream = YAML(), StringIO()
    yaml.width = 1000  # a line broken by width would separate a value from its comment
    yaml.dump(root, stream)
    return Suggestion(stream.getvalue(), config)


def _in_one_line(value: Any) -> Any:
    """Lists as [a, b], mappings as {a: b}."""
    if isinstance(value, list):
        value = CommentedSeq(map(_in_one_line, value))
    elif isinstance(value, dict):
        value = CommentedMap({key: _in_one_line(inner) for key, inner in value.items()})
    else:
        return value
    value.fa.set_flow_style()
    return value


def split_counts(patients: int) -> tuple[int, int]:
    """(to train, to validate): about 3/5 train, from ten patients on 1/5 validates, and at least two test."""
    validation = round(0.2 * patients) if patients >= 10 else 0
    return max(1, min(round(0.6 * patients), patients - validation - LEAST_TESTED)), validation


def plane_spacings_mm(facts: list[ScanFacts]) -> np.ndarray:
    """(n, 2): voxel sizes in the plane; 1 mm where a file stores none."""
    return np.array([(fact.spacing_mm or (1.0, 1.0))[:2] for fact in facts]).reshape(-1, 2)


def differ(spacings: np.ndarray) -> np.ndarray:
    """Which of them lie further from the median than one voxel size allows."""
    median = np.median(spacings, axis=0)
    return np.abs(spacings / median - 1).max(axis=1) > SPACING_TOLERANCE


def grids(facts: list[ScanFacts], working_mm: float | None) -> np.ndarray:
    """(n, 2): voxels of the scans' slices on the working grid."""
    sizes = [fact.shape[:2] for fact in facts]
    if working_mm is not None:
        both = zip(sizes, plane_spacings_mm(facts).tolist(), strict=True)
        sizes = [grid_of_spacing(size, tuple(spacing), (working_mm, working_mm)) for size, spacing in both]
    return np.array(sizes, dtype=int).reshape(-1, 2)


def sections_of(survey: Survey, working_mm: float | None) -> list[tuple[ScanFacts, float, np.ndarray]]:
    """The lesions, without specks, as 2-D work sees them: scan, diameter, extent (2,) in voxels of the working grid."""
    return [
        (fact, diameter, np.ceil(np.array(extent) * (grid / fact.shape[:2])))
        for fact, grid in zip(survey.labelled, grids(survey.labelled, working_mm), strict=True)
        for diameter, *extent in fact.marked.sections
        if diameter >= SPECK_MM
    ]


def fits(extent: np.ndarray, crop: Sequence[int]) -> bool:
    """Whether a lesion of this extent is learned from in crops of this size, as in `LesionPrior.fit`."""
    return bool((extent + 2 * MARGIN_VOXELS <= np.array(crop)).all())


def split_of(config: PipelineConfig, survey: Survey, target: Survey | None) -> Split:
    """The patients that the suggested split trains and tests on; a DataError says if they are too few."""
    facts = survey.labelled if target is None else survey.facts + target.facts
    return split_patients({f.patient for f in facts}, config.split.train, config.split.validation, config.split.seed)


def _settings(survey: Survey, target: Survey | None, task: str | None) -> Iterator[Setting]:
    facts = survey.facts + (target.facts if target is not None else [])
    working_mm = _working_mm(facts)
    sizes = grids(facts, working_mm)
    yield Setting("name", survey.root.resolve().name)
    if target is None:
        yield Setting("domain", "tumor", "insert and remove tumors")
        yield from _data("data", survey, working_mm, tumors=True)
    else:
        yield Setting("domain", "ct", "translate between two kinds of image")
        yield from _data("data", survey, working_mm, tumors=False)
        yield from _data("target", target, working_mm, tumors=False)
    used = survey.labelled if target is None and survey.labelled else facts
    patients = len({fact.patient for fact in used})
    training, validation = split_counts(patients)
    yield Setting("split.train", training, f"patients, of {patients}; the rest tests")
    yield Setting("split.validation", validation)
    if target is None:
        yield Setting("translator.type", "cyclegan", "or unit, munit")
        yield from _crop(survey, working_mm)
    elif len(sizes) and (_differ_in_size(sizes) or (sizes % PATCH_STEP).any() or sizes.min() < LEAST_PATCH):
        size = np.clip(np.median(sizes, axis=0) // PATCH_STEP * PATCH_STEP, LEAST_PATCH, ROOMY).astype(int).tolist()
        yield Setting("crop.size", size, f"voxels; slices have {_ranges(sizes)}: smaller ones are filled up")
    yield Setting("training.steps", 600, "more for results to publish")
    if target is None:
        yield Setting("synthesis.insertions", 200)
    task = task or _task(survey, target)
    yield Setting("evaluation.task", task)
    if target is None:
        twins = "rivals+gan" if task == "segmentation" else "rivals+gan-offline"
        yield Setting("evaluation.arms", ["standard", "copy-paste", twins], "copy-paste is the cheap rival")
    yield Setting("evaluation.seeds", [0, 1, 2])


def _data(section: str, survey: Survey, working_mm: float | None, *, tumors: bool) -> Iterator[Setting]:
    yield Setting(f"{section}.root", str(survey.root))
    yield Setting(f"{section}.layout", survey.layout)
    others = ", ".join(name for name in survey.named if name not in survey.sequences)
    if len(survey.sequences) > 1:
        why = "the image's channels, in this order" + (f"; most cases lack {others}" if others else "")
        yield Setting(f"{section}.sequences", list(survey.sequences), why)
    elif survey.sequences[0] is not None or section == "target":
        yield Setting(f"{section}.sequence", survey.sequences[0], f"there are also {others}" if others else "")
    if survey.patient_regex is not None:
        yield Setting(f"{section}.patient_regex", survey.patient_regex, "whose scan it is")
    yield from _intensities(section, survey)
    if working_mm is not None:
        why = f"in the plane: the longest side has about {FIELD_VOXELS} voxels, and all scans share one voxel size"
        if survey.length_unit == "px":
            why = f"in pixels, as no file stores its voxel size (data.spacing_mm); {why}"
        yield Setting(f"{section}.resample_mm", [working_mm, working_mm], why)
    yield from _labels(section, survey, tumors=tumors)


def _intensities(section: str, survey: Survey) -> Iterator[Setting]:
    """What each sequence is, and the window of those with an absolute unit or fixed grey levels."""
    channels, several = survey.channels, len(survey.channels) > 1
    modalities = tuple(channel.modality for channel in channels)
    if len(set(modalities)) == 1 and (
        not several or DataConfig(sequences=survey.sequences, modality=modalities[0]).modalities == modalities
    ):
        yield Setting(f"{section}.modality", modalities[0])
    else:
        yield Setting(f"{section}.modality", {str(channel.name): channel.modality for channel in channels})
    if any(channel.looks_like_hu for channel in channels):
        why = "soft tissue; of lungs [-1000, 400], of bone [-500, 1300]"
        yield Setting(f"{section}.window_hu", [-160.0, 240.0], why)
    windows = {str(channel.name): found for channel in channels if (found := _window_of(channel)) is not None}
    if windows:
        why = "; ".join(dict.fromkeys(why for _, why in windows.values()))
        bounds = {name: bounds for name, (bounds, _) in windows.items()}
        yield Setting(f"{section}.window", bounds if several else next(iter(bounds.values())), why)


def _window_of(channel: SequenceFigures) -> tuple[list[float], str] | None:
    """A fixed window in the file's own unit, and why; None where HU or percentiles will do."""
    if channel.modality == "CT" and not channel.looks_like_hu:  # no absolute unit
        high = 255.0 if channel.dtypes == ["uint8"] else channel.highest
        return [min(0.0, channel.lowest), high], "grey levels of a CT, which are not HU"
    if channel.looks_like_suv:
        return [0.0, SUV_SHOWN], "SUV: what is brighter counts as this"
    return None


def _labels(section: str, survey: Survey, *, tumors: bool) -> Iterator[Setting]:
    values, rare = {value for fact in survey.labelled for value in fact.marked.voxels}, survey.rare_values
    if not values or len(values) > MOST_LABEL_VALUES:
        return
    known = sorted(values - set(rare))
    alone = f" ({', '.join(f'{value}, in {patient} alone' for value, patient in rare.items())})" if rare else ""
    yield Setting(f"{section}.known_labels", known, f"every value a label may hold; others are refused{alone}")
    if tumors and survey.tumors.organ:
        yield Setting(f"{section}.organ", list(survey.tumors.organ), "where tumors may lie")
    if tumors and survey.tumors.parts:
        why = "the tumor's parts" + (": take out what is no tumor" if survey.tumors.undecided else "")
        yield Setting(f"{section}.tumor", {name: list(of) for name, of in survey.tumors.parts.items()}, why)
    elif survey.tumors.values is not None:
        yield Setting(f"{section}.tumor_labels", list(survey.tumors.values), survey.tumors.sentence)
    elif len(known) > 1 and not survey.tumors.undecided:
        yield Setting(f"{section}.tumor_labels", known, survey.tumors.sentence)


def _crop(survey: Survey, working_mm: float | None) -> Iterator[Setting]:
    diameters = [d for fact in survey.labelled for d in fact.marked.diameters_mm if d >= SPECK_MM]
    voxel_mm = working_mm or (float(np.median(plane_spacings_mm(survey.facts))) if survey.facts else 1.0)
    wanted = 2 * float(np.percentile(diameters, 90)) / voxel_mm if diameters else CROPS[1]
    extents = [extent for _, _, extent in sections_of(survey, working_mm)]
    held = [sum(fits(extent, (crop, crop)) for extent in extents) for crop in CROPS]
    size = next(c for c, count in zip(CROPS, held, strict=True) if c >= min(wanted, ROOMY) and count == held[-1])
    unit = survey.length_unit
    yield Setting("crop.size", [size, size], f"voxels: {size * voxel_mm:.3g} {unit}; twice most lesions, if it fits")
    why = "smaller lesions are not learned" + ("" if unit == "mm" else f"; in {unit}, as no file stores its voxel size")
    yield Setting("crop.min_diameter_mm", round(max(SPECK_MM, 2 * voxel_mm), 1), why)


def _differ_in_size(sizes: np.ndarray) -> bool:
    """Whether slices (n, 2) are of several sizes; of one, they are taken whole."""
    return len(np.unique(sizes, axis=0)) > 1


def _ranges(sizes: np.ndarray) -> str:
    least, most = (" × ".join(map(str, bound.tolist())) for bound in (sizes.min(axis=0), sizes.max(axis=0)))
    return least if least == most else f"{least} to {most}"


def _working_mm(facts: list[ScanFacts]) -> float | None:
    """The voxel size to resample to in the plane; None where the files' own will do."""
    spacings = plane_spacings_mm(facts)
    if not len(spacings):
        return None
    sides_mm = np.array([fact.shape[:2] for fact in facts]) * spacings
    fine = max(max(fact.shape[:2]) for fact in facts) > 1.25 * FIELD_VOXELS
    if not fine and not differ(spacings).any():
        return None
    return float(f"{max(float(np.median(spacings)), float(np.median(sides_mm.max(axis=1))) / FIELD_VOXELS):.2g}")


def _task(survey: Survey, target: Survey | None) -> str:
    """The task: with a target, what the patients of the suggested split can be tested on."""
    if target is None:
        return "segmentation"
    everyone = {fact.patient for fact in survey.facts + target.facts}
    try:
        split = split_patients(everyone, *split_counts(len(everyone)), SplitConfig().seed)
    except DataError:  # too few; `patients_check` says so
        return "none"
    labelled = [{fact.patient for fact in side.labelled} for side in (survey, target)]
    if labelled[0] & set(split.train) and all(len(who & set(split.test)) >= LEAST_TESTED for who in labelled):
        return "segmentation"
    there = {(fact.patient, fact.case, fact.shape) for fact in target.facts}
    both = {fact.patient for fact in survey.facts if (fact.patient, fact.case, fact.shape) in there}
    return "translation" if len(both & set(split.test)) >= LEAST_TESTED else "none"  # equal: a registered pair
