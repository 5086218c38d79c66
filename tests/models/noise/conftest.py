"""A GAN trained on toy crops, made once."""

import pytest

from medaug.models.noise.dcgan import DCGAN
from medaug.training import TrainingConfig, fit

from .toy import ToyCrops, tiny_gan


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DCGAN:
    config = TrainingConfig(
        steps=240, batch_size=16, learning_rate=2e-3, workers=0, accelerator="cpu", log_every=240, checkpoint_every=240
    )
    gan = tiny_gan(seed=1, width=8, discriminator_width=8, diversity_weight=0.0)  # the few steps go to the classes
    return fit(gan, ToyCrops(), config, tmp_path_factory.mktemp("toy")).requires_grad_(False)
