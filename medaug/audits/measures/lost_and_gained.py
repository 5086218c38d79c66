"""Does a network that knows real tumors see the inserted ones, and nothing that was not there before?

CycleGAN adds and erases lesions where the domains differ in prevalence (Cohen 2018, arXiv 1805.08841). The judge is a
frozen segmenter trained on real labels; what it misses of real lesions in the same views is the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medaug.audits.measures.finding import Finding, Limits, Question, over_patients
from medaug.audits.measures.lesions import Insertion
from medaug.config import PipelineConfig
from medaug.evaluation.detection import lost_and_gained
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.predictions import FrozenSegmenter
from medaug.evaluation.samples import SegmentationSamples, ViewFolder
from medaug.evaluation.updates import train_network

LOST = Question("lost", "Does a frozen segmenter find the inserted lesions?")
GAINED = Question("gained", "Does a frozen segmenter find things beside the mask that were not there before?")
MOST_WRONG = 0.5
"""A segmenter that misses more of the real lesions of these sizes is no judge; nor is one that marks more of the places
before anything is there."""
LIKE_SIZE = 10
"""So many real lesions, the nearest in size, are what an inserted one is compared with."""


class Segmented(NamedTuple):
    """What the segmenter marks in one view before and after an insertion, bool (*S)."""

    before: np.ndarray
    after: np.ndarray


def frozen_segmenter(
    config: PipelineConfig, labelled: ViewFolder, patch_size: tuple[int, ...] | None
) -> FrozenSegmenter:
    """Trains it on these real views alone; the same views and settings give the same network."""
    settings, training = config.segmenter, config.training
    network = SegmentationConfig(
        spatial_dims=config.data.spatial_dims,
        sequences=config.data.channels,
        classes=len(config.data.class_names),
        channels=settings.channels,
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        accelerator=config.accelerator,
        precision=config.precision,
    )
    samples = SegmentationSamples(
        labelled,
        None,
        synthetic_ratio=0.0,
        seed=training.seed,
        length=settings.updates * settings.batch_size,
        patch_size=patch_size,
    )
    return FrozenSegmenter(train_network(samples, network, seed=training.seed).cpu(), network)


def lost(insertions: Sequence[Insertion], found: Sequence[Segmented], limits: Limits, *, seed: int) -> Finding:
    """The share of inserted lesions in which nothing new is found, judged by how much it exceeds that of real ones.

    Small lesions are missed more often, so each inserted one is compared with the real ones nearest to it in size.
    """
    if not insertions:
        return LOST.skipped("there is no lesion to look for")
    sizes: np.ndarray = np.zeros(0)  # (parts,) voxels of each real tumor in the views
    unseen: np.ndarray = np.zeros(0)  # (parts,) 1 where no voxel of it is found
    for i, seen in zip(insertions, found, strict=True):
        parts, count = ndimage.label(i.label, structure=np.ones((3,) * i.label.ndim))
        sizes = np.append(sizes, np.bincount(parts.reshape(-1), minlength=count + 1)[1:])
        unseen = np.append(unseen, ~np.isin(np.arange(1, count + 1), parts[seen.before]))
    marked = np.mean([(seen.before & i.mask).any() for i, seen in zip(insertions, found, strict=True)])
    nearest = [np.argsort(np.abs(np.log(sizes / i.mask.sum())), kind="stable")[:LIKE_SIZE] for i in insertions]
    floor = float(np.mean([unseen[k].mean() for k in nearest]))
    if max(floor, marked) > MOST_WRONG:
        return LOST.skipped(
            f"the segmenter misses {100 * floor:.0f} % of the real lesions of these sizes and marks "
            f"{100 * marked:.0f} % of the places before anything is there: it cannot judge (segmenter.updates)"
        )
    missed = missed_lesions(insertions, found).astype(float)
    patients = [i.patient for i in insertions]
    sentence = (
        f"The segmenter misses {int(missed.sum())} of {len(missed)} inserted lesions, and {100 * floor:.0f} % of real "
        "ones of their sizes."
    )
    interval = over_patients(missed, patients, seed=seed)
    n = {"inserted": len(missed), "real": len(sizes), "patients": len(set(patients))}
    details = {"real_missed": float(unseen.mean())}
    value = float(missed.mean())
    return LOST.judged(sentence, value, limits.above(floor), interval, floor=floor, n=n, details=details)


def gained(insertions: Sequence[Insertion], found: Sequence[Segmented], limits: Limits, *, seed: int) -> Finding:
    """Predicted parts in an edited view that touch neither the mask, a real tumor, nor what was predicted before."""
    if not insertions:
        return GAINED.skipped("there is no edited view to look at")
    parts, patients = gained_parts(insertions, found), [i.patient for i in insertions]
    sentence = f"{parts.sum()} new findings beside the masks of {len(parts)} edited views."
    interval = over_patients(parts, patients, seed=seed)
    n, details = {"views": len(parts), "patients": len(set(patients))}, {"by_view": parts.tolist()}
    return GAINED.judged(sentence, float(parts.mean()), limits, interval, unit="per view", n=n, details=details)


def missed_lesions(insertions: Sequence[Insertion], found: Sequence[Segmented]) -> np.ndarray:
    """(insertions,) bool: no voxel of the mask is found that was not before."""
    pairs = zip(insertions, found, strict=True)
    return np.array([not (seen.after & ~seen.before & i.mask).any() for i, seen in pairs], dtype=bool)


def gained_parts(insertions: Sequence[Insertion], found: Sequence[Segmented]) -> np.ndarray:
    """(views,) how many."""
    pairs = zip(insertions, found, strict=True)
    counts = [lost_and_gained(seen.after, i.mask | i.label | seen.before).gained for i, seen in pairs]
    return np.array(counts, dtype=int)
