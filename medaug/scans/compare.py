"""Compare a synthetic image with the real one on the same grid: scores, errors by tissue, pictures, and a page.

The unit follows from the real image: Hounsfield units for a DICOM CT and for anything that reaches below -500, grey
levels for 8-bit pictures, else arbitrary units, whose range is then the real image's own window.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from medaug.audits.measures.hounsfield import bone_dice, tissue_errors, tissues_of
from medaug.audits.measures.similarity import GREY_LEVELS, HOUNSFIELD, ImagePair, Scale, similarity
from medaug.data.atomic import atomic_path, write_json
from medaug.data.decoding import on_grid_of
from medaug.data.files import read_scan
from medaug.errors import DataError
from medaug.lesions.anatomy import body_of
from medaug.orientation import turn_of
from medaug.report.translation import bland_altman, difference_panel, joint_histogram, shown_range
from medaug.report.viewer import encode
from medaug.report.viewing import case_of_scan, view_page
from medaug.scans.opened import Facts, as_array, read_mask
from medaug.volumes import HU_OF_AIR, Percentiles, Window, spacing_of


def compare_images(real: Path, synthetic: Path, mask: Path | None = None, out: Path | None = None) -> dict[str, Any]:
    """Compares two images of one grid inside a mask; left out, the real image's body.

    Returns:
        real, synthetic, mask (paths), unit, scale, voxels, scores (PSNR of equal images: None), bias (mean of
        synthetic − real, in `unit`) and, in HU, tissues; with `out` written there, with pictures and a page.

    Raises:
        DataError: if a file cannot be read, the grids differ, or the two cannot be in one unit.
    """
    first = read_scan(real)
    second = on_grid_of(read_scan(synthetic), first)
    scale = _scale(first, second, real, synthetic)
    values = as_array(first), as_array(second)
    window = Window(scale.low, scale.high, "HU" if scale == HOUNSFIELD else "au")
    if mask is None:
        turn = turn_of(first.affine.numpy(), values[0].ndim)
        spacing_mm = spacing_of(turn.affine(first.affine.numpy(), values[0].shape), values[0].ndim)
        marked = turn.back(body_of(turn.there(values[0]), window, spacing_mm))
    else:
        marked = as_array(read_mask(mask, first, real)) > 0
    pair = ImagePair(*values, marked)
    scores = {name: value if math.isfinite(value) else None for name, value in similarity([pair], scale).items()}
    found: dict[str, Any] = {
        "real": str(real),
        "synthetic": str(synthetic),
        "mask": "the body, found" if mask is None else str(mask),
        "unit": scale.unit,
        "scale": [scale.low, scale.high],
        "voxels": int(marked.sum()),
        "scores": scores,
        "bias": float((values[1] - values[0])[marked].astype(np.float64).mean()),
    }
    if scale == HOUNSFIELD:
        scores["bone_dice"] = bone_dice([pair])
        found["tissues"] = tissue_errors([pair])
    if out is not None:
        _write(out, found, pair, scale)
        low, high, _ = shown_range(scale)
        shown = Window(low, high, window.unit)
        case = case_of_scan("real and synthetic", [first], second, ("real", "synthetic"), [(shown, shown)])
        view_page(out / "view.html", "Real and synthetic", [encode(case)], {"unit": found["unit"]})
    return found


def _scale(real: MetaTensor, synthetic: MetaTensor, real_path: Path, synthetic_path: Path) -> Scale:
    """The unit of both, and the range that PSNR and SSIM are relative to."""
    low = float(real.min())
    if real.meta["modality"] == "CT" or low < HU_OF_AIR:
        if low < HU_OF_AIR and float(synthetic.min()) >= 0:
            raise DataError.about(
                synthetic_path,
                f"intensities from {float(synthetic.min()):g} to {float(synthetic.max()):g}",
                f"Hounsfield units, as in {real_path}, which reaches down to {low:g}",
                "Convert it to HU: compare in one unit.",
            )
        return HOUNSFIELD
    if float(synthetic.min()) < HU_OF_AIR:
        raise DataError.about(
            synthetic_path,
            f"intensities down to {float(synthetic.min()):g}, as in CT (HU)",
            f"the unit of {real_path}, which goes from {low:g} to {float(real.max()):g}",
            "Compare with the real CT in HU, or convert one of the two.",
        )
    if real.meta["dtype"] == "uint8":
        return GREY_LEVELS
    window = Percentiles().window_of(as_array(real), str(real_path))
    return Scale("au", window.low, window.high)


def _write(out: Path, found: Facts, pair: ImagePair, scale: Scale) -> None:
    real, synthetic = pair.real[pair.mask], pair.synthetic[pair.mask]
    groups = {"all voxels": (real, synthetic)}
    if scale == HOUNSFIELD:
        groups = {name: (real[at], synthetic[at]) for name, at in tissues_of(real).items() if at.any()} or groups
    pictures = {
        "histogram": joint_histogram(real, synthetic, unit=scale.unit),
        "bland_altman": bland_altman(groups, unit=scale.unit),
        "panel": difference_panel(pair, scale),
    }
    for name, png in pictures.items():
        with atomic_path(out / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    write_json(out / "comparison.json", found)
