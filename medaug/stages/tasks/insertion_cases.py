"""Paired examples: tumors inserted into training scans, and real tumors removed from them.

A case has an `original`, the same view before the edit: the other half of the pair. An insertion depends on its seed
alone: any one can be made again, here or online by `RandInsertTumor` with that random state.

Where the quality gate is asked (see `experiment.edits`), a record of an insertion has its `agreement` and how many
`draws` it took, and `datalist.json` the accept rate; with `synthesis.gate` what is rejected is drawn again and not
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.prepared import Prepared, View
from medaug.data.synthetic import SyntheticCase
from medaug.errors import DataError
from medaug.evaluation.samples import ViewFolder
from medaug.experiment.edits import DRAWS, Edited, QualityGate, ViewEditor, gate_figures, is_judged
from medaug.runs.folder import RunDir
from medaug.seeds import rng_of
from medaug.stages.tasks.task import Cases

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TRIES = 20
"""How many views without room end the search for one that has some."""
REMOVAL_SEED = 0


class InsertionCases(Cases):
    """The insertions that are asked for, then the removals."""

    def __init__(self, config: PipelineConfig, run: RunDir):
        self.config, self.run, self.settings = config, run, config.synthesis
        self.workers = self.settings.workers
        self.views = Prepared(run.datalist).training_views(run.read_split(), config.data.spatial_dims)
        self.with_tumor = [view for view in self.views if view.tumor_voxels]
        self.removals = min(self.settings.removals, len(self.with_tumor))
        self.editor = ViewEditor(run.weights, run.prepared, config)
        self.gate: QualityGate | None = None

    def __len__(self) -> int:
        return self.settings.insertions + self.removals

    def name(self, index: int) -> str:
        insertions = self.settings.insertions
        return f"inserted-{index:05d}" if index < insertions else f"removed-{index - insertions:05d}"

    def get_ready(self) -> None:
        """The generator goes to its device; the segmenter of the quality gate is trained, where it is asked."""
        self.editor.get_ready()
        if is_judged(self.config):
            self.gate = QualityGate(self.config, ViewFolder(self.views, self.run.prepared))

    def figures(self, records: Sequence[SyntheticCase]) -> dict[str, object]:
        return {"gate": gate_figures(self.config, records)} if is_judged(self.config) else {}

    def make(self, index: int) -> SyntheticCase:
        if index < self.settings.insertions:
            return self._inserted(self.name(index), index)
        view = self.with_tumor[(index - self.settings.insertions) * len(self.with_tumor) // self.removals]
        removed = self.editor.removed(view, REMOVAL_SEED)
        return self._written(self.name(index), "removed", view, REMOVAL_SEED, removed)

    def _inserted(self, name: str, index: int) -> SyntheticCase:
        """A draw that finds no room, or is rejected, moves on to the next view; the record says which was used."""
        rng = rng_of(self.settings.seed, index)
        roomless, draws, least = 0, 0, self.settings.gate
        while roomless < TRIES and draws < DRAWS:
            view, seed = self.views[rng.randint(len(self.views))], int(rng.randint(2**31))
            edited = self.editor.inserted(view, seed)
            if edited is None:
                roomless += 1
                continue
            if self.gate is None:
                return self._written(name, "inserted", view, seed, edited)
            found, draws = self.gate(edited, view), draws + 1
            if least is None or found >= least:
                return replace(self._written(name, "inserted", view, seed, edited), agreement=found, draws=draws)
        if not draws:
            raise DataError(f"no room for a lesion in {TRIES} training views; lower data.organ_margin_mm")
        there = [read_json(path) for path in (self.run.synthetic / "records").glob("inserted-*.json")]
        drawn = draws + sum(record["draws"] for record in there)
        raise DataError(
            f"synthesis.gate: found {draws} draws of {name} that the frozen segmenter does not see well enough, and an "
            f"accept rate of {len(there)} in {drawn} ({len(there) / drawn:.0%}); expected an agreement of at least "
            f"{self.settings.gate:g} now and then. Lower synthesis.gate, train longer (training.steps), or train the "
            "segmenter longer (segmenter.updates)."
        )

    def _written(self, name: str, kind: str, view: View, seed: int, edited: Edited) -> SyntheticCase:
        dtypes = view.case.source_dtypes
        images = {
            "image": (edited.image, dtypes),
            "label": (edited.label, ("uint8",)),
            "original": (edited.original, dtypes),
        }
        suffix = ".png" if Path(view.case.path).suffix.lower() in PICTURES else ".nii.gz"
        made = self.written(name, kind, view, images, self.editor.weights, seed=seed, suffix=suffix)
        return replace(made, lesions=tuple(edited.lesions))
