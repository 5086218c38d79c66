"""Single scans in and out, as the commands on one scan need them: checked on the way in, kept in their own units.

A scan's window follows the weights' domain; an image of another modality is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.data.files import read_label, read_scan
from medaug.data.grid import on_grid_of
from medaug.data.suffixes import NIFTI, TIFF, suffix_of
from medaug.errors import ConfigError
from medaug.models.weights import Weights
from medaug.splits import pseudonym
from medaug.transforms.base import check_edits_tumors
from medaug.volumes import Domain, Window, affine_of, check_is_label, check_modality

LOSSLESS_PICTURES = (".png", *TIFF)


def read_one(scan: Path, sequence: str | None, weights: Weights) -> MetaTensor:
    """The scan (1, *S) that these weights are to edit; see `read_for`.

    Raises:
        WeightsError: if the weights do not edit tumors.
    """
    check_edits_tumors(weights)
    return read_for(scan, sequence, weights.translator.domain_a, weights.facts)


def read_for(scan: Path, sequence: str | None, domain: Domain, facts: dict[str, Any]) -> MetaTensor:
    """A scan (1, *S); a picture without a voxel size is taken to have that of the pictures the weights learnt from.

    Its meta has the "length_unit" of its sizes, "px" where neither knows one.

    Args:
        facts: of the weights.

    Raises:
        ConfigError: if `sequence` is not a channel's number.
        DataError: if the scan cannot be read, or is of another modality than `domain`.
    """
    if sequence is not None and not sequence.isdigit():
        raise ConfigError(f"--sequence {sequence}: a single file's channels have no names; give the number, from 0")
    image = read_scan(scan, channel=int(sequence) if sequence is not None else None)
    check_modality(image.as_tensor().numpy(), domain, str(scan), image.meta["modality"])
    known = facts.get("picture_spacing_mm")
    if known and not image.meta["spacing_known"]:
        image.affine = torch.from_numpy(affine_of(tuple(known)[: image.ndim - 1]))
    image.meta["length_unit"] = "mm" if known or image.meta["spacing_known"] else "px"
    return image


def read_mask(path: Path, image: MetaTensor, scan: Path) -> MetaTensor:
    """A mask (1, *S) on the scan's grid; where only its axes run otherwise, they are turned, which changes no voxel.

    Raises:
        DataError: if it lies on another grid, or is an image (the scan itself, for one).
    """
    mask = on_grid_of(read_label(path), image)
    check_is_label(as_array(mask), as_array(image), str(path), str(scan))
    return mask


def window_for(weights: Weights, image: MetaTensor, scan: Path) -> Window:
    """The scan's window, as the weights' domain finds it."""
    return weights.translator.domain_a.window_of(image.as_tensor().numpy(), str(scan))


def output_suffix(scan: Path, image: MetaTensor) -> str:
    """The ending of what is written: the scan's own, or the nearest that loses nothing."""
    suffix = suffix_of(scan)
    if suffix in NIFTI:
        return suffix
    if image.ndim == 3 and not image.meta["spacing_known"]:
        return suffix if suffix in LOSSLESS_PICTURES else ".png"
    return ".nii.gz"


def unnamed(lesion: dict[str, Any]) -> dict[str, Any]:
    """What is told of an inserted lesion: the training patient whose lesion it started from goes by a pseudonym."""
    patient = lesion.get("patient")
    return lesion if patient is None else lesion | {"patient": pseudonym(patient)}


def as_array(image: MetaTensor) -> np.ndarray:
    """(1, *S) as (*S)."""
    return np.asarray(image.as_tensor())[0]
