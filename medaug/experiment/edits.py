"""Tumors inserted into prepared views, and removed from them: by `synthesize`, and online while a network trains.

Images are in the scan's own unit. An edit depends on the view and a seed alone, wherever it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor

from medaug.config import SynthesisConfig
from medaug.data.prepared import View
from medaug.models.weights import Weights, load_weights
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.volumes import as_meta


class Edited(NamedTuple):
    """An edited view: image, label, and both as they were before, (1, *S) float32 each; `lesions` says what is new."""

    image: MetaTensor
    label: MetaTensor
    original: MetaTensor
    truth: MetaTensor
    lesions: list[dict[str, Any]]


class ViewEditor:
    """Edits prepared views with a run's weights, which are read at the first edit: once in every DataLoader worker.

    Args:
        weights: their folder.
        prepared: where the views' arrays lie.
        settings: what is inserted (`lesions`, `size_mm`, `shape`).
    """

    def __init__(self, weights: Path, prepared: Path, settings: SynthesisConfig):
        self.folder, self.prepared, self.settings = weights, prepared, settings

    def inserted(self, view: View, seed: int) -> Edited | None:
        """With new tumors; None where the view has no room for any."""
        image, truth, organ = (view.tensor(self.prepared, kind) for kind in ("image", "label", "organ"))
        with one_thread():
            self._insert.set_random_state(seed=seed)
            self._insert.randomize()
            made = self._insert.inserted(image, truth, organ, window=view.window)
        return Edited(made.image, as_meta(made.label), image, truth, made.lesions) if made.lesions else None

    def removed(self, view: View, seed: int = 0) -> Edited:
        """Without its tumors; the label is empty, for what it marks of the padding is no tumor either."""
        image, truth = view.tensor(self.prepared), view.tensor(self.prepared, "label")
        with one_thread():
            edited, _ = RemoveTumor(self.weights).with_label(image, truth, view.window, seed, strict=False)
        return Edited(as_meta(edited), as_meta(torch.zeros_like(truth)), image, truth, [])

    @cached_property
    def weights(self) -> Weights:
        return load_weights(self.folder)

    @cached_property
    def _insert(self) -> RandInsertTumor:
        s = self.settings
        return RandInsertTumor(
            self.weights, prob=1.0, count=s.lesions, size_mm=s.size_mm, shape=s.shape, tumor_labels=1
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """As in a DataLoader worker: sums, and so voxels, do not depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
