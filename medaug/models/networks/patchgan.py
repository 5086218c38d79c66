"""The PatchGAN discriminator (Isola 2017, arXiv 1611.07004), from MONAI, with this toolkit's choices.

(B, C, *S) → (B, 1, *S'): one score a patch. MONAI's own defaults are batch norm and a list of feature maps.
"""

from __future__ import annotations

from torch import Tensor, nn
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
