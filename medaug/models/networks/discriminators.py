"""What judges images: the PatchGAN (Isola 2017, arXiv 1611.07004), and the augmentation of what a discriminator sees.

MONAI's PatchDiscriminator with this toolkit's choices: (B, C, *S) → (B, 1, *S'), one score a patch. Differentiable
augmentation (Zhao 2020, arXiv 2006.10738): real and fake crops go through the same, so that the discriminator cannot
learn a few real crops by heart and the generator's gradient still passes; its chance comes in as `draws` in [0, 1).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class _Scores(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[-1]


def patch_discriminator(
    spatial_dims: int, in_channels: int, *, width: int = 64, layers: int = 3, spectral: bool = False
) -> nn.Module:
    """A PatchGAN with `layers` strided convolutions of `width`, 2·`width`, ... channels.

    With `spectral` (Miyato 2018, arXiv 1802.05957) the weights are spectrally normalised and there is no instance
    norm, so that the discriminator sees absolute brightness and contrast.
    """
    from monai.networks.nets import PatchDiscriminator  # seconds, which a look at the settings need not wait

    norm = None if spectral else ("INSTANCE", {"affine": True})
    network = PatchDiscriminator(
        spatial_dims=spatial_dims,
        channels=width,
        in_channels=in_channels,
        num_layers_d=layers,
        bias=True,
        norm=norm,  # type: ignore[arg-type]  # MONAI takes None for no norm, and does not say so
    )
    if spectral:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                spectral_norm(module)
    return _Scores(network)


def least_size(layers: int) -> int:
    """The smallest image that a discriminator of so many layers can score, in voxels: one patch is left of it."""
    return 3 * 2**layers


Augmentation = Literal["intensity", "translation", "cutout"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

BRIGHTNESS, CONTRAST = 0.5, 0.5
"""Half-widths: an offset of ±0.5 on images in [-1, 1], the contrast times 0.5 to 1.5 (appendix A)."""
TRANSLATION, CUTOUT = 0.125, 0.5
"""As fractions of the size: the largest shift, and the edge of the box that is cut out."""


def draws_needed(spatial_dims: int) -> int:
    """How many uniform numbers a sample's augmentation takes."""
    return 2 + 2 * spatial_dims


def augment(x: Tensor, draws: Tensor, policy: tuple[Augmentation, ...] = AUGMENTATIONS) -> Tensor:
    """Augments (B, C, *S); zero fills what a shift or a cutout leaves empty.

    Args:
        draws: (B, draws_needed(dims)) uniform in [0, 1): brightness, contrast, shift and cutout centre by axis.
        policy: which of the three are applied, in their fixed order.
    """
    dims = x.ndim - 2
    tone, shift, center = draws[:, :2], draws[:, 2 : 2 + dims], draws[:, 2 + dims :]
    if "intensity" in policy:
        # another brightness, then another contrast about each image's mean
        brightness, contrast = (t.view(-1, *[1] * (x.ndim - 1)) for t in (2 * tone - 1).unbind(1))
        x = x + BRIGHTNESS * brightness
        mean = x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)
        x = mean + (x - mean) * (1 + CONTRAST * contrast)
    if "translation" in policy:
        x = _translated(x, shift)
    if "cutout" in policy:
        x = x * _kept(x, center)
    return x


def _translated(x: Tensor, shift: Tensor) -> Tensor:
    """Each image moved by whole voxels, up to an eighth of its size an axis."""
    size = x.shape[2:]
    reach = [round(TRANSLATION * n) for n in size]
    padded = functional.pad(x, [r for r in reversed(reach) for _ in range(2)])
    for axis, (n, r) in enumerate(zip(size, reach, strict=True)):  # on the device: no draw is read
        first = (shift[:, axis] * (2 * r + 1)).long().clamp(max=2 * r)
        voxels = first[:, None] + torch.arange(n, device=x.device)  # (B, n)
        voxels = voxels.view(-1, 1, *[n if a == axis else 1 for a in range(len(size))])
        padded = padded.gather(2 + axis, voxels.expand(*padded.shape[: 2 + axis], n, *padded.shape[3 + axis :]))
    return padded


def _kept(x: Tensor, center: Tensor) -> Tensor:
    """(B, 1, *S): 0 inside a box of half the size around `center` (it may reach over the edge), 1 outside."""
    dims, inside = x.ndim - 2, x.new_ones(())
    for axis, n in enumerate(x.shape[2:]):
        voxels = torch.arange(n, device=x.device) + 0.5
        near = ((voxels - n * center[:, axis, None]).abs() < CUTOUT * n / 2).to(x.dtype)  # (B, n)
        inside = inside * near.view(-1, 1, *[n if a == axis else 1 for a in range(dims)])
    return 1 - inside
