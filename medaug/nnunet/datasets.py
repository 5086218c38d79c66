"""A data set of nnU-Net's, by its files: where it lies, its folds, what its plans say, and how medaug trains on it.

nnU-Net's folders are named by the variables nnUNet_raw, nnUNet_preprocessed and nnUNet_results. Of these only the last
is written to: `nnUNet_results/Dataset501_Name/medaug/fold_0` is the run in which `medaug train-cycle --nnunet 501
--fold 0` trains, and where `nnUNetTrainerMedaug` looks for weights.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from medaug.config import PipelineConfig
from medaug.data.atomic import JsonObject, read_json, write_json
from medaug.data.cases import files_in
from medaug.data.datalists import sequence_names
from medaug.data.files import read_scan
from medaug.data.label_names import Tumors, names_in, tumors_of
from medaug.errors import ConfigError, DataError
from medaug.nnunet.looks import Plans
from medaug.orientation import turn_of

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
WHAT = {
    RAW: "the folder that holds Dataset501_Name and the like",
    PREPROCESSED: "the folder that nnU-Net plans and preprocesses into",
    RESULTS: "the folder that nnU-Net trains into",
}
SPLITS, DEFAULT_FOLDS, DEFAULT_SEED = "splits_final.json", 5, 12345
ALL = "all"
IGNORE = "ignore"


@dataclass(frozen=True)
class Fold:
    """One fold's cases, each sorted, and the file that says so ("" for nnU-Net's default).

    Attributes:
        unused: cases of the data set that are in neither part.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    unused: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class NnunetDataset:
    """A data set of nnU-Net's: its name, its folder of raw files, and the base folders beside."""

    name: str
    raw: Path

    @cached_property
    def about(self) -> JsonObject:
        """Its dataset.json.

        Raises:
            DataError: if it lists files of its own, which medaug does not read.
        """
        found: JsonObject = read_json(self.raw / "dataset.json")
        if "dataset" in found:
            raise DataError.about(
                self.raw / "dataset.json",
                'a list "dataset" of files elsewhere',
                "imagesTr/ and labelsTr/",
                "Copy them.",
            )
        return found

    @property
    def preprocessed(self) -> Path | None:
        """Where its plans and folds lie; None where nothing is planned yet."""
        folder = os.environ.get(PREPROCESSED)
        path = None if folder is None else Path(folder) / self.name
        return path if path is not None and path.is_dir() else None

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels, in order."""
        return tuple(sequence_names(self.about, self.raw / "dataset.json"))

    @property
    def ignore(self) -> int | None:
        """The ignore label."""
        found = self.about.get("labels", {}).get(IGNORE)
        return None if found is None else int(found)

    @property
    def tumors(self) -> Tumors:
        """Which values of its labels are tumor, by their names."""
        return tumors_in(self.about)

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """The training cases, sorted as nnU-Net sorts them."""
        ending = str(self.about.get("file_ending", ".nii.gz"))
        pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
        names = {match[1] for path in files_in(self.raw / "imagesTr") if (match := pattern.fullmatch(path.name))}
        if not names:
            raise DataError.about(
                self.raw / "imagesTr", f"no image <case>_0000{ending}", "training cases", "Check file_ending."
            )
        return tuple(map(str, np.sort(list(names))))

    def image(self, case: str, channel: int = 0) -> Path:
        """The file of one channel of a case."""
        return self.raw / "imagesTr" / f"{case}_{channel:04d}{self.about.get('file_ending', '.nii.gz')}"

    def run(self, fold: str) -> Path:
        """The run folder of the GAN that trains on this fold.

        Raises:
            ConfigError: if nnUNet_results is not set.
        """
        return results_of(self.name) / f"fold_{fold}"

    def fold(self, number: str) -> Fold:
        """A fold: of splits_final.json, or where there is none as nnU-Net is going to draw it; "all" trains on all.

        Raises:
            ConfigError: if there is no such fold.
            DataError: if the file is no list of folds, or names cases that are not there.
        """
        if number == ALL:
            return Fold(self.cases, ())
        file = None if self.preprocessed is None else self.preprocessed / SPLITS
        folds = read_json(file, object) if file is not None and file.exists() else self._default_folds()
        where = str(file) if file is not None and file.exists() else f"{self.name}, nnU-Net's default split"
        if not isinstance(folds, list) or not all(isinstance(f, dict) and {"train", "val"} <= f.keys() for f in folds):
            raise DataError.about(
                where, "no list of folds", '[{"train": [case, ...], "val": [case, ...]}, ...]', "Correct the file."
            )
        if not number.isdecimal() or int(number) >= len(folds):
            raise ConfigError(
                f"{where}: found no fold {number}; expected one from 0 to {len(folds) - 1}, or all. Give --fold."
            )
        train, val = (tuple(sorted(map(str, folds[int(number)][part]))) for part in ("train", "val"))
        if unknown := sorted({*train, *val} - {*self.cases}):
            raise DataError.about(
                where,
                f"{len(unknown)} case(s) that are not in {self.raw / 'imagesTr'}: {', '.join(unknown[:5])}",
                "cases of the data set",
                "Correct the file, or bring the images back.",
            )
        return Fold(train, val, tuple(sorted({*self.cases} - {*train, *val})), where)

    def _default_folds(self) -> list[dict[str, list[str]]]:
        """Five folds of the sorted cases, as nnU-Net draws them before its first training."""
        if len(self.cases) < DEFAULT_FOLDS:
            raise DataError.about(
                self.raw,
                f"{len(self.cases)} training case(s) and no {SPLITS}",
                f"at least {DEFAULT_FOLDS}, of which nnU-Net makes its folds",
                f"Write {PREPROCESSED}/{self.name}/{SPLITS}, or give --fold all.",
            )
        drawn = KFold(DEFAULT_FOLDS, shuffle=True, random_state=DEFAULT_SEED).split(self.cases)
        return [{"train": [self.cases[i] for i in train], "val": [self.cases[i] for i in val]} for train, val in drawn]

    def plans(self, spatial_dims: int) -> Plans | None:
        """What its plans say of the 2-D or the full-resolution 3-D configuration; None where there are none."""
        for file in files_in(self.preprocessed) if self.preprocessed is not None else []:
            content = read_json(file, object) if file.suffix == ".json" else None
            if isinstance(content, dict) and "configurations" in content:
                known = content["configurations"]
                name = "3d_fullres" if spatial_dims == 3 and "3d_fullres" in known else "2d"
                if name in known and "spacing" in known[name]:
                    return Plans.of(content, known[name])
        return None


def find_dataset(wanted: str) -> NnunetDataset:
    """The data set of this number or name in nnUNet_raw.

    Raises:
        ConfigError: if nnUNet_raw is not set.
        DataError: if there is none, or several.
    """
    base = folder_of(RAW)
    number = f"Dataset{int(wanted):03d}_" if wanted.isdecimal() else None
    there = [path for path in files_in(base) if path.is_dir() and path.name.startswith("Dataset")]
    found = [path for path in there if (path.name.startswith(number) if number else path.name == wanted)]
    if len(found) != 1:
        listed = ", ".join(path.name for path in (found or there)) or "nothing"
        what = f"{len(found)} data sets {wanted} ({listed})" if found else f"no data set {wanted}; there is {listed}"
        raise DataError.about(base, what, "one", f"Correct --nnunet, or {RAW}.")
    return NnunetDataset(found[0].name, found[0])


def folder_of(variable: str) -> Path:
    """What one of nnU-Net's variables names.

    Raises:
        ConfigError: if it is not set.
    """
    folder = os.environ.get(variable)
    if not folder:
        raise ConfigError(
            f"{variable}: found no such environment variable; expected {WHAT[variable]}. Set it as for nnU-Net itself: "
            f"export {variable}=..."
        )
    return Path(folder)


def results_of(name: str) -> Path:
    """Where medaug's runs on a data set lie."""
    return folder_of(RESULTS) / name / "medaug"


def tumors_in(about: Mapping[str, Any]) -> Tumors:
    """Which label values are tumor, as the names in a dataset.json say; the ignore label is none."""
    labels = {name: value for name, value in about.get("labels", {}).items() if name != IGNORE}
    values = {int(v) for value in labels.values() for v in (value if isinstance(value, list) else [value])}
    return tumors_of(names_in(labels), values, "msd")


def settings_for(dataset: NnunetDataset, fold: str, base: PipelineConfig, out: Path) -> dict[str, Any]:
    """What `medaug train-cycle --nnunet` sets, by dotted key: files, channels, classes, grid, window and split.

    Args:
        base: the settings that the user gives, which count.
        out: the run's folder.

    Raises:
        ConfigError: if nobody says which label values are tumor, or there are no plans where they are needed.
        DataError, ConfigError: as `NnunetDataset` has them.
    """
    given, chosen = base.data.model_fields_set, dict[str, Any]()
    channels = dataset.channels
    chosen["data.root"], chosen["data.layout"] = dataset.raw, "msd"
    chosen["data.sequences" if len(channels) > 1 else "data.sequence"] = channels if len(channels) > 1 else channels[0]
    if "modality" not in given and (kinds := {name: "CT" for name in channels if name.casefold() == "ct"}):
        chosen["data.modality"] = kinds if len(channels) > 1 else "CT"
    if given.isdisjoint({"tumor", "tumor_labels", "classes"}):
        chosen |= _classes_of(dataset)
    chosen |= _grid_of(dataset, base, given)
    chosen["split.file"], chosen["split.fold"] = _split_file(out), 0
    chosen["split.nnunet"] = f"{dataset.name}/fold_{fold}"
    return chosen


def write_split(fold: Fold, out: Path) -> None:
    """Writes the fold where the settings expect it: beside the run's folder."""
    write_json(_split_file(out), [{"train": list(fold.train), "val": list(fold.val), "unused": list(fold.unused)}])


def _split_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _classes_of(dataset: NnunetDataset) -> dict[str, Any]:
    """The tumor's parts, or its values, as the labels' names say."""
    tumors = dataset.tumors
    if tumors.undecided:
        raise ConfigError(f"{dataset.raw / 'dataset.json'}: {tumors.sentence}")
    if tumors.parts:
        return {"data.tumor": {name: list(values) for name, values in tumors.parts.items()}}
    labels = [v for name, v in dataset.about.get("labels", {}).items() if name not in (IGNORE, "background")]
    every = {int(v) for value in labels for v in (value if isinstance(value, list) else [value])}
    return {"data.tumor_labels": sorted(tumors.values or every)}


def _grid_of(dataset: NnunetDataset, base: PipelineConfig, given: set[str]) -> dict[str, Any]:
    """The voxel size and the HU window of the plans."""
    dims, chosen = base.data.spatial_dims, dict[str, Any]()
    plans, ct = dataset.plans(dims), [c for c, name in enumerate(dataset.channels) if name.casefold() == "ct"]
    if plans is None:
        if ct and "window_hu" not in given:
            raise ConfigError(
                f"{dataset.name}: found no plans; expected them for a CT, whose window is the interval that nnU-Net "
                f"clips to. Plan first: nnUNetv2_plan_and_preprocess -d {int(dataset.name[7:10])}; or --set "
                "data.window_hu=[low, high]."
            )
        return chosen
    if ct and "window_hu" not in given:
        lows, highs = zip(*(plans.clip_hu(channel) for channel in ct), strict=True)
        chosen["data.window_hu"] = [max(lows), min(highs)]
    scan = read_scan(dataset.image(dataset.fold(ALL).train[0]))
    if given.isdisjoint({"resample_mm", "grid_size"}) and scan.meta["spacing_known"] and scan.ndim == 4:
        order = turn_of(scan.affine.numpy(), 3).order
        if plans.flat and plans.file_axes()[order[-1]] != 0:
            raise ConfigError(
                f"{dataset.name}: found slices of nnU-Net's 2d configuration along another axis than medaug's; "
                "expected one. Train in 3-D (--set data.spatial_dims=3), for nnU-Net's 3d_fullres."
            )
        voxel_mm = plans.voxel_mm(1.0)
        chosen["data.resample_mm"] = [voxel_mm[axis] for axis in order[:dims]]
    return chosen
