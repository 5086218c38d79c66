"""What trained downstream networks say of images: segmentations, the probability of a tumor, and frozen ones.

A frozen segmentation network is what the segmentation term of a translator looks through, and what judges insertions.
Images are (C, *S) in [-1, 1], S = (X, Y) or (X, Y, Z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets.dynunet import DynUNetSkipLayer
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from medaug.errors import DataError
from medaug.evaluation.metrics import dice
from medaug.evaluation.networks import ClassificationConfig, SegmentationConfig, padded
from medaug.evaluation.outlines import Region
from medaug.evaluation.regions import class_of_each
from medaug.evaluation.updates import in_precision
from medaug.lesions.geometry import component_boxes


def probability(network: nn.Module, image: Tensor, config: SegmentationConfig) -> Tensor:
    """By region (or the one class) its probability in every voxel, float32 in [0, 1], on the image's device.

    See `logits`; what a softmax tells apart has other probabilities.
    """
    return torch.sigmoid(logits(network, image, config))


def predict(network: nn.Module, image: Tensor, config: SegmentationConfig, threshold: float = 0.5) -> Tensor:
    """The segmentation, one channel: bool (`probability` above `threshold`); of several classes, uint8 numbers.

    Regions above the threshold are written one after the other, the class that each adds (`class_of_each`). Classes
    of a softmax go by the largest logit, whatever the threshold.
    """
    channels = -config.spatial_dims - 1
    if not config.sigmoids:
        return logits(network, image, config).argmax(dim=channels, keepdim=True).to(torch.uint8)
    found = probability(network, image, config) > threshold
    if config.classes == 1:
        return found
    numbers = torch.zeros_like(found.narrow(channels, 0, 1), dtype=torch.uint8)
    for region, number in enumerate(class_of_each(config.sigmoids, range(1, config.classes + 1))):
        numbers[found.narrow(channels, region, 1)] = number
    return numbers


@torch.inference_mode()
def logits(network: nn.Module, image: Tensor, config: SegmentationConfig) -> Tensor:
    """The network's output for images of any size, float32 on the image's device; in place of the image's channels.

    Args:
        image: 2-D: a slice (C, X, Y) or a stack (N, C, X, Y); 3-D: a volume (C, X, Y, Z). Any size: it is padded
            by its edge values to what the network takes, and cropped back.

    Raises:
        DataError: if the shape does not fit `config.spatial_dims`.
    """
    dims, channels = config.spatial_dims, config.sequences
    stack = dims == 2 and image.ndim == 4
    if not stack and image.ndim != dims + 1 or image.shape[1 if stack else 0] != channels:
        expected = f"({channels}, X, Y) or (N, {channels}, X, Y)" if dims == 2 else f"({channels}, X, Y, Z)"
        raise DataError(f"image: found shape {tuple(image.shape)}; expected {expected}. Add or move the channel axis.")
    device = next(network.parameters()).device
    forward = in_precision(network, config.precision, device)
    images = convert_to_tensor(image if stack else image[None], track_meta=False, dtype=torch.float32)  # (N, C, *S)
    size = config.patch_size

    def windows(large: Tensor) -> Tensor:
        if size is None:
            return forward(large)
        joined = sliding_window_inference(
            large, size, config.batch_size, forward, overlap=config.overlap, mode="gaussian"
        )
        assert isinstance(joined, Tensor)  # as `forward` gives one
        return joined

    parts = []
    for part in images.split(config.batch_size):
        large = padded(part.to(device), config, size)
        views = [windows(large.flip(axes)).flip(axes) for axes in _subsets([2 + axis for axis in config.mirror_axes])]
        parts.append(torch.stack(views).mean(dim=0))
    result = torch.cat(parts)
    own = (slice(None), slice(None), *(slice(n) for n in images.shape[2:]))
    result = result[own].float().to(image.device)
    return result if stack else result[0]


def _subsets(axes: Sequence[int]) -> list[list[int]]:
    """All of them, the empty one first."""
    return [[axis for bit, axis in enumerate(axes) if number >> bit & 1] for number in range(2 ** len(axes))]


@torch.inference_mode()
def tumor_probability(network: nn.Module, images: Tensor, config: ClassificationConfig) -> Tensor:
    """The probability that there is a tumor, (N,) float32 on the CPU, of images (N, C, *S)."""
    device = next(network.parameters()).device
    forward = in_precision(network, config.precision, device)
    parts = [forward(part.to(device)) for part in images.split(config.batch_size)]
    return torch.sigmoid(torch.cat(parts))[:, 0].cpu()


class FrozenSegmenter(nn.Module):
    """(B, C, *S) in [-1, 1] → logits (B, K, *S) of K classes (or regions), any size, with gradients to the image only.

    Where channels are neighbouring slices (2.5-D) of the one that the network knows, it looks at the middle one, which
    the labels are of. A sigmoid of a logit is that class's probability, also where there are several.
    """

    def __init__(self, network: nn.Module, config: SegmentationConfig):
        super().__init__()
        self.network, self.config = network.eval().requires_grad_(False), config
        for module in network.modules():
            if isinstance(module, DynUNetSkipLayer):
                module.super_head = None  # it would keep its answers, and with them their graph

    def train(self, mode: bool = True) -> FrozenSegmenter:
        """It stays as it is while the module around it trains: a network in training answers at several levels."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.config.sequences == 1:
            middle = x.shape[1] // 2
            x = x[:, middle : middle + 1]
        logits = self.network(padded(x, self.config))
        logits = logits[(..., *(slice(n) for n in x.shape[2:]))]
        if self.config.sigmoids:
            return logits
        # the log odds of each class but none (channel 0) against all the others of a softmax
        rest = [torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1).logsumexp(1) for k in range(1, logits.shape[1])]
        return logits[:, 1:] - torch.stack(rest, dim=1)


def agreement(
    segmenter: FrozenSegmenter,
    image: np.ndarray,
    label: np.ndarray,
    inserted: np.ndarray,
    patch_size: tuple[int, ...] | None = None,
) -> float:
    """Tells whether the network sees what was inserted: Dice in [0, 1] inside `around(inserted)`, 0 of nothing.

    What the network makes of real tumors, and of the rest of the scan, says nothing of the insertion.

    Args:
        image: (C, *S) in [-1, 1]; a volume goes through a 2-D network slice by slice.
        label: (*S), all tumors; `inserted` (bool, *S) the new ones.
        patch_size: 3-D: of the windows that the network goes through the volume in; None is all at once.
    """
    if not inserted.any():
        return 0.0
    dims, array = segmenter.config.spatial_dims, torch.from_numpy(image)
    config = replace(segmenter.config, patch_size=patch_size if dims == 3 else None)
    if array.ndim == dims + 1:
        seen = predict(segmenter.network, array, config)[0].numpy() > 0
    else:  # slices as a stack (Z, C, X, Y)
        seen = predict(segmenter.network, array.movedim(-1, 0), config)[:, 0].movedim(0, -1).numpy() > 0
    region = around(inserted) & ~((label > 0) & ~inserted)
    return dice([Region(seen & region, inserted, (), inserted.shape)])


def around(inserted: np.ndarray) -> np.ndarray:
    """The boxes (bool, *S) twice as long as each inserted lesion, with it in the middle."""
    region = np.zeros(inserted.shape, dtype=bool)
    for box in component_boxes(inserted):
        margins = [-(-(axis.stop - axis.start) // 2) for axis in box]
        region[tuple(slice(max(0, a.start - m), a.stop + m) for a, m in zip(box, margins, strict=True))] = True
    return region
