"""Styles of a tumor, for methods that know them (MUNIT): drawn, given, or taken from a reference scan.

A style is a vector of `translator.style_dim` numbers whose prior is N(0, I); one style serves all slices of a volume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medaug.errors import ConfigError, DataError, WeightsError
from medaug.lesions.geometry import component_boxes
from medaug.models.weights import Weights
from medaug.transforms.engine import lesion_crop
from medaug.transforms.planning import Style
from medaug.volumes import Window, widest_slice


def check_style(style: Style | None, weights: Weights) -> tuple[float, ...] | None:
    """A style that fits these weights, as plain numbers.

    Raises:
        WeightsError: if they know no styles.
        ConfigError: if it has another length, or is not finite.
    """
    if style is None:
        return None
    check_styled(weights)
    return fitting_style(style, weights)


def fitting_style(style: Style, weights: Weights) -> tuple[float, ...]:
    """A style of these weights, mask-guided or plain, as plain numbers; the errors are those of `check_style`."""
    length = _style_length(weights)
    values = tuple(float(value) for value in style)
    if len(values) != length or not np.isfinite(values).all():
        raise ConfigError(f"style: found {len(values)} values; expected {length} finite numbers, about N(0, 1)")
    return values


@torch.inference_mode()
def style_of(
    image: np.ndarray,
    region: np.ndarray,
    windows: Sequence[Window],
    weights: Weights,
    spacing_mm: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """The style of the tumor that `region` (*S, bool or part numbers) marks in an image (C, *S) of the scan's unit.

    Its largest connected piece counts; 2-D weights look at the slice of a volume where that is widest.

    Args:
        windows: a channel each.
        spacing_mm: of the image; None: the weights' own.

    Raises:
        WeightsError: if the weights know no styles.
        DataError: if nothing is marked.
    """
    check_styled(weights)
    if not region.any():
        raise DataError("the style mask is empty; mark the tumor whose style is wanted")
    if weights.translator.spatial_dims < region.ndim:
        level = widest_slice(region)
        return style_of(image[..., level], region[..., level], windows, weights, spacing_mm)
    spacing_mm = (weights.spacing_mm if spacing_mm is None else spacing_mm)[: region.ndim]
    crop, parts, _ = lesion_crop(image, region, windows, weights, component_boxes(region > 0)[0], spacing_mm)
    x, mask = (torch.from_numpy(array)[None].to(weights.device) for array in (crop, parts))
    code = weights.translator.encode_style(x, "b", mask=mask)
    return tuple(float(value) for value in code[0].cpu())


def check_styled(weights: Weights) -> None:
    _style_length(weights)
    if not weights.translator.mask_guided:
        raise WeightsError("these weights are of a plain translator; a tumor's style needs mask-guided ones")


def _style_length(weights: Weights) -> int:
    translator = weights.translator
    if not translator.style_dim:
        raise WeightsError(f"weights of '{translator.name}' know no styles; train with --model munit")
    return translator.style_dim
