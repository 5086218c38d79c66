"""GAN training: one loop (`fit`) for every translator, and the samples it trains on."""

from typing import Any

from medaug.training.config import TrainingConfig

__all__ = ["TrainingConfig", "fit"]


def __getattr__(name: str) -> Any:
    """`fit` brings torch and MONAI along, which a look at the settings does not need."""
    if name != "fit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from medaug.training.loop import fit

    return fit
