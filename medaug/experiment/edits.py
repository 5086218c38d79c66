"""Tumors inserted into prepared views, and removed from them: by `synthesize`, and online while a network trains.

Images are in the scan's own unit. An edit depends on the view and a seed alone, wherever it is made; what is made
online is never written, and what `synthesize` writes is its offline twin. At the quality gate a frozen segmenter,
trained on real labels alone, must see what was inserted: `agreement` is the Dice of its answer and the label around the
inserted lesions (see `evaluation.agreement`). With `synthesis.gate` cases below it are drawn again; the arm
`standard+gan-gated` leaves them out of what it learns from.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.measures.lost_and_gained import frozen_segmenter
from medaug.config import PipelineConfig
from medaug.data.prepared import View
from medaug.data.synthetic import SyntheticCase
from medaug.devices import device_of
from medaug.errors import DataError
from medaug.evaluation.predictions import agreement
from medaug.evaluation.samples import Sample, SyntheticSample, ViewFolder
from medaug.experiment.arms import arms_of
from medaug.lesions.geometry import CropBox, extract, labelled_parts
from medaug.models.served import attach, served
from medaug.models.weights import Weights, load_weights
from medaug.runs.folder import RunDir
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.transforms.planning import Facts
from medaug.volumes import Window, as_meta

LEAST_AGREEMENT = 0.5
"""The agreement of a case that counts as accepted, where `synthesis.gate` does not say."""
DRAWS = 50
"""How often a case is drawn; where all draws are rejected, almost everything is."""


class Edited(NamedTuple):
    """An edited view, as it is and as it was before: images (C, *S), labels (1, *S) of class numbers, float32 each.

    `lesions` says what is new.
    """

    image: MetaTensor
    label: MetaTensor
    original: MetaTensor
    truth: MetaTensor
    lesions: list[Facts]


class ViewEditor:
    """Edits views, whose arrays lie in `prepared`; `config.synthesis` says what is inserted.

    The weights in this folder are read at the first edit: once in every DataLoader worker. Where the data say where the
    organ is (`data.organ`), no voxel of a new tumor leaves it. Everything but the generator runs where it is called.
    """

    def __init__(self, weights: Path, prepared: Path, config: PipelineConfig):
        self.folder, self.prepared, self.settings = weights, prepared, config.synthesis
        self.accelerator, self.precision = config.accelerator, config.precision
        self._address: Any = None
        self.strictly_inside = config.data.organ is not None

    def get_ready(self) -> None:
        """Brings the generator to its device, if that is no CPU, before workers are forked (see `models.served`)."""
        if self._address is None and device_of(self.accelerator, self.precision).type != "cpu":
            self._address = served(self.folder, self.accelerator, self.precision)

    def inserted(self, view: View, seed: int) -> Edited | None:
        """Puts new tumors into a view; None where it has no room for any."""
        kinds = ("image", "label", "organ")
        return self.inserted_into({kind: view.tensor(self.prepared, kind) for kind in kinds}, view.windows, seed)

    def inserted_patch(self, view: View, start: Sequence[int], size: Sequence[int], seed: int) -> Edited | None:
        """Puts new tumors into a patch, and reads no more of the view; None where it has no room for any.

        Every tumor lies inside the patch and the view.

        Args:
            start, size: of the patch, as `View.patch` has them; beyond the view it is the windows' floor, unlabelled.
        """
        box = CropBox(tuple(start), tuple(size))
        inside = box.overlap(view.shape)[0]
        if any(part.start == part.stop for part in inside):
            return None
        sample = {kind: view.tensor(self.prepared, kind, inside) for kind in ("image", "label", "organ")}
        edited = self.inserted_into(sample, view.windows, seed)
        return None if edited is None else _framed(edited, view, box)

    def inserted_into(self, sample: Sample, windows: tuple[Window, ...], seed: int) -> Edited | None:
        """The same of a part of a scan that was read: image in the scan's unit, label and organ (see `Sample`)."""
        image, truth, organ = sample["image"], sample["label"], sample["organ"]
        with one_thread():
            self._insert.set_random_state(seed=seed)
            self._insert.randomize()
            made = self._insert.inserted(image, truth, organ, windows, strictly_inside=self.strictly_inside)
        return Edited(made.image, as_meta(made.label), image, truth, made.lesions) if made.lesions else None

    def removed(self, view: View, seed: int = 0) -> Edited:
        """Takes a view's tumors away; the label is empty, for what it marks of the padding is no tumor either."""
        return self._without(view.tensor(self.prepared), view.tensor(self.prepared, "label"), view.windows, seed)

    def removed_patch(self, view: View, start: Sequence[int], size: Sequence[int], seed: int = 0) -> Edited:
        """Takes the tumors away that reach into a patch, as of `inserted_patch`; half a crop around it is read, too."""
        box, prior = CropBox(tuple(start), tuple(size)), self.weights.lesion_prior
        crops_mm = zip(prior.crop_size, prior.spacing_mm, view.spacing_mm, strict=False)
        reach = [math.ceil(n * own / (2 * step)) for n, own, step in crops_mm]
        reach += [0] * (len(box.size) - len(reach))
        first = tuple(a - r for a, r in zip(start, reach, strict=True))
        around = CropBox(first, tuple(n + 2 * r for n, r in zip(size, reach, strict=True))).overlap(view.shape)[0]
        image, truth = (view.tensor(self.prepared, kind, around) for kind in ("image", "label"))
        here = CropBox(tuple(a - part.start for a, part in zip(start, around, strict=True)), box.size)
        numbers, sizes = labelled_parts(truth.numpy()[0] > 0)
        inside = np.bincount(numbers[here.overlap(numbers.shape)[0]].reshape(-1), minlength=len(sizes)) > 0
        inside[0] = False
        reaching = as_meta(truth * torch.from_numpy(inside[numbers]))
        return _framed(self._without(image, reaching, view.windows, seed), view, box)

    def _without(self, image: MetaTensor, truth: MetaTensor, windows: tuple[Window, ...], seed: int) -> Edited:
        with one_thread():
            remove = RemoveTumor(self.weights, tumor_labels=self._class_numbers)
            edited, _ = remove.with_label(image, truth, windows, seed, strict=False, is_label=True)
        return Edited(as_meta(edited), as_meta(torch.zeros_like(truth)), image, truth, [])

    @cached_property
    def weights(self) -> Weights:
        weights = load_weights(self.folder)
        if self._address is None:
            return weights.on("cpu", self.precision)
        attach(weights.translator, self._address)
        return weights

    @cached_property
    def _insert(self) -> RandInsertTumor:
        s = self.settings
        return RandInsertTumor(
            self.weights, 1.0, s.lesions, size_mm=s.size_mm, shape=s.shape, tumor_labels=self._class_numbers
        )

    @property
    def _class_numbers(self) -> tuple[int, ...]:
        """What prepared labels hold: the number of each part."""
        return tuple(range(1, self.weights.n_parts + 1))


class OnlineInsertion:
    """A view with freshly inserted lesions, on top of those it has."""

    with_tumor = False

    def __init__(self, editor: ViewEditor):
        self.get_ready = editor.get_ready
        self._editor, self._no_room = editor, multiprocessing.Value("q", 0)

    @property
    def without_room(self) -> int:
        """How many views have had no room so far, in all workers together."""
        return self._no_room.value

    def __call__(
        self, view: View, seed: int, start: Sequence[int] | None = None, size: Sequence[int] | None = None
    ) -> SyntheticSample | None:
        if start is None or size is None:
            edited = self._counted(self._editor.inserted(view, seed))
        else:
            edited = self._counted(self._editor.inserted_patch(view, start, size, seed))
        return None if edited is None else _sample(edited, view)

    def into(self, sample: Sample, windows: tuple[Window, ...], seed: int) -> Edited | None:
        """A part of a view that was read, as `ViewEditor.inserted_into` takes it; None where it has no room."""
        return self._counted(self._editor.inserted_into(sample, windows, seed))

    def _counted(self, edited: Edited | None) -> Edited | None:
        if edited is None:
            with self._no_room.get_lock():
                self._no_room.value += 1
        return edited


class OnlineRemoval:
    """A pseudo-healthy negative: a view with its tumors removed."""

    with_tumor = True

    def __init__(self, editor: ViewEditor):
        self.get_ready = editor.get_ready
        self._editor = editor

    def __call__(
        self, view: View, seed: int, start: Sequence[int] | None = None, size: Sequence[int] | None = None
    ) -> SyntheticSample:
        if start is None or size is None:
            edited = self._editor.removed(view, seed)
        else:
            edited = self._editor.removed_patch(view, start, size, seed)
        return _sample(edited, view)


OnlineEdits = Mapping[str, OnlineInsertion | OnlineRemoval]


def online_edits(config: PipelineConfig, run: RunDir) -> dict[int, OnlineEdits]:
    """By the seed of the networks, what makes samples online, by `Arm.synthetic`."""
    weights = {seed: run.of_seed(config, seed).weights for seed in config.evaluation.seeds}
    editors = {folder: ViewEditor(folder, run.prepared, config) for folder in weights.values()}
    made: dict[Path, OnlineEdits] = {
        folder: {"online": OnlineInsertion(editor), "removed": OnlineRemoval(editor)}
        for folder, editor in editors.items()
    }
    return {seed: made[folder] for seed, folder in weights.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes as a DataLoader worker does: sums, and so voxels, do not depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class QualityGate:
    """Measures the agreement of edited views, by a segmenter that learns from these training views.

    Raises:
        DataError: if none of them has a tumor.
    """

    def __init__(self, config: PipelineConfig, real: ViewFolder):
        if not any(view.tumor_voxels for view in real.views):
            raise DataError(
                "synthesis.gate: found no tumor in a training label; expected some, to train the segmenter of the gate "
                "on. Add labels, or set synthesis.gate to null."
            )
        self.patch_size = config.evaluation.planned(real.views).patch_size
        self.segmenter = frozen_segmenter(config, real, self.patch_size)

    def __call__(self, edited: Edited, view: View) -> float:
        sample, truth = _sample(edited, view), edited.truth.numpy()[0] > 0
        label = sample.label > 0
        with one_thread():
            return round(agreement(self.segmenter, sample.image, label, label & ~truth, self.patch_size), 4)


def is_judged(config: PipelineConfig) -> bool:
    """Whether cases are measured: for the gate, or for an arm that learns from the accepted ones."""
    arms = arms_of(config.evaluation)
    wanted = any(arms[name].synthetic == "accepted" for name in config.evaluation.arms if name in arms)
    return config.synthesis.gate is not None or wanted


def least_agreement(config: PipelineConfig) -> float:
    """The agreement that makes a case an accepted one."""
    return LEAST_AGREEMENT if config.synthesis.gate is None else config.synthesis.gate


@dataclass(frozen=True)
class GateFigures:
    """How many insertions were drawn, and how many of them reached the `least` agreement."""

    least: float
    drawn: int
    accepted: int
    accept_rate: float | None


def gate_figures(config: PipelineConfig, records: Sequence[SyntheticCase]) -> GateFigures:
    """Counts the insertions drawn for these records."""
    least = least_agreement(config)
    judged = [(r.draws or 0, r.agreement) for r in records if r.agreement is not None]
    drawn, accepted = sum(draws for draws, _ in judged), sum(agreement >= least for _, agreement in judged)
    rate = round(accepted / drawn, 4) if drawn else None
    return GateFigures(least, drawn, accepted, rate)


def accepted_cases(config: PipelineConfig, records: Sequence[SyntheticCase]) -> set[str]:
    """The names of those that reach the least agreement; only insertions are judged.

    Raises:
        DataError: if an insertion was not judged.
    """
    unknown = [r.case for r in records if r.kind == "inserted" and r.agreement is None]
    if unknown:
        raise DataError(
            f"synthetic/datalist.json: found no agreement of {unknown[0]}, and {len(unknown) - 1} others; expected it "
            "of every insertion, for the arms that learn from accepted cases. Run synthesize again with these settings."
        )
    return {r.case for r in records if r.kind != "inserted" or (r.agreement or 0) >= least_agreement(config)}


def _sample(edited: Edited, view: View) -> SyntheticSample:
    image = view.in_windows(edited.image.numpy())
    return SyntheticSample(image, edited.label.numpy()[0].astype(np.uint8))


def _framed(edited: Edited, view: View, box: CropBox) -> Edited:
    """What was edited of a part of a view, cut or filled up to this box of the view."""
    corner = (torch.linalg.inv(torch.from_numpy(view.affine)) @ edited.image.affine.double())[: len(box.start), 3]
    here = CropBox(tuple(a - int(c) for a, c in zip(box.start, corner.round(), strict=True)), box.size)
    if here.start == (0,) * len(here.start) and tuple(edited.image.shape[1:]) == here.size:
        return edited
    affine, floors = torch.from_numpy(view.affine_at(box.start)), [window.low for window in view.windows]

    def framed(array: MetaTensor, fills: Sequence[float]) -> MetaTensor:
        cut = [extract(channel, here, fill) for channel, fill in zip(array.numpy(), fills, strict=True)]
        return MetaTensor(torch.from_numpy(np.stack(cut)), affine=affine)

    image, original = (framed(array, floors) for array in (edited.image, edited.original))
    label, truth = (framed(array, [0.0]) for array in (edited.label, edited.truth))
    return Edited(image, label, original, truth, edited.lesions)
