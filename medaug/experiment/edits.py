"""Tumors inserted into prepared views, and removed from them: by `synthesize`, and online while a network trains.

Images are in the scan's own unit. An edit depends on the view and a seed alone, wherever it is made; what is made
online is never written, and what `synthesize` writes is its offline twin.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.config import PipelineConfig, SynthesisConfig
from medaug.data.prepared import View
from medaug.evaluation.samples import SyntheticSample
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.transforms.engine import Facts
from medaug.volumes import as_meta


class Edited(NamedTuple):
    """An edited view: image, label, and both as they were before, (1, *S) float32 each; `lesions` says what is new."""

    image: MetaTensor
    label: MetaTensor
    original: MetaTensor
    truth: MetaTensor
    lesions: list[Facts]


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
        """Puts new tumors into a view; None where it has no room for any."""
        image, truth, organ = (view.tensor(self.prepared, kind) for kind in ("image", "label", "organ"))
        with one_thread():
            self._insert.set_random_state(seed=seed)
            self._insert.randomize()
            made = self._insert.inserted(image, truth, organ, window=view.window)
        return Edited(made.image, as_meta(made.label), image, truth, made.lesions) if made.lesions else None

    def removed(self, view: View, seed: int = 0) -> Edited:
        """Takes a view's tumors away; the label is empty, for what it marks of the padding is no tumor either."""
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


class OnlineInsertion:
    """A view with freshly inserted lesions, on top of those it has."""

    with_tumor = False

    def __init__(self, editor: ViewEditor):
        self._editor, self._no_room = editor, multiprocessing.Value("q", 0)

    @property
    def without_room(self) -> int:
        """How many views have had no room so far, in all workers together."""
        return self._no_room.value

    def __call__(self, view: View, seed: int) -> SyntheticSample | None:
        edited = self._editor.inserted(view, seed)
        if edited is None:
            with self._no_room.get_lock():
                self._no_room.value += 1
            return None
        return _sample(edited, view)


class OnlineRemoval:
    """A pseudo-healthy negative: a view with its tumors removed; patches lie around where they were."""

    with_tumor = True

    def __init__(self, editor: ViewEditor):
        self._editor = editor

    def __call__(self, view: View, seed: int) -> SyntheticSample:
        edited = self._editor.removed(view, seed)
        return _sample(edited, view)._replace(around=edited.truth.numpy()[0] > 0)


def online_edits(config: PipelineConfig, run: RunDir) -> dict[str, OnlineInsertion | OnlineRemoval]:
    """What makes samples online, by `Arm.synthetic`."""
    editor = ViewEditor(run.weights, run.prepared, config.synthesis)
    return {"online": OnlineInsertion(editor), "removed": OnlineRemoval(editor)}


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes as a DataLoader worker does: sums, and so voxels, do not depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _sample(edited: Edited, view: View) -> SyntheticSample:
    image = view.window.normalize(edited.image.numpy()[0]).astype(np.float32)
    return SyntheticSample(image, edited.label.numpy()[0].astype(np.uint8))
