"""The audits of what inserted lesions are like as a set, each with its picture: what of the material goes where."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.material import UNIT, Material
from medaug.audits.measures import sets
from medaug.audits.measures.cases import Insertion
from medaug.audits.measures.finding import Finding, Limits
from medaug.audits.measures.lesions import LesionSet, standardised
from medaug.audits.measures.memorisation import memorisation_audit
from medaug.figures.distributions import Crop, crop_grid, histograms, scatter
from medaug.transforms import InsertTumor
from medaug.volumes import affine_of

Look = tuple[Finding, bytes | None]

PLACES, SEEDS = 8, 4
"""Held-out views in which one place is filled anew, and how often."""
ROWS = 6


def measured(measure: sets.Measure, material: Material, limits: Limits) -> Look:
    real, made = material.real, material.synthetic
    if measure.unit == "mm":
        measure = replace(measure, unit=material.weights.length_unit)
    finding = sets.distribution_audit(measure, real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    ours, theirs = measure.of(real), measure.of(made)
    title = f"{measure.noun} ({measure.unit})"
    xlabels = [title] if ours.ndim == 1 else [f"{title}, axis {axis}" for axis in range(ours.shape[1])]
    floors, label = finding.details["floors"], f"distance ({measure.unit})"
    return finding, histograms(ours, theirs, floors, finding.value, xlabels=xlabels, figure_label=label)


lesion_size, lesion_contrast, lesion_location = (partial(measured, measure) for measure in sets.MEASURES)


def memorisation(material: Material, limits: Limits) -> Look:
    learnt, real, made = material.learnt, material.real, material.synthetic
    finding, worst = memorisation_audit(learnt, real, made, limits, seed=material.seed)
    if worst is None:
        return finding, None
    synthetic, held_out = worst.synthetic, worst.real
    rows, beside = [], []
    for mine, theirs in zip(*(np.argsort(k.ratio, kind="stable")[:ROWS] for k in (synthetic, held_out)), strict=False):
        shown = (made, mine), (learnt, synthetic.nearest[mine]), (real, theirs), (learnt, held_out.nearest[theirs])
        rows.append([_crop(lesions, row) for lesions, row in shown])
        beside.append(f"distance {synthetic.training[mine]:.3f}, real {held_out.training[theirs]:.3f}")
    columns = ["synthetic", "nearest training lesion", "real, held out", "nearest training lesion"]
    title = f"The nearest to training lesions, by {worst.measure}"
    return finding, crop_grid(rows, beside, columns=columns, title=title)


def diversity(material: Material, limits: Limits) -> Look:
    real, made = material.real, material.synthetic
    finding = sets.diversity_audit(real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    ours, theirs = (sets.pairwise(standardised(lesions.features, real.features)) for lesions in (real, made))
    labels = ["distance between two lesions' features"], "mean distance, by that of all real lesions"
    floors = finding.details["floors"]
    picture = histograms(ours, theirs, floors, finding.value, xlabels=labels[0], figure_label=labels[1], of="pairs")
    return finding, picture


def diversity_in_one_place(material: Material, limits: Limits) -> Look:
    places = [_filled_anew(made, material) for made in material.insertions[:PLACES]]
    finding = sets.one_place_audit(material.real, places, limits, seed=material.seed)
    if finding.verdict == "skipped":
        return finding, None
    rows = [[_crop(place, i) for i in range(SEEDS)] for place in places[:ROWS]]
    names = [f"place {number}" for number in range(1, len(rows) + 1)]
    columns, title = [f"seed {material.seed + i}" for i in range(SEEDS)], "One place, filled with other seeds"
    return finding, crop_grid(rows, names, columns=columns, title=title)


def frechet(material: Material, limits: Limits) -> Look:
    """The picture shows both sets in their first two principal components, beside the floor."""
    real, made = material.real, material.synthetic
    finding = sets.frechet_audit(real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    scores = standardised(real.features, real.features), standardised(made.features, real.features)
    ours, theirs, share = sets.principal(*scores, 2)
    labels = (f"first principal component (both: {share:.0%} of the variance)", "second principal component")
    return finding, scatter(ours, theirs, finding.details["floors"], finding.value, labels=labels, figure_label="d²")


def _filled_anew(made: Insertion, material: Material) -> LesionSet:
    """The place of an insertion with other seeds: other styles, references and noise, as far as the method has them."""
    scan = MetaTensor(torch.from_numpy(made.before)[None], affine=torch.from_numpy(affine_of(made.spacing_mm)))
    mask, views = made.mask[None].astype(np.float32), []
    for seed in range(SEEDS):
        edited, _ = InsertTumor(material.weights, seed=material.seed + seed)(scan, mask, window=UNIT)
        views.append(replace(made, image=edited.numpy()[0]))
    return LesionSet.of(views, material.crop_size, pasted=material.weights.uses_references)


def _crop(lesions: LesionSet, row: int) -> Crop:
    return lesions.images[row], lesions.masks[row]
