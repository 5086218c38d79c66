"""What an audit of a tumor run is given: everything the run offers, read or made when it is first asked for.

Reads: `prepared/`, `split.json`, `train/weights`. Held-out patients are those to validate and to test: looked at here
and nowhere used for training.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.insertions import lesion_pairs, null_insertion, real_lesion, spread
from medaug.audits.measures.cases import Insertion, LesionView, Segment
from medaug.audits.measures.lesions import LesionSet
from medaug.audits.measures.lost_and_gained import Segmented
from medaug.audits.segmenter import frozen_segmenter
from medaug.config import PipelineConfig
from medaug.data.prepared import View, views_of
from medaug.data.records import prepared_cases
from medaug.evaluation.samples import ViewFolder
from medaug.evaluation.segmentation import predict
from medaug.lesions.prior import LesionPrior
from medaug.models.weights import Weights, load_weights
from medaug.progress import track
from medaug.runs.folder import RunDir
from medaug.runs.provenance import refuse_known
from medaug.splits import Split
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.volumes import Window, affine_of

logger = logging.getLogger(__name__)

MOST_VOXELS = 100_000_000
"""Of all views that are held at once: about 2 GB of arrays."""
UNIT = Window(-1.0, 1.0)
"""Of images that are normalised already."""


@dataclass(frozen=True)
class Material:
    """Of one run; every part is worked out once. All images are normalised to [-1, 1].

    Attributes:
        weights: the run's own.
        training: real lesions of training patients, those that the generator may have learnt by heart.
        held_out: real lesions of held-out patients.
        insertions: one made in each view of `held_out`, in the same order.
        null_insertions: the generator passed over the same places with nothing inserted.
        found: what `segment` finds in each of `insertions`, before and after.
        segment: a network trained on the training patients' real labels alone.
        crop_size: voxels to look at around a lesion.
        learnt, real, synthetic: lesions of training patients, of held-out patients, and inserted ones, measured.
    """

    config: PipelineConfig
    run: RunDir

    @property
    def seed(self) -> int:
        return self.config.audit.seed

    @property
    def prior(self) -> LesionPrior:
        return self.weights.lesion_prior

    @property
    def crop_size(self) -> tuple[int, ...]:
        return self.prior.crop_size

    @cached_property
    def weights(self) -> Weights:
        weights = load_weights(self.run.weights)
        refuse_known(weights.facts, self.run, self.split, f"weights {self.run.weights}")
        return weights

    @cached_property
    def split(self) -> Split:
        return self.run.read_split()

    @cached_property
    def training(self) -> list[LesionView]:
        views = self._chosen(self.split.train)
        found = [real_lesion(view, self.run.prepared, self.weights) for view in views]
        return [lesion for lesion in found if lesion is not None]

    @property
    def held_out(self) -> list[LesionView]:
        return [real for real, made in self.pairs if made is not None]

    @property
    def insertions(self) -> list[Insertion]:
        return [made for _, made in self.pairs if made is not None]

    @cached_property
    def null_insertions(self) -> list[Insertion]:
        null, views = RandInsertTumor(self.weights, prob=1.0, null=True, tumor_labels=1), self.held_out_views
        return [null_insertion(made, views[made.name], self.run.prepared, null) for made in self.insertions]

    @cached_property
    def held_out_views(self) -> dict[str, View]:
        """By name."""
        return {view.name: view for view in self._views((*self.split.validation, *self.split.test))}

    @cached_property
    def segment(self) -> Segment:
        views = self._views(self.split.train)
        frozen = frozen_segmenter(self.config, ViewFolder(views, self.run.prepared), self.config.evaluation.patch_size)

        def segment(image: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
            slices = x.ndim == 4 and frozen.config.spatial_dims == 2
            found = predict(frozen.network, x.movedim(-1, 0) if slices else x, frozen.config)
            return (found.movedim(0, -1) if slices else found)[0].numpy() > 0

        return segment

    @cached_property
    def found(self) -> list[Segmented]:
        segment, predictions = self.segment, []  # trained now, with a progress of its own
        with track("segment edited views", len(self.insertions)) as tracker:
            for made in self.insertions:
                predictions.append(Segmented(segment(made.before), segment(made.image)))
                tracker.advance()
        return predictions

    @cached_property
    def learnt(self) -> LesionSet:
        """All that the weights hold."""
        return LesionSet.of_prior(self.prior)

    @cached_property
    def real(self) -> LesionSet:
        return LesionSet.of(self.held_out, self.crop_size)

    @cached_property
    def synthetic(self) -> LesionSet:
        return LesionSet.of(self.insertions, self.crop_size, pasted=self.weights.uses_references)

    def remove(self, image: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
        """A normalised image (*S) through the other generator: without what `mask` marks."""
        affine = torch.from_numpy(affine_of(spacing_mm))
        scan = MetaTensor(torch.from_numpy(image.astype(np.float32))[None], affine=affine)
        return RemoveTumor(self.weights, seed=self.seed)(scan, mask[None].astype(np.float32), window=UNIT).numpy()[0]

    @cached_property
    def pairs(self) -> list[tuple[LesionView, Insertion | None]]:
        """Each real lesion of a held-out view, and what was inserted into the same view."""
        views = self._chosen((*self.split.validation, *self.split.test))
        insert, rng = RandInsertTumor(self.weights, prob=1.0, tumor_labels=1), np.random.RandomState(self.seed)
        found = []
        with track("insert into held-out views", len(views)) as tracker:
            for real, made in lesion_pairs(views, self.run.prepared, insert, rng):
                if real is not None:
                    found.append((real, made))
                tracker.advance()
        return found

    def _chosen(self, patients: Collection[str]) -> list[View]:
        """Views with a tumor, as many as are asked for and can be held at once."""
        views = [view for view in self._views(patients) if view.tumor_voxels]
        chosen = spread(views, self.config.audit.lesions, np.random.RandomState(self.seed))
        held = np.cumsum([np.prod(view.shape) for view in chosen]) <= MOST_VOXELS
        if not all(held):
            logger.warning("audit: %d of %d views, more do not fit into memory", sum(held), len(chosen))
        return [view for view, fits in zip(chosen, held, strict=True) if fits]

    def _views(self, patients: Collection[str]) -> list[View]:
        entries = [entry for entry in prepared_cases(self.run.datalist) if entry["patient"] in patients]
        return views_of(entries, self.run.prepared, self.config.data.spatial_dims)
