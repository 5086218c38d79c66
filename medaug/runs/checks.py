"""What is refused of decoded cases before anything is trained: labels without a tumor or one of its parts, organs
without room, scans on grids that do not go together, and a healthy pool that shows tumors.
"""

from __future__ import annotations

import logging

from medaug.config import PipelineConfig
from medaug.data.common_grid import common_spacing_mm
from medaug.data.label_names import Tumors, names_for, tumors_of
from medaug.data.layouts import recognise
from medaug.data.prepared import View, views_of
from medaug.data.records import PreparedCase
from medaug.errors import ConfigError, DataError
from medaug.lesions.geometry import diameter_of_voxels
from medaug.runs.sources import Source
from medaug.splits import Split
from medaug.training.domains import check_one_size
from medaug.volumes import length_unit

logger = logging.getLogger(__name__)


def tumors_of_source(source: Source, found: set[int] | None = None) -> Tumors:
    """Which label values are tumor: as set, or as names say of the values `found` (None: of all that have a name)."""
    data = source.data
    if data.tumor_labels is not None or data.class_values is not None:
        return Tumors(data.tumor_labels, "")
    layout = recognise(source.root) if data.layout == "auto" else data.layout
    names = names_for(source.root, layout, source.cases)
    return tumors_of(names, names if found is None else found, layout)


def check_tumors(source: Source, entries: list[PreparedCase]) -> None:
    """Asks where nobody says which of the labels' values are tumor, and says which were taken where names do.

    Raises:
        ConfigError: if nobody says it.
        DataError: if no label holds a tumor, or a part of it.
    """
    root = source.root
    tumors = tumors_of_source(source, {value for entry in entries for value in entry.label_values})
    if tumors.undecided:
        raise ConfigError(f"{root}: {tumors.sentence}")
    if tumors.values is not None and tumors.sentence:
        logger.warning("%s: %s. Where that is wrong, set data.tumor_labels.", root, tumors.sentence)
    if not any(voxels for entry in entries for counts in entry.class_voxels for voxels in counts):
        raise DataError.about(
            root,
            "no tumor voxel in any label",
            f"labels with {_wanted(tumors.values)}",
            f"Check {source.name}.tumor_labels against the values in your label files.",
        )
    for number, (part, values) in enumerate((source.data.tumor or {}).items()):
        if not any(any(entry.class_voxels[number]) for entry in entries if len(entry.class_voxels) > number):
            raise DataError.about(
                root,
                f"no voxel of the part {part} ({_wanted(values)}) in any label",
                "every part of data.tumor somewhere",
                f"Correct {source.name}.tumor, or leave the part out.",
            )


def check_pool(config: PipelineConfig, source: Source, split: Split, entries: list[PreparedCase]) -> None:
    """Refuses a healthy pool without a view that shows no tumor.

    Raises:
        DataError: saying how to get one.
    """
    pool = [entry for entry in entries if entry.patient in split.healthy]
    if pool and all(view.tumor_voxels for view in views_of(pool, config.data.spatial_dims)):
        raise DataError.about(
            source.root,
            f"a tumor in every scan of the {len(split.healthy)} patients of split.healthy",
            "scans without a tumor, because data.spatial_dims is 3",
            "Give a folder of tumor-free scans in data.healthy, or work in 2-D.",
        )


def check_grid(config: PipelineConfig, trained: list[PreparedCase]) -> None:
    """Refuses scans to train on without one voxel size, or one size where they are read whole, before any training.

    Raises:
        DataError: naming one.
    """
    dims = config.data.spatial_dims
    views = [View(entry, 0 if len(entry.shape) > dims else None, 0) for entry in trained]
    common_spacing_mm(views)
    if config.crop.size is None:
        check_one_size(views)


def check_organs(config: PipelineConfig, source: Source, trained: list[PreparedCase]) -> None:
    """Tells the organs to train on in which no lesion that is learnt has room; refuses if that is all of them.

    An organ's room is the circle (in 2-D of its largest slice) or the sphere of its size.

    Raises:
        DataError: saying how large they are.
    """
    dims, least_mm = config.data.spatial_dims, config.crop.min_diameter_mm
    room_mm = {
        entry.case: diameter_of_voxels(
            sum(entry.tissue_voxels) if len(entry.shape) == dims else max(entry.tissue_voxels), entry.spacing_mm[:dims]
        )
        for entry in trained
    }
    small = [case for case, found_mm in room_mm.items() if found_mm < least_mm]
    if small and len(small) == len(trained):
        raise DataError.about(
            source.root,
            f"organs of at most {max(room_mm.values()):.3g} {length_unit(*trained)} across in all training scans",
            f"room for a lesion of {least_mm:g} (crop.min_diameter_mm)",
            "Correct data.organ or the voxel size, or lower crop.min_diameter_mm.",
        )
    if small:
        logger.warning(
            "the organ of %d training scan(s) has no room for a lesion of %g %s, and none is inserted there: %s",
            len(small),
            least_mm,
            length_unit(*trained),
            ", ".join(small),
        )


def _wanted(values: tuple[int, ...] | None) -> str:
    return "a value above 0" if values is None else f"one of the values {', '.join(map(str, values))}"
