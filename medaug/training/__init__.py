"""GAN training: one loop (`fit`) for every translator, and the samples it trains on."""

from medaug.training.config import TrainingConfig
from medaug.training.loop import fit

__all__ = ["TrainingConfig", "fit"]
