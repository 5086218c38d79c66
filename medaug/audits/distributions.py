"""The audits of what inserted lesions are like as a set, each with its picture: what of the material goes where."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits.material import UNIT, Material
from medaug.audits.measures import Finding, Insertion, Limits, skipped
from medaug.audits.measures import diversity as spread
from medaug.audits.measures import memorisation as memory
from medaug.audits.measures.distributions import MEASURES, Measure, distribution_audit
from medaug.audits.measures.frechet import frechet_audit, principal
from medaug.audits.measures.lesions import Lesions, standardised
from medaug.figures.distributions import Crop, crop_grid, histograms, scatter
from medaug.transforms import InsertTumor
from medaug.volumes import affine_of

Look = tuple[Finding, bytes | None]

PLACES, SEEDS = 8, 4
"""Held-out views in which one place is filled anew, and how often."""
ROWS = 6


def measured(measure: Measure, material: Material, limits: Limits) -> Look:
    real, made = material.real, material.synthetic
    if measure.unit == "mm":
        measure = replace(measure, unit=material.weights.length_unit)
    finding = distribution_audit(measure, real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    ours, theirs = measure.of(real), measure.of(made)
    title = f"{measure.noun} ({measure.unit})"
    xlabels = [title] if ours.ndim == 1 else [f"{title}, axis {axis}" for axis in range(ours.shape[1])]
    floors, label = finding.details["floors"], f"distance ({measure.unit})"
    return finding, histograms(ours, theirs, floors, finding.value, xlabels=xlabels, figure_label=label)


lesion_size, lesion_contrast, lesion_location = (partial(measured, measure) for measure in MEASURES)


def memorisation(material: Material, limits: Limits) -> Look:
    learnt, real, made = material.learnt, material.real, material.synthetic
    finding = memory.memorisation_audit(learnt, real, made, limits, seed=material.seed)
    if finding.verdict == "skipped":
        return finding, None
    worst = memory.worst_of(memory.copies(learnt, real, made))
    rows, beside = [], []
    for mine, theirs in zip(_nearest(worst.synthetic), _nearest(worst.real), strict=False):
        rows.append(
            [
                _crop(made, mine),
                _crop(learnt, worst.synthetic.nearest[mine]),
                _crop(real, theirs),
                _crop(learnt, worst.real.nearest[theirs]),
            ]
        )
        beside.append(f"distance {worst.synthetic.training[mine]:.3f}, real {worst.real.training[theirs]:.3f}")
    columns = ["synthetic", "nearest training lesion", "real, held out", "nearest training lesion"]
    title = f"The nearest to training lesions, by {worst.measure}"
    return finding, crop_grid(rows, beside, columns=columns, title=title)


def diversity(material: Material, limits: Limits) -> Look:
    real, made = material.real, material.synthetic
    finding = spread.diversity_audit(real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    ours, theirs = (spread.pairwise(standardised(lesions.features, real.features)) for lesions in (real, made))
    picture = histograms(
        ours,
        theirs,
        finding.details["floors"],
        finding.value,
        xlabels=["distance between two lesions' features"],
        figure_label="mean distance, by that of all real lesions",
        of="pairs",
    )
    return finding, picture


def diversity_in_one_place(material: Material, limits: Limits) -> Look:
    if material.prior is None:
        reason = "these weights change whole images: there is no place to fill anew"
        return skipped(spread.NAME_ONE_PLACE, spread.QUESTION_ONE_PLACE, reason), None
    places = [_filled_anew(made, material) for made in material.insertions[:PLACES]]
    finding = spread.one_place_audit(material.real, places, limits, seed=material.seed)
    if finding.verdict == "skipped":
        return finding, None
    rows = [[_crop(place, i) for i in range(SEEDS)] for place in places[:ROWS]]
    names = [f"place {number}" for number in range(1, len(rows) + 1)]
    columns, title = [f"seed {material.seed + i}" for i in range(SEEDS)], "One place, filled with other seeds"
    return finding, crop_grid(rows, names, columns=columns, title=title)


def frechet(material: Material, limits: Limits) -> Look:
    """The picture shows both sets in their first two principal components, beside the floor."""
    real, made = material.real, material.synthetic
    finding = frechet_audit(real, made, limits, seed=material.seed)
    if finding.value is None:
        return finding, None
    scores = standardised(real.features, real.features), standardised(made.features, real.features)
    ours, theirs, share = principal(*scores, 2)
    labels = (f"first principal component (both: {share:.0%} of the variance)", "second principal component")
    return finding, scatter(ours, theirs, finding.details["floors"], finding.value, labels=labels, figure_label="d²")


def _filled_anew(made: Insertion, material: Material) -> Lesions:
    """The place of an insertion with other seeds: other styles, references and noise, as far as the method has them."""
    scan = MetaTensor(torch.from_numpy(made.before)[None], affine=torch.from_numpy(affine_of(made.spacing_mm)))
    mask, views = made.mask[None].astype(np.float32), []
    for seed in range(SEEDS):
        edited, _ = InsertTumor(material.weights, seed=material.seed + seed)(scan, mask, window=UNIT)
        views.append(replace(made, image=edited.numpy()[0]))
    return Lesions.of(views, material.crop_size, pasted=material.weights.uses_references)


def _nearest(neighbours: memory.Neighbours) -> np.ndarray:
    """The rows whose training neighbours are nearest, in relation to their hold-out neighbours."""
    return np.argsort(neighbours.ratio, kind="stable")[:ROWS]


def _crop(lesions: Lesions, row: int) -> Crop:
    return lesions.images[row], lesions.masks[row]
