"""What mask-guided methods with styles share: the style is the tumor's appearance, and healthy tissue has none.

Only insertion takes a style; removal fills a region as its surroundings tell. A style is read from a tumor crop and the
tumor's mask, so that one tumor's appearance can be given to another.

With reference content the composite already shows a lesion, and a generator could leave the style aside. So where a
known tumor is to be restored, its own lesion is pasted in disguise (another brightness and contrast): only the style
tells how it was.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from medaug.models.base import Batch, Chance, Direction, diversity, drawn_noise, given_or_drawn, seeded_noise
from medaug.models.insertion.base import MaskGuidedTranslator, whole

DISGUISE_GAIN = 0.3
DISGUISE_SHIFT = 0.3
DISGUISE_SALT = 11


class StyledInsertion(MaskGuidedTranslator):
    """Insertion of a tumor in a given style. Subclasses fill `generators`, with a style encoder named `style`.

    Their config also has `depth` (resolution levels) and `style_dim`.
    """

    style_salts: ClassVar[tuple[int, ...]]
    """Of the noise of each style that `generator_losses` draws."""

    def noise_shapes(self, batch: Batch) -> dict[int, tuple[int, ...]]:
        """Also the styles, and the disguise of pasted lesions."""
        shapes = super().noise_shapes(batch) | dict.fromkeys(self.style_salts, (self.style_dim,))
        return shapes if self.config.content == "free" else shapes | {DISGUISE_SALT: (2,)}

    def translated(
        self, x: Tensor, direction: Direction, mask: Tensor | None, style: Tensor | None, generator: Chance | None
    ) -> Tensor:
        """As the base declares; the noise is drawn before the style, so it is the same whether one is given or not.

        Raises:
            ValueError: if a style is given for removal, or one of another shape.
        """
        assert mask is not None  # which check_input refuses
        noise = drawn_noise(self.noise_like(mask), generator)
        if direction == "a2b":
            style = given_or_drawn(style, x, self.style_dim, generator)
        elif style is not None:
            raise ValueError(f"'{self.name}': found a style for removal (b2a); only insertion (a2b) takes one")
        return self.edit(x, mask, direction, noise, style)

    def encode_style(self, x: Tensor, domain: str, *, mask: Tensor | None = None) -> Tensor:
        """The style (B, style_dim) of the tumors that `mask` (B, P, *S) covers in crops of domain "b".

        Raises:
            ValueError: for domain "a": healthy tissue has no style.
        """
        if domain != "b":
            raise ValueError(f"'{self.name}': found domain '{domain}'; only tumors (domain 'b') have a style")
        self.check_input(x, mask)
        return self.generators["style"](x, mask)

    def to_restore(self, background: Tensor, batch: Batch) -> Tensor:
        """What insertion starts from to bring the real tumors `b` back into `background`, which lost them."""
        if self.config.content == "free":
            return background
        return self.paste(background, disguised(batch["b"], batch["mask_b"], batch), batch["mask_b"])

    @torch.no_grad()
    def figures(self, batch: Batch) -> dict[str, Tensor]:
        """`diversity_b`: how different the tumors of a few fixed styles are, all else equal, inside the mask."""
        start, mask = self.start_of(batch, "a2b"), batch["mask_a"]
        still = self.noise_like(mask)

        def insert(style: Tensor) -> Tensor:
            return self.edit(start, mask, "a2b", still, style)

        return {"diversity_b": diversity(insert, start, self.style_dim, self.weight(mask, "a2b"))}


def disguised(image: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """`image` (B, C, *S) with another brightness and contrast, about each channel's mean inside `mask` (B, P, *S).

    They are drawn by the batch's seeds, alike in all channels.
    """
    axes, inside = tuple(range(2, image.ndim)), whole(mask)
    mean = (image * inside).sum(axes) / inside.sum(axes).clamp(min=1.0)
    gain, shift = seeded_noise(image.new_empty(len(image), 2), batch, DISGUISE_SALT).to(image).unbind(dim=1)
    mean, gain, shift = (
        v.reshape(len(image), -1, *[1] * len(axes)) for v in (mean, DISGUISE_GAIN * gain, DISGUISE_SHIFT * shift)
    )
    return (mean + (1 + gain) * (image - mean) + shift).clamp(-1, 1)
