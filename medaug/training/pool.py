"""The image pool: discriminators see a history of fakes (Shrivastava 2017, arXiv 1612.07828, section 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `size` fakes of one domain; half of what it hands out is older."""

    def __init__(self, size: int):
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """Stores `fakes` (B, C, *S) and returns as many, each new or, with probability ½, one from the pool."""
        if self.size == 0:
            return fakes
        out = []
        for fake in fakes:
            if len(self.images) < self.size:
                self.images.append(fake.clone())
                out.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                slot = int(torch.randint(self.size, (), generator=generator))
                out.append(self.images[slot])
                self.images[slot] = fake.clone()
            else:
                out.append(fake)
        return torch.stack(out)

    def state_dict(self) -> dict[str, Tensor]:
        return {"images": torch.stack(self.images).cpu()} if self.images else {}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device) -> None:
        self.images = list(state["images"].to(device)) if state else []
