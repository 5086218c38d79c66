"""What a run that inserts tumors is audited by: insertions into views of patients whom the generator never saw.

Reads: `prepared/`, `split.json`, `train/weights`. The stage `audit` and all audits look at the same insertions, made
through the real transform. Images are (C, *S), normalised to [-1, 1].
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.findings import AuditedRun, in_turn
from medaug.audits.measures.lesions import Insertion, LesionSet, LesionView
from medaug.audits.measures.lost_and_gained import Segmented, frozen_segmenter
from medaug.audits.measures.seams import ZConsistency, z_consistency, z_ratio
from medaug.data.prepared import Prepared, View, ViewArrays
from medaug.evaluation.predictions import predict
from medaug.evaluation.samples import ViewFolder
from medaug.lesions.geometry import equivalent_diameter_mm, largest_component
from medaug.lesions.prior import LesionPrior
from medaug.progress import track
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor
from medaug.transforms.array import Insertion as Made
from medaug.transforms.engine import Edit, Painting, together
from medaug.transforms.planning import Facts
from medaug.volumes import Window, affine_of

T = TypeVar("T")
logger = logging.getLogger(__name__)

MOST_VOXELS = 100_000_000
"""The most that all views held at once may have: about 2 GB of arrays."""
VIEWS_AT_ONCE = 8
"""Views that are read and edited together."""
UNIT = Window(-1.0, 1.0)
"""The window of images that are normalised already."""


class _Asked(NamedTuple):
    """A view, its arrays, and the seed of what is to be inserted into it."""

    view: View
    arrays: ViewArrays
    seed: int


class _Edit(NamedTuple):
    """A view after an insertion: (C, *S) in [-1, 1], the voxels (C, *S) that changed in the scan's own unit, the
    parts (*S) that are newly marked, and what was inserted.
    """

    image: np.ndarray
    changed: np.ndarray
    parts: np.ndarray
    lesions: list[Facts]


@dataclass(frozen=True)
class InsertionRun(AuditedRun):
    """A run that inserts tumors, and what its weights insert into held-out views.

    Attributes:
        crop_size: voxels to look at around a lesion.
        sequences: the names of the images' channels.
        learnt, real, synthetic: lesions that the weights hold, those of held-out patients, and inserted ones, measured.
    """

    @property
    def prior(self) -> LesionPrior:
        return self.weights.lesion_prior

    @property
    def crop_size(self) -> tuple[int, ...]:
        return self.prior.crop_size

    @property
    def sequences(self) -> tuple[str, ...]:
        return self.weights.sequences

    @cached_property
    def views(self) -> dict[str, View]:
        """All views of held-out patients, by name."""
        return {view.name: view for view in self._views(self.held_out)}

    @property
    def real_lesions(self) -> list[LesionView]:
        """The largest tumor of each view into which something was inserted."""
        return [real for real, _ in self._pairs]

    @property
    def insertions(self) -> list[Insertion]:
        """One made in each view of `real_lesions`, in the same order."""
        return [made for _, made in self._pairs]

    @cached_property
    def null_insertions(self) -> list[Insertion]:
        """The generator passed over the same places with nothing inserted."""
        null, found = self._inserts(null=True), []
        for some in _few(self.insertions):
            edits = self._edited([self._asked(self.views[made.name], made.seed) for made in some], null)
            for made, edit in zip(some, edits, strict=True):
                found.append(replace(made, image=edit.image, changed=edit.changed, reference_patient=None))
        return found

    @cached_property
    def learnt(self) -> LesionSet:
        references = self.prior.references
        images, parts = (np.stack([getattr(r, name) for r in references]) for name in ("image", "parts"))
        return LesionSet(images, parts, np.array([r.patient for r in references]), (None,) * len(references))

    @cached_property
    def real(self) -> LesionSet:
        return LesionSet.of(self.real_lesions, self.crop_size, n_parts=self.weights.n_parts)

    @cached_property
    def synthetic(self) -> LesionSet:
        return self.measured(self.insertions)

    def measured(self, made: list[Insertion]) -> LesionSet:
        pasted = self.weights.uses_references
        return LesionSet.of(made, self.crop_size, pasted=pasted, n_parts=self.weights.n_parts)

    @cached_property
    def found(self) -> list[Segmented]:
        """What a frozen segmenter finds in the views of `insertions`, before and after."""
        segment, found = self.segment, []  # trained now, with a progress of its own
        with track("segment edited views", len(self.insertions)) as tracker:
            for made in self.insertions:
                found.append(Segmented(segment(made.before), segment(made.image)))
                tracker.advance()
        return found

    @cached_property
    def segment(self) -> Callable[[np.ndarray], np.ndarray]:
        """Image (C, *S) in [-1, 1] → tumor (bool, *S): a network trained on the training patients' labels alone."""
        views = Prepared(self.run.datalist).training_views(self.split, self.config.data.spatial_dims)
        labelled = ViewFolder(views, self.run.prepared)
        frozen = frozen_segmenter(self.config, labelled, self.config.evaluation.planned(views).patch_size)
        frozen.to(self.weights.device)

        def segment(image: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
            slices = x.ndim == 4 and frozen.config.spatial_dims == 2
            found = predict(frozen.network, x.movedim(-1, 0) if slices else x, frozen.config)
            return (found.movedim(0, -1) if slices else found)[0].numpy() > 0

        return segment

    @cached_property
    def remove(self) -> RemoveTumor:
        """Takes away what prepared labels mark."""
        return RemoveTumor(self.weights, tumor_labels=self._class_numbers)

    def removed(self, image: np.ndarray, made: Insertion) -> np.ndarray:
        """A normalised image of an insertion's view through the other generator: without what was inserted."""
        scan, label = _on_grid(image, made.spacing_mm), made.parts[None].astype(np.float32)
        return self.remove.with_label(scan, label, self._units, self.seed, is_label=True)[0].numpy()

    def filled_anew(self, made: Insertion, seeds: int) -> LesionSet:
        """The place of an insertion with other seeds: other styles, references and noise, if the method has them."""
        scan, mask, views = _on_grid(made.before, made.spacing_mm), made.mask[None].astype(np.float32), []
        for seed in range(seeds):
            insert = InsertTumor(self.weights, seed=self.seed + seed, tumor_labels=self._class_numbers)
            edited, label = insert(scan, mask, window=self._units)
            views.append(replace(made, image=edited.numpy(), parts=np.asarray(label)[0].astype(np.uint8)))
        return self.measured(views)

    def z_consistency(self) -> dict[str, ZConsistency]:
        """Tumors inserted into whole held-out volumes against real ones by sequence, by 2-D and 3-D weights alike.

        Nothing without volumes with tumors of several slices.
        """
        settings = self.config.audit
        whole = Prepared(self.run.datalist).whole_views(self.held_out)
        views = [view for view in whole if len(view.shape) == 3 and view.tumor_voxels][: settings.volumes]
        insert = self._inserts()
        insert.set_random_state(seed=settings.seed)
        real: list[list[float | None]] = [[] for _ in self.sequences]
        inserted: list[list[float | None]] = [[] for _ in self.sequences]
        with track("look across slices", len(views)) as tracker:
            for view in views:
                arrays = view.read(self.run.prepared)
                insert.randomize()
                scan = view.placed(arrays.image)
                (made,) = together([self._insertion(insert, scan, arrays, self._units)], self.weights)
                new = (np.asarray(made.label)[0] > 0) & ~arrays.label
                for channel, edited in enumerate(made.image.numpy()):
                    real[channel].append(z_ratio(arrays.image[channel], arrays.label, view.spacing_mm))
                    inserted[channel].append(z_ratio(edited, new, view.spacing_mm))
                tracker.advance()
        found = {
            name: z_consistency([r for r in own if r is not None], [r for r in new if r is not None])
            for name, own, new in zip(self.sequences, real, inserted, strict=True)
        }
        return {name: continuity for name, continuity in found.items() if continuity is not None}

    @cached_property
    def _pairs(self) -> list[tuple[LesionView, Insertion]]:
        """Each real lesion of a held-out view, and what was inserted into the same view."""
        views = self._chosen(self.held_out)
        insert, rng = self._inserts(), np.random.RandomState(self.seed)
        found = []
        with track("insert into held-out views", len(views)) as tracker:
            for some in _few(views):
                asked = [self._asked(view, int(rng.randint(2**31))) for view in some]
                asked = [one for one in asked if self._is_comparable(one)]
                for one, edit in zip(asked, self._edited(asked, insert), strict=True):
                    if edit.lesions:
                        found.append(self._pair(one, edit))
                tracker.advance(steps=len(some))
        return found

    def _asked(self, view: View, seed: int) -> _Asked:
        return _Asked(view, view.read(self.run.prepared), seed)

    def _is_comparable(self, asked: _Asked) -> bool:
        """Whether the view's largest tumor is of a size that is inserted.

        Those are sizes that fit the crop and are not below the smallest reference.
        """
        truth = largest_component(asked.arrays.label)
        smallest = min(reference.diameter_mm for reference in self.prior.references)
        extent = np.ptp(np.argwhere(truth), axis=0) + 1
        fits = bool((extent < np.asarray(self.crop_size) - 4).all())
        return fits and equivalent_diameter_mm(truth, asked.view.spacing_mm) >= smallest

    def _pair(self, asked: _Asked, edit: _Edit) -> tuple[LesionView, Insertion]:
        """The view's largest tumor and one inserted away from it."""
        view, arrays, seed = asked
        truth, spacing_mm = largest_component(arrays.label), view.spacing_mm
        made = Insertion(
            name=view.name,
            patient=view.patient,
            image=edit.image,
            parts=edit.parts,
            organ=arrays.organ,
            spacing_mm=spacing_mm,
            before=arrays.image,
            label=arrays.label,
            changed=edit.changed,
            reference_patient=edit.lesions[0]["patient"],
            seed=seed,
            corner=tuple(edit.lesions[0]["start"]),
        )
        own = np.where(truth, arrays.classes, 0).astype(np.uint8)
        return LesionView(view.name, view.patient, arrays.image, own, arrays.organ, spacing_mm), made

    def _edited(self, asked: Sequence[_Asked], insert: RandInsertTumor) -> list[_Edit]:
        """What `insert` makes of these views; on a GPU they go through the generator together."""
        scans, edits, found = [one.view.tensor(self.run.prepared) for one in asked], [], []
        for scan, (view, arrays, seed) in zip(scans, asked, strict=True):
            insert.set_random_state(seed=seed)
            insert.randomize()
            edits.append(self._insertion(insert, scan, arrays, view.windows))
        for scan, one, made in zip(scans, asked, together(edits, self.weights), strict=True):
            edited, marked = made.image.numpy(), np.asarray(made.label)[0].astype(np.uint8)
            parts = np.where(one.arrays.label, 0, marked).astype(np.uint8)
            found.append(_Edit(one.view.in_windows(edited), edited != scan.numpy(), parts, made.lesions))
        return found

    def _insertion(
        self, insert: RandInsertTumor, scan: MetaTensor, arrays: ViewArrays, windows: tuple[Window, ...]
    ) -> Generator[Painting, Edit, Made[MetaTensor]]:
        """What was drawn last, where `synthesize` would insert it, too: strictly inside an organ that a label says."""
        label, organ = arrays.classes[None].astype(np.float32), arrays.organ[None]
        strictly_inside = self.config.data.organ is not None
        return insert.insertion(scan, label, organ, windows, strictly_inside=strictly_inside)

    def _inserts(self, *, null: bool = False) -> RandInsertTumor:
        return RandInsertTumor(self.weights, prob=1.0, null=null, tumor_labels=self._class_numbers)

    @property
    def _class_numbers(self) -> tuple[int, ...]:
        """What prepared labels hold: the number of each part."""
        return tuple(range(1, self.weights.n_parts + 1))

    @property
    def _units(self) -> tuple[Window, ...]:
        """The windows of an image that is normalised already."""
        return (UNIT,) * len(self.sequences)

    def _chosen(self, patients: Collection[str]) -> list[View]:
        """Views with a tumor, patient by patient in turn so that none dominates, as many as are asked for and fit."""
        views = [view for view in self._views(patients) if view.tumor_voxels]
        rng = np.random.RandomState(self.seed)
        by_patient: dict[str, list[View]] = {}
        for view in views:
            by_patient.setdefault(view.patient, []).append(view)
        shuffled = [[of[k] for k in rng.permutation(len(of))[::-1]] for of in by_patient.values()]
        chosen = in_turn(shuffled)[: self.config.audit.lesions]
        held = np.cumsum([np.prod(view.shape) for view in chosen]) <= MOST_VOXELS
        if not all(held):
            logger.warning("audit: %d of %d views, more do not fit into memory", sum(held), len(chosen))
        return [view for view, fits in zip(chosen, held, strict=True) if fits]

    def _views(self, patients: Collection[str]) -> list[View]:
        return Prepared(self.run.datalist).views(patients, self.config.data.spatial_dims)


def _few(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(all_of_them), VIEWS_AT_ONCE):
        yield all_of_them[first : first + VIEWS_AT_ONCE]


def _on_grid(image: np.ndarray, spacing_mm: tuple[float, ...]) -> MetaTensor:
    affine = torch.from_numpy(affine_of(spacing_mm))
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), affine=affine)
