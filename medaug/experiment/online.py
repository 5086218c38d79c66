"""Synthetic samples made while a network trains: a training view with new tumors, or without its own.

Each is made of (view, seed) alone by the run's weights, and never written. Offline twins: what `synthesize` writes.
"""

from __future__ import annotations

import multiprocessing

import numpy as np

from medaug.config import PipelineConfig
from medaug.data.prepared import View
from medaug.evaluation.samples import SyntheticSample
from medaug.experiment.edits import Edited, ViewEditor
from medaug.runs.folder import RunDir


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
        return _example(edited, view)


class OnlineRemoval:
    """A pseudo-healthy negative: a view with its tumors removed; patches lie around where they were."""

    with_tumor = True

    def __init__(self, editor: ViewEditor):
        self._editor = editor

    def __call__(self, view: View, seed: int) -> SyntheticSample:
        edited = self._editor.removed(view, seed)
        return _example(edited, view)._replace(around=edited.truth.numpy()[0] > 0)


def online_edits(config: PipelineConfig, run: RunDir) -> dict[str, OnlineInsertion | OnlineRemoval]:
    """By `Arm.synthetic`, where a task learns online."""
    editor = ViewEditor(run.weights, run.prepared, config.synthesis)
    return {"online": OnlineInsertion(editor), "removed": OnlineRemoval(editor)}


def _example(edited: Edited, view: View) -> SyntheticSample:
    image = view.window.normalize(edited.image.numpy()[0]).astype(np.float32)
    return SyntheticSample(image, edited.label.numpy()[0].astype(np.uint8))
