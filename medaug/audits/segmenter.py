"""The frozen segmentation network of a run: what translators and the quality gate look through (`segmenter`)."""

from __future__ import annotations

from medaug.config import PipelineConfig
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import FrozenSegmenter
from medaug.evaluation.samples import SegmentationSamples, ViewFolder
from medaug.evaluation.updates import train_network
from medaug.training.processes import make_fabric


def frozen_segmenter(
    config: PipelineConfig, labelled: ViewFolder, patch_size: tuple[int, ...] | None
) -> FrozenSegmenter:
    """Trains it on these real views alone; the same views and settings give the same network."""
    settings, training = config.segmenter, config.training
    network = SegmentationConfig(
        spatial_dims=config.data.spatial_dims,
        classes=len(config.data.class_names),
        channels=settings.channels,
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
    )
    samples = SegmentationSamples(
        labelled,
        None,
        synthetic_ratio=0.0,
        seed=training.seed,
        length=settings.updates * settings.batch_size,
        patch_size=patch_size,
    )
    exact = training.model_copy(update={"precision": "32-true"})
    trained = train_network(samples, network, seed=training.seed, fabric=make_fabric(exact, alone=True))
    return FrozenSegmenter(trained.cpu(), network)
