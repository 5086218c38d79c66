"""Who trains the downstream networks: medaug itself (`monai`), or nnU-Net v2 (`nnunet`)."""

from __future__ import annotations

from medaug.config import EvaluationConfig
from medaug.errors import ConfigError
from medaug.experiment.backends.monai import DOWNSTREAM
from medaug.experiment.downstream import Downstream
from medaug.nnunet import library


def downstream_kind(settings: EvaluationConfig) -> type[Downstream]:
    """The kind of downstream network that the settings ask for.

    Raises:
        ConfigError: if the backend cannot train such a network, or is not installed.
    """
    if settings.backend == "monai":
        return DOWNSTREAM[settings.task]
    if settings.task != "segmentation":
        raise ConfigError(
            f"evaluation.backend: found nnunet with evaluation.task {settings.task}; expected segmentation, which is "
            "all that nnU-Net does. Set evaluation.backend to monai, or choose that task."
        )
    library.nnunet()
    from medaug.experiment.backends.nnunet import NnunetSegmentation  # seconds, and an extra

    return NnunetSegmentation
