"""The cheap rivals of a GAN, as MONAI transforms; a GAN that does not beat them has not earned its place."""

from medaug.transforms.baselines.histogram import (
    RandHistogramMatch,
    RandHistogramMatchD,
    RandHistogramMatchd,
    RandHistogramMatchDict,
)
from medaug.transforms.baselines.intensity import (
    RandStrongIntensity,
    RandStrongIntensityD,
    RandStrongIntensityd,
    RandStrongIntensityDict,
    random_convolutions,
)

__all__ = [
    "RandHistogramMatch", "RandHistogramMatchD", "RandHistogramMatchDict", "RandHistogramMatchd",
    "RandStrongIntensity", "RandStrongIntensityD", "RandStrongIntensityDict", "RandStrongIntensityd",
    "random_convolutions",
]  # fmt: skip
