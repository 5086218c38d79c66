"""Terms that keep different codes from giving like images."""

from __future__ import annotations

from torch import Tensor


def mode_seeking(images: Tensor, others: Tensor, z: Tensor, other_z: Tensor, floor: float = 0.05) -> Tensor:
    """E[|z − z'| / |G(z) − G(z')|] over pairs (Mao 2019, arXiv 1903.05628, equation 5, inverted to be minimised).

    Large where different codes give like images. `floor` keeps it finite where they give the same.
    """
    apart, codes_apart = (
        (x.float() - y.float()).abs().flatten(1).mean(dim=1) for x, y in ((images, others), (z, other_z))
    )
    return (codes_apart / (apart + floor)).mean()
