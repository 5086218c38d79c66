"""A frozen segmentation network: what the segmentation term of a translator looks through, and what judges insertions.

`agreement` asks it whether it sees what was inserted: Dice of its answer and the mask, around the inserted lesions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from medaug.evaluation.metrics import dice
from medaug.evaluation.segmentation import SegmentationConfig, padded, predict
from medaug.evaluation.updates import Samples, train_network
from medaug.lesions.geometry import component_boxes


class FrozenSegmenter(nn.Module):
    """(B, C, *S) in [-1, 1] → logits (B, K, *S) of K classes, any size, with gradients to the image only.

    Where channels are neighbouring slices (2.5-D), it looks at the middle one, which the labels are of. A sigmoid of a
    logit is that class's probability, also where there are several.
    """

    def __init__(self, network: nn.Module, config: SegmentationConfig):
        super().__init__()
        self.network, self.config = network.eval().requires_grad_(False), config

    def forward(self, x: Tensor) -> Tensor:
        middle = x.shape[1] // 2
        logits = self.network(padded(x[:, middle : middle + 1], self.config))
        logits = logits[(..., *(slice(n) for n in x.shape[2:]))]
        if self.config.classes == 1:
            return logits
        # the log odds of each class but none (channel 0) against all the others of a softmax
        rest = [torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(1) for k in range(1, logits.shape[1])]
        return logits[:, 1:] - torch.stack(rest, dim=1)


def train_frozen_segmenter(
    samples: Samples, config: SegmentationConfig, *, seed: int, fabric: Fabric
) -> FrozenSegmenter:
    """Trains the network of the downstream test on `samples` (see `train_network`) and freezes it, on the CPU."""
    return FrozenSegmenter(train_network(samples, config, seed=seed, fabric=fabric).cpu(), config)


def agreement(
    segmenter: FrozenSegmenter,
    image: np.ndarray,
    label: np.ndarray,
    inserted: np.ndarray,
    patch_size: tuple[int, ...] | None = None,
) -> float:
    """Dice in [0, 1] inside `around(inserted)`, real tumors left out; 0 where nothing is inserted.

    What the network makes of real tumors, and of the rest of the scan, says nothing of the insertion.

    Args:
        image: (*S) in [-1, 1]; a volume goes through a 2-D network slice by slice.
        label: (*S), all tumors; `inserted` (bool, *S) the new ones.
        patch_size: 3-D: of the windows that the network goes through the volume in; None is all at once.
    """
    if not inserted.any():
        return 0.0
    dims, array = segmenter.config.spatial_dims, torch.from_numpy(image)
    config = replace(segmenter.config, patch_size=patch_size if dims == 3 else None)
    if array.ndim == dims:
        seen = predict(segmenter.network, array[None], config)[0].numpy() > 0
    else:  # slices as a stack (Z, 1, X, Y)
        seen = predict(segmenter.network, array.movedim(-1, 0)[:, None], config)[:, 0].movedim(0, -1).numpy() > 0
    region = around(inserted) & ~((label > 0) & ~inserted)
    return dice([(seen & region, inserted)])


def around(inserted: np.ndarray) -> np.ndarray:
    """The boxes (bool, *S) twice as long as each inserted lesion, with it in the middle."""
    region = np.zeros(inserted.shape, dtype=bool)
    for box in component_boxes(inserted):
        margins = [-(-(axis.stop - axis.start) // 2) for axis in box]
        region[tuple(slice(max(0, a.start - m), a.stop + m) for a, m in zip(box, margins, strict=True))] = True
    return region
