"""Radiomics features of a lesion (van Griethuysen 2017; definitions of PyRadiomics), by numpyradiomics.

First-order statistics and grey-level co-occurrence, dependence, size-zone and neighbourhood matrices inside the mask,
of the image itself. Intensities are shifted from [-1, 1] to [0, 2] and cut into bins of one fixed width, 32 over the
range, so that a feature means the same in every lesion.

Run-length matrices are left out: numpyradiomics 0.0.5 cannot make them of a slice. Needs `medaug[radiomics]`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from medaug.errors import ConfigError, DataError

BIN_WIDTH = 2 / 32
FAMILIES = ("firstorder", "glcm", "gldm", "glszm", "ngtdm")
UNDEFINED = {"firstorder Skewness": 0.0, "firstorder Kurtosis": 3.0}
"""Of a region of one grey level, which has neither: those of a normal distribution."""


def radiomics_features(crop: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """By name, such as "glcm Contrast".

    Args:
        crop: (X, Y) or (X, Y, Z) in [-1, 1].
        mask: the lesion, same shape.

    Raises:
        ConfigError: if numpyradiomics is not installed.
        DataError: if shapes differ, the mask is empty, or a feature is not finite.
    """
    radiomics = _library()
    crop, mask = np.asarray(crop, dtype=np.float64), np.asarray(mask).astype(bool)
    if crop.shape != mask.shape or not mask.any():
        raise DataError(
            f"mask: found shape {mask.shape} with {int(mask.sum())} voxels; expected some, of the crop's {crop.shape}"
        )
    features = {
        f"{family} {name}": float(value)
        for family in FAMILIES
        for name, value in _family(radiomics, family, crop + 1.0, mask).items()
    }
    features = {name: UNDEFINED.get(name, x) if np.isnan(x) else x for name, x in features.items()}
    if bad := [name for name, x in features.items() if not np.isfinite(x)]:
        raise DataError(f"radiomics: found {bad[0]} not finite, and {len(bad) - 1} more; expected a finite crop")
    return features


def radiomics_table(crops: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N, F) of crops and masks (N, *S), columns in the order of `radiomics_features`."""
    return np.array([list(radiomics_features(*pair).values()) for pair in zip(crops, masks, strict=True)])


def radiomics_available() -> bool:
    try:
        _library()
    except ConfigError:
        return False
    return True


def _library() -> ModuleType:
    try:
        import numpyradiomics
    except ImportError as error:
        raise ConfigError(
            'radiomics features need numpyradiomics, which is not installed: pip install "medaug[radiomics]"'
        ) from error
    return numpyradiomics


def _family(radiomics: ModuleType, family: str, image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    options = {"extend": False} if family == "firstorder" else {}
    with np.errstate(divide="ignore", invalid="ignore"):
        return getattr(radiomics, family)(image, mask, binWidth=BIN_WIDTH, **options)
