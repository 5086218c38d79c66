"""A frozen segmentation network: what the segmentation term of a translator looks through."""

from __future__ import annotations

from lightning_fabric import Fabric
from torch import Tensor, nn

from medaug.evaluation.segmentation import Samples, SegmentationConfig, padded, train_segmenter


class FrozenSegmenter(nn.Module):
    """(B, 1, *S) in [-1, 1] → tumor logits (B, 1, *S) of any size, with gradients to the image only."""

    def __init__(self, network: nn.Module, config: SegmentationConfig):
        super().__init__()
        self.network, self.config = network.eval().requires_grad_(False), config

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(padded(x, self.config))
        return logits[(..., *(slice(n) for n in x.shape[2:]))]


def train_frozen_segmenter(samples: Samples, config: SegmentationConfig, *, seed: int, fabric: Fabric) -> nn.Module:
    """Trains the network of the downstream test on `samples` (see `train_segmenter`) and freezes it, on the CPU."""
    return FrozenSegmenter(train_segmenter(samples, config, seed=seed, fabric=fabric).cpu(), config)
