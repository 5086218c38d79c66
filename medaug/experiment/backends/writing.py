"""Writes the data set of the backend `nnunet` (see `dataset`), as far as it is not there.

nnU-Net's commands do the same in processes of their own, which start by importing the user's script again; here all is
done in this one, with nnU-Net's functions for a single case.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from medaug.config import PipelineConfig
from medaug.data.atomic import write_error, write_json
from medaug.errors import DataError
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.backends.dataset import LOOK, NAME, NnunetData, TrainingCase, training_cases
from medaug.experiment.backends.layout import channel_names, dataset_json
from medaug.nnunet.looks import Look
from medaug.orientation import LPS, Turn
from medaug.progress import track
from medaug.runs.markers import fingerprint
from medaug.volumes import Window, spacing_of

FORMAT = 1
"""Part of the fingerprint: raise it when the files change their meaning."""
STATISTICS_VOXELS = 100_000
"""Labelled voxels drawn of each case for nnU-Net's statistics of intensities, which normalise CT alone."""


def written(config: PipelineConfig, real: ViewFolder, root: Path, plan: Callable[[NnunetData], Any]) -> NnunetData:
    """The data set of these views, written and preprocessed unless it is there.

    Args:
        root: of all data sets.
        plan: makes nnU-Net's own plan (`plans.Planner`), by which the cases are preprocessed.

    Raises:
        DataError: if no label marks anything.
        RunError: if the folder cannot be written.
    """
    cases = training_cases(real)
    described = dataset_json(
        NAME,
        channel_names(config),
        config.data.class_names,
        config.scored if config.evaluation.regions else {},
        len(cases),
        overwrite_image_reader_writer=NibabelIO.__name__,
        cases={case.name: case.views[0].case.case for case in cases},
        dataset={case.name: case.files(config.data.channels) for case in cases},
    )
    configuration = "2d" if config.data.spatial_dims == 2 else "3d_fullres"
    key = fingerprint([FORMAT, version("nnunetv2"), configuration, described, [case.made_of for case in cases]])[:16]
    data = NnunetData(root / key, configuration, cases)
    complete = data.folder / "complete.json"
    if complete.is_file():
        return data
    if not any(view.tumor_voxels for view in real.views):
        raise DataError(
            "evaluation.backend nnunet: found no training label that marks anything; expected some, which nnU-Net "
            "plans by. Add labels, or more training patients."
        )
    try:
        data.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(data.folder / "lock"):
            if not complete.is_file():
                _write(data, described, plan)
                write_json(complete, {"format": FORMAT, "cases": len(cases)})
    except OSError as error:
        raise write_error(data.folder, error) from error
    return data


def _write(data: NnunetData, described: dict[str, Any], plan: Callable[[NnunetData], Any]) -> None:
    """Writes what is missing: raw cases, statistics, the plan, preprocessed cases."""
    for half_written in data.folder.glob(".tmp-*"):  # by who was killed
        shutil.rmtree(half_written)
    write_json(data.raw / "dataset.json", described)
    with track("write nnU-Net's data set", 2 * len(data.cases)) as tracker:
        found = []
        for case in data.cases:
            files = [data.raw / image for image in described["dataset"][case.name]["images"]]
            label = data.raw / described["dataset"][case.name]["label"]
            if not label.is_file():  # written last
                case.volume().write(files, label)
            analyze = DatasetFingerprintExtractor.analyze_case
            found.append(analyze([str(file) for file in files], str(label), NibabelIO, STATISTICS_VOXELS))
            tracker.advance()
        write_json(data.preprocessed / "dataset_fingerprint.json", _statistics(found))
        with data.at_work():
            plans = PlansManager(plan(data).plan_experiment())
        for folder in (data.arrays, data.organs):
            folder.mkdir(parents=True, exist_ok=True)
        for case in data.cases:
            if not (data.arrays / f"{case.name}.pkl").is_file():  # written last
                _preprocess(case, data, plans)
            tracker.advance()


def _statistics(found: list[tuple[Any, ...]]) -> dict[str, object]:
    """nnU-Net's fingerprint of a data set, from those of its cases (`analyze_case`)."""
    shapes, spacings, intensities, _, kept = zip(*found, strict=True)
    by_channel = [np.concatenate(channel) for channel in zip(*intensities, strict=True)]

    def of(voxels: np.ndarray) -> dict[str, float]:
        low, median, high = np.percentile(voxels, (0.5, 50.0, 99.5))
        return {
            "mean": float(voxels.mean()),
            "median": median,
            "std": float(voxels.std()),
            "min": float(voxels.min()),
            "max": float(voxels.max()),
            "percentile_99_5": high,
            "percentile_00_5": low,
        }

    return {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {n: of(voxels) for n, voxels in enumerate(by_channel)},
        "median_relative_size_after_cropping": float(np.median(kept)),
    }


class _Preprocessor(DefaultPreprocessor):
    """nnU-Net's own, which remembers how it normalised the last case."""

    def _normalize(
        self, data: np.ndarray, seg: np.ndarray, configuration_manager: ConfigurationManager, properties: dict[str, Any]
    ) -> np.ndarray:
        self.normalized = []
        for number, channel in enumerate(data):
            if configuration_manager.normalization_schemes[number] == "CTNormalization":
                own = properties[str(number)]
                self.normalized.append((own["mean"], own["std"]))
            else:
                seen = channel[seg[0] >= 0] if configuration_manager.use_mask_for_norm[number] else channel
                self.normalized.append((float(seen.mean()), max(float(seen.std()), 1e-8)))
        normalized: np.ndarray = super()._normalize(data, seg, configuration_manager, properties)
        return normalized


def _preprocess(case: TrainingCase, data: NnunetData, plans: PlansManager) -> None:
    """Stores a case, its organ on the same grid, and how patches of it are looked at, as nnU-Net stores cases."""
    volume, manager = case.volume(), plans.get_configuration(data.configuration)
    preprocessor = _Preprocessor(verbose=False)
    spacing_mm = spacing_of(volume.affine, 3)
    given = {"spacing": list(spacing_mm[::-1])}

    def run(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        arrays = volume.image.transpose(0, 3, 2, 1), marked.transpose(2, 1, 0)[None].astype(np.int16)
        with data.at_work():
            return preprocessor.run_case_npy(*arrays, dict(given), plans, manager, data.dataset_json)

    _, organ, _ = run(case.organ())
    assert volume.label is not None
    image, label, properties = run(volume.label)
    before = properties["shape_after_cropping_and_before_resampling"]
    own = tuple(plans.transpose_forward.index(2 - axis) for axis in range(3))  # which of nnU-Net's each of X, Y, Z is
    zoom = [before[axis] / image.shape[1 + axis] for axis in own]
    windows = tuple(
        Window((window.low - mean) / deviation, (window.high - mean) / deviation)
        for window, (mean, deviation) in zip(case.views[0].windows, preprocessor.normalized, strict=True)
    )
    flat, masked = data.configuration == "2d", any(manager.use_mask_for_norm)
    properties[LOOK] = Look(windows, Turn(own, (), LPS), volume.affine @ np.diag([*zoom, 1.0]), flat, masked)
    patch_size = tuple(manager.patch_size)
    (blocks, chunks), (seg_blocks, seg_chunks) = (comp_blosc2_params(image.shape, patch_size, n) for n in (4, 2))
    with TemporaryDirectory(prefix=".tmp-", dir=data.folder) as unfinished:
        path, organ_path = f"{unfinished}/{case.name}", f"{unfinished}/organ-{case.name}"
        marked = np.ascontiguousarray(organ[0].clip(0).astype(np.uint8))
        nnUNetDatasetBlosc2.save_seg(marked, organ_path, tuple(seg_chunks[1:]), tuple(seg_blocks[1:]))
        arrays = image.astype(np.float32, copy=False), label.astype(np.int16, copy=False)
        sizes = {"chunks": chunks, "blocks": blocks, "chunks_seg": seg_chunks, "blocks_seg": seg_blocks}
        nnUNetDatasetBlosc2.save_case(*arrays, properties, path, **sizes)
        os.replace(f"{organ_path}.b2nd", data.organs / f"{case.name}.b2nd")
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            os.replace(f"{path}{ending}", data.arrays / f"{case.name}{ending}")
