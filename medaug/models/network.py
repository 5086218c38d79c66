"""One direction of a trained translator as a plain network, for tools that know tensors only (ONNX, MONAI bundles).

All images go in as channels of one tensor (B, C, *S); `channels` says what they are. Noise is a channel like the
others, so the network itself is deterministic. UNIT's noise lies in its latent space and is zero here: its mean.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from medaug.models.base import Direction, Translator
from medaug.models.facts import TranslatorFacts
from medaug.models.insertion.base import MaskGuidedTranslator
from medaug.models.weights import load_weights


class DirectionNetwork(nn.Module):
    """(B, C, *S) → the translated image (B, C', *S) in [-1, 1].

    Attributes:
        channels: of the input, in order. "image" in [-1, 1], "mask" and labels in {0, 1}, "noise" from N(0, 1); of
            several sequences and parts each by its name ("image flair", "mask core"), or numbered. With reference
            content the image of insertion is the crop into which the lesion was pasted.
        inputs, outputs: the images among them, and those of the result.
        style_dim: length of the second input, the style (B, style_dim); 0 where there is none.
    """

    def __init__(self, translator: Translator, direction: Direction, facts: TranslatorFacts | None = None):
        super().__init__()
        self.translator, self.direction = translator, direction
        facts = TranslatorFacts() if facts is None else facts
        names = {"a": facts.sequences, "b": facts.target_sequences or facts.sequences}
        self.inputs, self.outputs = (
            _named("image", translator.channels_of(side), names[side]) for side in direction.split("2")
        )
        self.channels = (*self.inputs, *_beside(translator, direction, tuple(facts.parts)))
        takes_style = direction == "a2b" or not translator.mask_guided
        self.style_dim = translator.style_dim if takes_style else 0

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Without a `style` that of the prior's mean, 0."""
        if style is None and self.style_dim:
            style = x.new_zeros(len(x), self.style_dim)
        image, others = x[:, : len(self.inputs)], x[:, len(self.inputs) :]
        if not isinstance(self.translator, MaskGuidedTranslator):
            mask = others if others.shape[1] else None
            return self.translator.translate(image, self.direction, mask=mask, style=style)
        parts = self.translator.config.parts
        mask = others[:, :parts]
        noise = others[:, parts:] if "noise" in self.channels else self.translator.noise_like(mask)
        return self.translator.edit(image, mask, self.direction, noise, style)


def direction_network(weights: str | Path, direction: Direction = "a2b") -> DirectionNetwork:
    """The network of a weights folder; its arguments are JSON values, so a bundle's `_target_` can name it.

    Raises:
        WeightsError: if the folder cannot be used.
    """
    loaded = load_weights(weights)
    return DirectionNetwork(loaded.translator, direction, loaded.facts)


def _beside(translator: Translator, direction: Direction, parts: tuple[str, ...]) -> tuple[str, ...]:
    """The channels that a generator reads beside the image."""
    config = translator.config
    if isinstance(translator, MaskGuidedTranslator):
        mask = torch.zeros(1, config.parts, *[2 * translator.stride] * translator.spatial_dims)
        by_voxel = translator.noise_like(mask).shape == mask[:, :1].shape
        return (*_named("mask", config.parts, parts), *(["noise"] if by_voxel else []))
    classes = getattr(config, "label_input", 0) if direction == "a2b" else 0
    return tuple(f"label {number}" for number in range(1, classes + 1))


def _named(kind: str, count: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """One alone needs no name; several have theirs, or numbers where these are not known."""
    known = names if len(names) == count else range(1, count + 1)
    return (kind,) if count == 1 else tuple(f"{kind} {name}" for name in known)
