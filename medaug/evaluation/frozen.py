"""A frozen segmentation network: what the segmentation term of a translator looks through."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medaug.evaluation.segmentation import Samples, SegmentationConfig, padded, train_segmenter


class FrozenSegmenter(nn.Module):
    """(B, C, *S) in [-1, 1] → logits (B, K, *S) of K classes, any size, with gradients to the image only.

    Of neighbouring slices as channels (2.5-D) it looks at the middle one, which the labels are of.
    Also of several classes a sigmoid of a logit is that class's probability.
    """

    def __init__(self, network: nn.Module, config: SegmentationConfig):
        super().__init__()
        self.network, self.config = network.eval().requires_grad_(False), config

    def forward(self, x: Tensor) -> Tensor:
        middle = x.shape[1] // 2
        logits = self.network(padded(x[:, middle : middle + 1], self.config))
        logits = logits[(..., *(slice(n) for n in x.shape[2:]))]
        return logits if self.config.classes == 1 else _against_the_rest(logits)


def _against_the_rest(logits: Tensor) -> Tensor:
    """Log odds of each class but none (channel 0), from those of a softmax."""
    rest = [torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(1) for k in range(1, logits.shape[1])]
    return logits[:, 1:] - torch.stack(rest, dim=1)


def train_frozen_segmenter(
    samples: Samples, config: SegmentationConfig, *, seed: int, fabric: Fabric
) -> FrozenSegmenter:
    """Trains the network of the downstream test on `samples` (see `train_segmenter`) and freezes it, on the CPU."""
    return FrozenSegmenter(train_segmenter(samples, config, seed=seed, fabric=fabric).cpu(), config)
