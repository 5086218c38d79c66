"""What a run that inserts tumors is audited by: insertions into views of patients whom the generator never saw.

Reads: `prepared/`, `split.json`, `train/weights`. The stage `audit` and all audits look at the same insertions, made
through the real transform. Images are normalised to [-1, 1].
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.findings import AuditedRun, in_turn
from medaug.audits.measures.features import feature_table
from medaug.audits.measures.lesions import Insertion, LesionSet, LesionView, lesion_statistics
from medaug.audits.measures.lost_and_gained import Segmented, frozen_segmenter
from medaug.audits.measures.probe import MIN_PATIENTS, probe_auc
from medaug.audits.measures.seams import ZConsistency, z_consistency, z_ratio
from medaug.data.prepared import Prepared, View
from medaug.evaluation.predictions import predict
from medaug.evaluation.samples import ViewFolder
from medaug.lesions.geometry import equivalent_diameter_mm, largest_component
from medaug.lesions.prior import AIR, LesionPrior
from medaug.progress import track
from medaug.transforms import InsertTumor, RandInsertTumor, RemoveTumor
from medaug.volumes import Window, affine_of

logger = logging.getLogger(__name__)

MOST_VOXELS = 100_000_000
"""The most that all views held at once may have: about 2 GB of arrays."""
STATISTICS = ("contrast", "std_inside", "edge_gradient_per_mm", "texture_gradient_per_mm", "diameter_mm")
UNIT = Window(-1.0, 1.0)
"""The window of images that are normalised already."""


@dataclass(frozen=True)
class InsertionRun(AuditedRun):
    """A run that inserts tumors, and what its weights insert into held-out views.

    Attributes:
        crop_size: voxels to look at around a lesion.
        learnt, real, synthetic: lesions that the weights hold, those of held-out patients, and inserted ones, measured.
    """

    @property
    def prior(self) -> LesionPrior:
        return self.weights.lesion_prior

    @property
    def crop_size(self) -> tuple[int, ...]:
        return self.prior.crop_size

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
        null, found = RandInsertTumor(self.weights, prob=1.0, null=True, tumor_labels=1), []
        for made in self.insertions:
            null.set_random_state(seed=made.seed)
            image, changed, _ = self._edited(self.views[made.name], null, made.label, made.organ)
            found.append(replace(made, image=image, changed=changed, reference_patient=None))
        return found

    @cached_property
    def learnt(self) -> LesionSet:
        references = self.prior.references
        images, masks = (np.stack([getattr(r, part) for r in references]) for part in ("image", "mask"))
        return LesionSet(images, masks, np.array([r.patient for r in references]), (None,) * len(references))

    @cached_property
    def real(self) -> LesionSet:
        return LesionSet.of(self.real_lesions, self.crop_size)

    @cached_property
    def synthetic(self) -> LesionSet:
        return self.measured(self.insertions)

    def measured(self, made: list[Insertion]) -> LesionSet:
        return LesionSet.of(made, self.crop_size, pasted=self.weights.uses_references)

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
        """Image (*S) in [-1, 1] → tumor (bool, *S): a network trained on the training patients' labels alone."""
        labelled = ViewFolder(self._views(self.split.train), self.run.prepared)
        frozen = frozen_segmenter(self.config, labelled, self.config.evaluation.patch_size)

        def segment(image: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
            slices = x.ndim == 4 and frozen.config.spatial_dims == 2
            found = predict(frozen.network, x.movedim(-1, 0) if slices else x, frozen.config)
            return (found.movedim(0, -1) if slices else found)[0].numpy() > 0

        return segment

    def removed(self, image: np.ndarray, made: Insertion) -> np.ndarray:
        """A normalised image (*S) of an insertion's view through the other generator: without what was inserted."""
        scan, mask = _on_grid(image, made.spacing_mm), made.mask[None].astype(np.float32)
        return RemoveTumor(self.weights, seed=self.seed)(scan, mask, window=UNIT).numpy()[0]

    def filled_anew(self, made: Insertion, seeds: int) -> LesionSet:
        """The place of an insertion with other seeds: other styles, references and noise, if the method has them."""
        scan, mask, views = _on_grid(made.before, made.spacing_mm), made.mask[None].astype(np.float32), []
        for seed in range(seeds):
            edited, _ = InsertTumor(self.weights, seed=self.seed + seed)(scan, mask, window=UNIT)
            views.append(replace(made, image=edited.numpy()[0]))
        return self.measured(views)

    def realism(self) -> dict[str, object]:
        """What `realism.json` holds: each view's largest real lesion, and the one inserted into it away from that."""
        kinds: dict[str, Sequence[LesionView]] = {"real": self.real_lesions, "inserted": self.insertions}
        figures: dict[str, object] = {"n": len(self.insertions), "length_unit": self.weights.length_unit}
        for kind, lesions in kinds.items():
            found = [lesion_statistics(i.image, i.mask, i.spacing_mm, organ=i.image > AIR) for i in lesions]
            figures[kind] = {name: [statistics[name] for statistics in found] for name in STATISTICS}
        patients = len({lesion.patient for lesion in self.real_lesions})
        if patients < MIN_PATIENTS:
            figures["note"] = f"{patients} held-out patients with a measurable tumor; the probe needs {MIN_PATIENTS}"
        else:
            own, made = (feature_table([i.crop(self.crop_size) for i in lesions]) for lesions in kinds.values())
            names = [lesion.patient for lesion in self.real_lesions]
            figures["probe"] = asdict(probe_auc(own, names, made, names, seed=self.seed))
        if (continuity := self.z_consistency()) is not None:
            figures["z_consistency"] = asdict(continuity)
        return figures

    def z_consistency(self) -> ZConsistency | None:
        """Tumors inserted into whole held-out volumes against real ones, by 2-D and by 3-D weights alike.

        None without volumes with tumors of several slices.
        """
        settings = self.config.audit
        whole = Prepared(self.run.datalist).whole_views(self.held_out)
        views = [view for view in whole if len(view.shape) == 3 and view.tumor_voxels][: settings.volumes]
        insert = RandInsertTumor(self.weights, prob=1.0, tumor_labels=1)
        insert.set_random_state(seed=settings.seed)
        real, inserted = [], []
        with track("look across slices", len(views)) as tracker:
            for view in views:
                image, label, organ = view.read(self.run.prepared)
                edited, truth = insert(view.placed(image), label[None].astype(np.float32), organ[None], window=UNIT)
                new = (truth[0] > 0) & ~label
                real.append(z_ratio(image[0], label, view.spacing_mm))
                inserted.append(z_ratio(edited.numpy()[0], new, view.spacing_mm))
                tracker.advance()
        return z_consistency([r for r in real if r is not None], [r for r in inserted if r is not None])

    @cached_property
    def _pairs(self) -> list[tuple[LesionView, Insertion]]:
        """Each real lesion of a held-out view, and what was inserted into the same view."""
        views = self._chosen(self.held_out)
        insert, rng = RandInsertTumor(self.weights, prob=1.0, tumor_labels=1), np.random.RandomState(self.seed)
        found = []
        with track("insert into held-out views", len(views)) as tracker:
            for view in views:
                seed = int(rng.randint(2**31))
                if (pair := self._pair(view, insert, seed)) is not None:
                    found.append(pair)
                tracker.advance()
        return found

    def _pair(self, view: View, insert: RandInsertTumor, seed: int) -> tuple[LesionView, Insertion] | None:
        """The view's largest tumor and one inserted away from it.

        None where the tumor is of no size that is inserted, or where there is no room for another one. Sizes that are
        inserted are those that fit the crop and are not below the smallest reference.
        """
        (image, *_), label, organ = view.read(self.run.prepared)
        truth, spacing_mm = largest_component(label), view.spacing_mm
        smallest = min(reference.diameter_mm for reference in self.prior.references)
        extent = np.ptp(np.argwhere(truth), axis=0) + 1
        fits = (extent < np.asarray(self.crop_size) - 4).all()
        if not fits or equivalent_diameter_mm(truth, spacing_mm) < smallest:
            return None
        insert.set_random_state(seed=seed)
        edited, changed, mask = self._edited(view, insert, label, organ)
        if not insert.lesions:
            return None
        made = Insertion(
            name=view.name,
            patient=view.patient,
            image=edited,
            mask=mask,
            organ=organ,
            spacing_mm=spacing_mm,
            before=image,
            label=label,
            changed=changed,
            reference_patient=insert.lesions[0]["patient"],
            seed=seed,
        )
        return LesionView(view.name, view.patient, image, truth, organ, spacing_mm), made

    def _edited(
        self, view: View, insert: RandInsertTumor, label: np.ndarray, organ: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `insert` makes of a view, (*S) in [-1, 1]; what changed in the scan's own unit; what is newly marked."""
        scan = view.tensor(self.run.prepared)
        edited, marked = insert(scan, label[None].astype(np.float32), organ[None], window=view.window)
        image, mask = view.window.normalize(edited.numpy()[0]).astype(np.float32), np.asarray(marked)[0] > 0
        return image, edited.numpy()[0] != scan.numpy()[0], mask & ~label

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


def _on_grid(image: np.ndarray, spacing_mm: tuple[float, ...]) -> MetaTensor:
    affine = torch.from_numpy(affine_of(spacing_mm))
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None], affine=affine)
