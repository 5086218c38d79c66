"""Sample grids during training: what the translator makes of a few fixed samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from medaug.data.atomic import atomic_path
from medaug.figures.pictures import Picture, picture_grid
from medaug.models.base import Translator


@dataclass(frozen=True)
class Preview:
    """Draws `count` samples through both directions into `folder/step-<n>.png`."""

    samples: Dataset
    folder: Path
    count: int = 6

    @torch.no_grad()
    def __call__(self, translator: Translator, step: int) -> None:
        batch = default_collate([self.samples[i] for i in range(self.count)])
        batch = {key: value.to(next(translator.parameters()).device) for key, value in batch.items()}
        generator = torch.Generator().manual_seed(0)
        start, mask_a, mask_b = translator.start_of(batch, "a2b"), batch.get("mask_a"), batch.get("mask_b")
        mask_a = batch.get("label_a") if mask_a is None else mask_a
        names = _titles(translator)
        columns = [
            (names[0], batch["a"], None),
            ("start", start, None),
            (names[1], translator.translate(start, "a2b", mask=mask_a, generator=generator), mask_a),
            (names[2], batch["b"], mask_b),
            (names[3], translator.translate(batch["b"], "b2a", mask=mask_b, generator=generator), None),
        ]
        rows = [
            [_picture(images[i], None if masks is None else masks[i]) for _, images, masks in columns]
            for i in range(self.count)
        ]
        png = picture_grid(rows, column_titles=[title for title, _, _ in columns], title=f"step {step}", tile=120)
        with atomic_path(self.folder / f"step-{step:06d}.png") as temporary:
            temporary.write_bytes(png)


def _titles(translator: Translator) -> tuple[str, str, str, str]:
    """Of domain a, its translation, domain b, its translation."""
    a, b = translator.domain_a.name, translator.domain_b.name
    return (a, f"with {b}", b, "removed") if b == "tumor" else (a, f"{a} to {b}", b, f"{b} to {a}")


def _picture(image: Tensor, mask: Tensor | None) -> Picture:
    return Picture(middle_slice(image), vmin=-1, vmax=1, contour=None if mask is None else _outline(mask))


def _outline(mask: Tensor) -> np.ndarray:
    """Where any class is marked, (X, Y)."""
    return middle_slice(mask.amax(dim=0, keepdim=True)) > 0.5


def middle_slice(x: Tensor) -> np.ndarray:
    """(C, X, Y[, Z]) → (X, Y): of neighbouring slices as channels the middle one, of a volume its middle slice."""
    array = x[len(x) // 2].float().cpu().numpy()
    return array if array.ndim == 2 else array[..., array.shape[-1] // 2]
