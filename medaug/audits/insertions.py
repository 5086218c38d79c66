"""Insertions into views of patients the generator never saw, through the real transform.

Read by the stage `audit` (realism) and by all audits, which so look at the same insertions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from medaug.audits.measures.cases import Insertion, LesionView
from medaug.data.prepared import View
from medaug.lesions.geometry import equivalent_diameter_mm, largest_component
from medaug.models.weights import Weights
from medaug.transforms import RandInsertTumor


def lesion_pairs(
    views: list[View], folder: Path, insert: RandInsertTumor, rng: np.random.RandomState
) -> Iterator[tuple[LesionView | None, Insertion | None]]:
    """A view's own tumor and one inserted into the same view; None for what is not to be had."""
    for view in views:
        seed = int(rng.randint(2**31))
        real = real_lesion(view, folder, insert.weights)
        yield real, None if real is None else insertion(view, folder, insert, seed)


def spread(views: list[View], count: int, rng: np.random.RandomState) -> list[View]:
    """Up to `count` views, patient by patient in turn, so that none dominates."""
    by_patient: dict[str, list[int]] = {}
    for number, view in enumerate(views):
        by_patient.setdefault(view.patient, []).append(number)
    queues = [list(rng.permutation(numbers)) for numbers in by_patient.values()]
    chosen: list[int] = []
    while queues and len(chosen) < count:
        for queue in queues:
            chosen.append(int(queue.pop()))
        queues = [queue for queue in queues if queue]
    return [views[i] for i in chosen[:count]]


def real_lesion(view: View, folder: Path, weights: Weights) -> LesionView | None:
    """The view's largest tumor; None where it is of no size that is inserted."""
    arrays = view.read(folder)
    truth = largest_component(arrays.label)
    if not _measurable(truth, view, weights):
        return None
    return LesionView(view.name, view.patient, arrays.image, truth, arrays.organ, view.spacing_mm, view.window)


def insertion(view: View, folder: Path, insert: RandInsertTumor, seed: int) -> Insertion | None:
    """One insertion into the view, away from its own tumors; None where nothing was inserted."""
    arrays = view.read(folder)
    scan = view.tensor(folder)
    label, organ = arrays.label[None].astype(np.float32), arrays.organ[None]
    insert.set_random_state(seed=seed)
    edited, marked = insert(scan, label, organ, window=view.window)
    if not insert.lesions:
        return None
    after, mask = edited.numpy()[0], (np.asarray(marked)[0] > 0) & ~arrays.label
    return Insertion(
        name=view.name,
        patient=view.patient,
        image=view.window.normalize(after).astype(np.float32),
        mask=mask,
        organ=arrays.organ,
        spacing_mm=view.spacing_mm,
        window=view.window,
        before=arrays.image,
        label=arrays.label,
        changed=after != scan.numpy()[0],
        reference_patient=insert.lesions[0]["patient"],
        seed=seed,
    )


def null_insertion(made: Insertion, view: View, folder: Path, null: RandInsertTumor) -> Insertion:
    """The same place of the same view through the generator, with nothing inserted."""
    scan, arrays = view.tensor(folder), view.read(folder)
    label, organ = arrays.label[None].astype(np.float32), arrays.organ[None]
    null.set_random_state(seed=made.seed)
    edited, _ = null(scan, label, organ, window=view.window)
    after = edited.numpy()[0]
    return replace(
        made,
        image=view.window.normalize(after).astype(np.float32),
        changed=after != scan.numpy()[0],
        reference_patient=None,
    )


def _measurable(region: np.ndarray, view: View, weights: Weights) -> bool:
    """Lesions of the sizes that are inserted: those that fit the crop and are not below the smallest reference."""
    prior = weights.lesion_prior
    extent = np.ptp(np.argwhere(region), axis=0) + 1
    smallest = min(reference.diameter_mm for reference in prior.references)
    fits = bool((extent < np.asarray(prior.crop_size) - 4).all())
    return fits and equivalent_diameter_mm(region, view.spacing_mm) >= smallest
