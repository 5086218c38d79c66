"""One case from its files: image, class numbers and affine, checked against each other, turned, on the wanted grid."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import nibabel
import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.files import read_label, read_scan
from medaug.data.fingerprints import fingerprints_of
from medaug.data.opening import LIMIT, most_bytes
from medaug.data.records import Case
from medaug.errors import ConfigError, DataError
from medaug.orientation import check_same_grid, displacement_mm, same_place_mm, turn_of
from medaug.resampling import grid_of_spacing, resample_classes, resample_image, resampled_affine
from medaug.volumes import affine_of, check_is_label, spacing_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How cases are prepared; part of each case's fingerprint.

    Attributes:
        spatial_dims: 2 takes pictures and volumes (used slice by slice), 3 takes volumes only.
        tumor_labels: label values that count as tumor; None counts every value but 0 and the organ's.
        classes: label values of class 1, class 2, ...; None: one class, the tumor.
        grid_size: size to resample to, (X, Y) in the plane or (X, Y, Z) of volumes; None keeps the file's grid.
        resample_mm: voxel size to resample to instead, in the plane or of volumes, as near as the field of view allows.
        spacing_mm: voxel size of files that do not store one (pictures); without it all their sizes are in pixels.
        known_labels: all values that a label may hold; None allows any.
        organ_labels: label values of where tumors may lie; None: the label does not say it.
    """

    spatial_dims: int
    tumor_labels: tuple[int, ...] | None = None
    classes: tuple[tuple[int, ...], ...] | None = None
    grid_size: tuple[int, ...] | None = None
    resample_mm: tuple[float, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    known_labels: tuple[int, ...] | None = None
    organ_labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.grid_size is not None and self.resample_mm is not None:
            raise ConfigError("grid_size and resample_mm both say which grid: give one of them")


class Decoded(NamedTuple):
    """A case's arrays; S is (X, Y) or (X, Y, Z).

    Attributes:
        image: (C, *S) float32, each channel in its own unit.
        label: (*S) uint8 class numbers, None where the case has no label.
        organ: (*S) bool, where tumors may lie: the organ's values and the tumor's; None where no file says it.
        label_voxels: how often each value stands in the label's file.
        affine: (4, 4), of the grid that the arrays are on.
        stored_mm: voxel size of the files, by axis of the arrays.
        facts: what the file says of its values and its axes, and the `fingerprints` of these (before any resampling).
    """

    image: np.ndarray
    label: np.ndarray | None
    organ: np.ndarray | None
    label_voxels: dict[int, int]
    affine: np.ndarray
    stored_mm: tuple[float, ...]
    facts: dict[str, Any]


def decode(case: Case, options: Options) -> Decoded:
    """Reads a case, turns it (see `orientation`), brings it to the wanted grid; errors as in `cache.prepare_cases`."""
    scans = _read_sequences(case, options)
    image, affine = np.stack([scan.as_tensor()[0].numpy() for scan in scans]), scans[0].affine.numpy()
    facts: dict[str, Any] = {"source_dtypes": [scan.meta["dtype"] for scan in scans]}
    shape = image.shape[1:]
    if not scans[0].meta["spacing_known"]:
        spacing_mm = options.spacing_mm or (1.0,) * len(shape)
        if len(spacing_mm) != len(shape):
            raise ConfigError(f"spacing_mm has {len(spacing_mm)} values; {case.path} has {len(shape)} axes")
        affine = affine_of(tuple(spacing_mm))
        if options.spacing_mm is None:
            facts["length_unit"] = "px"
    if any(scan.meta["modality"] for scan in scans):
        facts["source_modalities"] = [scan.meta["modality"] for scan in scans]
    held = [number for number, file in enumerate(case.sequences) if file.image]
    marked, label_voxels = _read_marks(case, options, scans[held[0]], facts)
    turn = turn_of(affine, len(shape))
    facts["source_axes"] = "".join(nibabel.aff2axcodes(affine))
    image = np.stack([turn.there(channel) for channel in image])
    marked = {kind: turn.there(array) for kind, array in marked.items()}
    facts["fingerprints"] = list(dict.fromkeys(f for number in held for f in fingerprints_of(image[number])))
    affine = turn.affine(affine, shape)
    shape, stored_mm = image.shape[1:], spacing_of(affine, len(shape))
    asked, grid = options.grid_size or options.resample_mm or (), options.grid_size or ()
    if len(asked) > len(shape):
        name = "grid_size" if options.grid_size else "resample_mm"
        raise ConfigError(f"{name} has {len(asked)} sizes; {case.path} is a picture. Give two sizes.")
    if options.resample_mm is not None:
        grid = grid_of_spacing(shape, stored_mm, options.resample_mm)
    if (size := 4 * len(image) * math.prod((*grid, *shape[len(grid) :]))) > most_bytes():
        raise ConfigError(
            f"grid_size or resample_mm: found a grid of {' × '.join(map(str, grid))} for {case.path}, which takes "
            f"{size:,} bytes; expected at most {most_bytes():,} ({LIMIT}). Ask for fewer, larger voxels."
        )
    if grid != shape[: len(grid)]:
        affine = resampled_affine(affine, shape, grid)
        image = np.stack([resample_image(channel, grid) for channel in image])
        resampled = {kind: resample_classes(array, grid) for kind, array in marked.items()}
        if "label" in marked:
            before, after = (set(np.unique(arrays["label"]).tolist()) for arrays in (marked, resampled))
            if lost := sorted(before - after - {0}):
                which = "its label" if options.classes is None else f"class {', '.join(map(str, lost))} of its label"
                log.warning("%s: %s is too small for the grid %s and is lost", case.label, which, grid)
        marked = resampled
    label, organ = marked.get("label"), marked.get("organ")
    if organ is not None:
        organ = (organ > 0) | (label > 0 if label is not None else False)
    return Decoded(image, label, organ, label_voxels, affine, stored_mm, facts)


def check_known_labels(values: Iterable[int], known: Sequence[int] | None, path: str) -> None:
    """Refuses a label with other values than 0 and those declared, by a DataError that names them."""
    if known is not None and (unknown := sorted(set(values) - {0, *known})):
        found, expected = f"label values {unknown}", f"only 0 and {sorted(set(known))}"
        remedy = "Name them in the label map (data.tumor, data.organ, or data.known_labels), or correct the file."
        raise DataError.about(path, found, expected, remedy)


def check_organ(values: Iterable[int], organ: Sequence[int], path: str) -> None:
    """Refuses a label without any of the organ's values, by a DataError that names them."""
    if set(values).isdisjoint(organ):
        found = f"none of the organ's values {', '.join(map(str, organ))}"
        raise DataError.about(path, found, "an organ in every label", "Correct data.organ, or leave the case out.")


def _read_sequences(case: Case, options: Options) -> list[MetaTensor]:
    """The image's channels (1, *S) each, on the grid of the first that is there; zeros of one that the case lacks."""
    read: list[MetaTensor] = []
    for file in case.sequences:
        if not file.image:
            continue
        scan = read_scan(file.image, channel=file.channel, series_uid=file.series_uid)
        image = scan.as_tensor()[0].numpy()
        if image.ndim < options.spatial_dims:
            found, expected = f"a 2-D image of shape {image.shape}", "a volume, because the method is 3-D"
            raise DataError.about(file.image, found, expected, "Set spatial_dims to 2, or give volumes.")
        if image.min() == image.max():
            found, remedy = f"a constant image (all {image.min():g})", "Leave it out, or choose another `--sequence`."
            raise DataError.about(file.image, found, "an image with contrast", remedy)
        read.append(on_grid_of(scan, read[0]) if read else scan)
    like, there = read[0], iter(read)
    empty = MetaTensor(torch.zeros_like(like.as_tensor()), affine=like.affine, meta=like.meta | {"modality": None})
    return [next(there) if file.image else empty for file in case.sequences]


def _read_marks(
    case: Case, options: Options, scan: MetaTensor, facts: dict[str, Any]
) -> tuple[dict[str, np.ndarray], dict[int, int]]:
    """Class numbers and the organ (uint8) by kind, as far as files say them, and the label's voxels by value."""
    marked: dict[str, np.ndarray] = {}
    voxels: dict[int, int] = {}
    if case.organ is not None:
        marked["organ"] = on_grid_of(read_label(case.organ), scan).as_tensor()[0].numpy() > 0
        if not marked["organ"].any():
            raise DataError.about(case.organ, "an empty organ", "the organ marked", "Mark it, or leave the case out.")
    if case.label is not None:
        label = on_grid_of(read_label(case.label), scan).as_tensor()[0].numpy()
        check_is_label(label, scan.as_tensor()[0].numpy(), case.label, case.path)
        values, counts = values_in(label)
        voxels = dict(zip(values.tolist(), counts.tolist(), strict=True))
        check_known_labels(voxels, options.known_labels, case.label)
        if options.classes is None:
            others = (0, *(options.organ_labels or ()))
            tumors = options.tumor_labels
            classes = np.isin(label, others, invert=True) if tumors is None else np.isin(label, tumors)
        else:
            classes = np.zeros(label.shape, dtype=np.uint8)
            for number, of_class in enumerate(options.classes, start=1):
                classes[np.isin(label, of_class)] = number
        facts["label_values"], facts["tumor_values"] = list(voxels), values_in(label[classes > 0])[0].tolist()
        marked["label"] = classes
        if options.organ_labels is not None:
            check_organ(voxels, options.organ_labels, case.label)
            marked["organ"] = np.isin(label, options.organ_labels)
    return {kind: array.astype(np.uint8) for kind, array in marked.items()}, voxels


def values_in(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a label and how often each occurs; bytes are counted without sorting millions of them."""
    if label.dtype != np.uint8:
        return np.unique(label, return_counts=True)
    counts = np.bincount(label.reshape(-1))
    return np.flatnonzero(counts), counts[counts > 0]


def on_grid_of(scan: MetaTensor, image: MetaTensor) -> MetaTensor:
    """A label, mask or second scan (1, *S) on an image's grid, its voxels as they are.

    Where the two have the same voxels with their axes in another order or sense, as converters of DICOM write them, the
    scan's axes are turned. Of pictures, which have no place, the sizes are compared.

    Raises:
        DataError: naming both files, if the scan lies on another grid.
    """
    shape, array, affine = tuple(image.shape[1:]), np.asarray(scan.as_tensor())[0], scan.affine.numpy()
    target = image.affine.numpy()
    if not (scan.meta["spacing_known"] and image.meta["spacing_known"]):
        affine = target
    elif (turned := _turned(array, affine, shape, target)) is not None:
        array, affine = turned, target
    check_same_grid(shape, array.shape, target, affine, image.meta["path"], scan.meta["path"])
    return MetaTensor(torch.from_numpy(array)[None], affine=image.affine, meta=dict(scan.meta))


def _turned(array: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], target: np.ndarray) -> np.ndarray | None:
    """The array with its axes in the order and sense in which its voxels lie where `target` puts those of `shape`.

    None if there is no such order. One axis of length 1 is as good as none.
    """
    volume, size = (tuple((*lengths, 1, 1)[:3]) for lengths in (array.shape, shape))
    turns = []
    for order in itertools.permutations(range(3)):
        if tuple(volume[axis] for axis in order) != size:
            continue
        for senses in itertools.product((1, -1), repeat=3):
            step = np.zeros((4, 4))  # from an index of the turned array to one of the stored array
            step[3, 3] = 1
            for new, (old, sense) in enumerate(zip(order, senses, strict=True)):
                step[old, new], step[old, 3] = sense, 0 if sense > 0 else volume[old] - 1
            turns.append((displacement_mm(affine @ step, target, size), order, senses))
    apart, order, senses = min(turns, key=lambda turn: turn[0], default=(np.inf, (), ()))
    if not apart <= same_place_mm(target, shape):
        return None
    turned = array.reshape(volume).transpose(order)[tuple(slice(None, None, sense) for sense in senses)]
    return np.ascontiguousarray(turned.reshape(shape))
