"""What generators make of a few fixed samples, during training and at its end.

A translator's samples go through both directions; of a GAN from noise there are crops of each class, a walk between two
codes, and attributes turned up and down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from medaug.data.atomic import atomic_path
from medaug.figures.pictures import Picture, picture_grid
from medaug.models.base import Translator
from medaug.models.noise.config import CLASSES, TUMOR
from medaug.models.noise.dcgan import DCGAN, on_sphere
from medaug.models.noise.latent import ATTRIBUTES, attribute_vector, interpolate, sample

COLUMNS = 8
ATTRIBUTE_SAMPLES = 256
STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Multiples of an attribute's direction, which is made as long as half a code."""


@dataclass(frozen=True)
class Preview:
    """Draws samples through both directions into `folder/step-<n>.png`, each with a row for every channel.

    Attributes:
        sequences: what the rows are called, where there are several.
        count: of samples with one channel; of several, so many rows, and at least two samples.
    """

    samples: Dataset
    folder: Path
    sequences: Sequence[str] = ("",)
    count: int = 6

    @torch.no_grad()
    def __call__(self, translator: Translator, step: int) -> None:
        in_a, in_b = (len(domain.channels) for domain in (translator.domain_a, translator.domain_b))
        channels = max(in_a, in_b)
        count = max(2, self.count // channels)
        batch = default_collate([self.samples[i] for i in range(count)])
        batch = {key: value.to(next(translator.parameters()).device) for key, value in batch.items()}
        generator = torch.Generator().manual_seed(0)
        start, mask_a, mask_b = translator.start_of(batch, "a2b"), batch.get("mask_a"), batch.get("mask_b")
        mask_a = batch.get("label_a") if mask_a is None else mask_a
        a, b = translator.domain_a.name, translator.domain_b.name
        titles = (f"with {b}", "removed") if b == "tumor" else (f"{a} to {b}", f"{b} to {a}")
        columns = [
            (a, batch["a"], in_a, None),
            ("start", start, in_a, None),
            (titles[0], translator.translate(start, "a2b", mask=mask_a, generator=generator), in_b, mask_a),
            (b, batch["b"], in_b, mask_b),
            (titles[1], translator.translate(batch["b"], "b2a", mask=mask_b, generator=generator), in_a, None),
        ]
        rows = [
            [
                _picture(images[i], None if masks is None else masks[i], channel, of) if channel < of else None
                for _, images, of, masks in columns
            ]
            for i in range(count)
            for channel in range(channels)
        ]
        png = picture_grid(
            rows,
            column_titles=[title for title, *_ in columns],
            row_titles=[*self.sequences] * count if channels > 1 else None,
            title=f"step {step}",
            tile=120,
        )
        _write(self.folder / f"step-{step:06d}.png", png)


@dataclass(frozen=True)
class GanPreview:
    """Draws the same codes at every step into `folder/previews/step-<n>.png`."""

    folder: Path

    def __call__(self, gan: DCGAN, step: int) -> None:
        _write(self.folder / "previews" / f"step-{step:06d}.png", _samples_of(gan, f"step {step}"))


def draw_latent_space(gan: DCGAN, folder: Path) -> None:
    """Writes `samples.png`, `interpolation.png` and `attributes.png`."""
    _write(folder / "samples.png", _samples_of(gan, "crops from noise", rows=4))
    _write(folder / "interpolation.png", _interpolation(gan))
    _write(folder / "attributes.png", _attributes(gan))


def _samples_of(gan: DCGAN, title: str, rows: int = 2) -> bytes:
    """A few rows of random crops a class."""
    pictures, names = [], []
    for label, name in enumerate(CLASSES):
        drawn = sample(gan, rows * COLUMNS, label, torch.Generator().manual_seed(label))
        pictures += [[_picture(image) for image in images] for images in drawn.images.split(COLUMNS)]
        names += [name] * rows
    return picture_grid(pictures, column_titles=[""] * COLUMNS, row_titles=names, title=title, tile=96)


@torch.no_grad()
def _interpolation(gan: DCGAN, pairs: int = 2) -> bytes:
    """A walk from one code to another, once as each class."""
    rows, names = [], []
    for label, name in enumerate(CLASSES):
        z = sample(gan, 2 * pairs, label, torch.Generator().manual_seed(10)).z
        for first, last in z.split(2):
            path = interpolate(first, last, COLUMNS)
            made = gan.generate(path, torch.full((COLUMNS,), label, device=path.device))
            rows.append([_picture(image) for image in made])
            names.append(name)
    titles = [f"{i / (COLUMNS - 1):.2f}" for i in range(COLUMNS)]
    return picture_grid(rows, column_titles=titles, row_titles=names, title="between two codes", tile=96)


@torch.no_grad()
def _attributes(gan: DCGAN, crops: int = 2) -> bytes:
    """Each attribute's direction added to the codes of a few tumor crops."""
    drawn = sample(gan, ATTRIBUTE_SAMPLES, TUMOR, torch.Generator().manual_seed(20))
    rows, names = [], []
    for name, measure in ATTRIBUTES.items():
        direction = 0.5 * on_sphere(attribute_vector(drawn.z, measure(drawn.images))[None])
        for z in drawn.z[:crops]:
            moved = z + torch.tensor(STRENGTHS, device=z.device)[:, None] * direction
            made = gan.generate(moved, torch.full((len(moved),), TUMOR, device=z.device))
            rows.append([_picture(image) for image in made])
            names.append(name)
    titles = [f"{strength:+g}" for strength in STRENGTHS]
    return picture_grid(rows, column_titles=titles, row_titles=names, title="attribute arithmetic", tile=96)


def _write(path: Path, png: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(png)


def _picture(image: Tensor, mask: Tensor | None = None, channel: int = 0, channels: int = 1) -> Picture:
    """A channel of a sample in its window, and outlined what each class of its mask marks."""
    outline = None if mask is None else sum(n * _middle_slice(part > 0.5) for n, part in enumerate(mask, start=1))
    middle = len(image) // channels // 2  # of neighbouring slices, each with its channels
    return Picture(_middle_slice(image[middle * channels + channel]), vmin=-1, vmax=1, contour=outline)


def _middle_slice(x: Tensor) -> np.ndarray:
    """(X, Y[, Z]) → (X, Y): of a volume its middle slice."""
    array = (x.int() if x.dtype == torch.bool else x.float()).cpu().numpy()
    return array if array.ndim == 2 else array[..., array.shape[-1] // 2]
