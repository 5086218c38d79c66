"""What commands on a single scan share: reading it and its masks, its window, and the format of what is written."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.data import MetaTensor

from medaug.errors import ConfigError
from medaug.io.files import read_label, read_scan
from medaug.io.suffixes import NIFTI, TIFF, suffix_of
from medaug.translators.weights import Weights
from medaug.volumes import Window, affine_of, check_same_grid

LOSSLESS_PICTURES = (".png", *TIFF)


def read_one(scan: Path, sequence: str | None, weights: Weights) -> MetaTensor:
    """The scan; a picture without a voxel size is taken to have that of the pictures the weights were trained on."""
    if sequence is not None and not sequence.isdigit():
        raise ConfigError(f"--sequence {sequence}: a single file's channels have no names; give the number, from 0")
    image = read_scan(scan, channel=int(sequence) if sequence is not None else None)
    known = weights.facts.get("picture_spacing_mm")
    if known and not image.meta["spacing_known"]:
        image.affine = torch.from_numpy(affine_of(tuple(known)[: image.ndim - 1]))
    return image


def window_of(weights: Weights, image: MetaTensor, scan: Path) -> Window:
    return weights.translator.domain_a.window_of(image.as_tensor().numpy(), str(scan))


def read_mask(path: Path, image: MetaTensor, scan: Path) -> MetaTensor:
    mask = read_label(path)
    affine = mask.affine.numpy() if mask.meta["spacing_known"] and image.meta["spacing_known"] else image.affine.numpy()
    check_same_grid(image.shape[1:], mask.shape[1:], image.affine.numpy(), affine, str(scan), str(path))
    return mask


def suffix_to_write(scan: Path, image: MetaTensor) -> str:
    """The scan's own format where it can be written without loss, else PNG for a picture and NIfTI for a volume."""
    suffix = suffix_of(scan)
    if suffix in NIFTI:
        return suffix
    return (suffix if suffix in LOSSLESS_PICTURES else ".png") if image.ndim == 3 else ".nii.gz"
