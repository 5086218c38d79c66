"""The audits of a run that inserts tumors, each with its picture; a new one is a function, and a line in `AUDITS`.

Its name there is that of its limits in `audit.limits` and of `audit/<name>.png`. What is asked of each sequence alone
is judged by the worst of them, and the finding lists all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from medaug.audits import pictures
from medaug.audits.findings import Answer
from medaug.audits.insertions import InsertionRun
from medaug.audits.measures import edits, lost_and_gained, probe, sets
from medaug.audits.measures.consistency import agreements, consistency_audit
from medaug.audits.measures.finding import worst_of
from medaug.audits.measures.fingerprint import FINGERPRINT
from medaug.audits.measures.fingerprint import fingerprint as measured_fingerprint
from medaug.audits.measures.lesions import Insertion, LesionSet, standardised
from medaug.audits.measures.memorisation import memorisation_audit
from medaug.audits.measures.removal import REMOVAL, filled_by
from medaug.audits.measures.removal import removal as measured_removal
from medaug.figures.charts import learning_curves
from medaug.figures.distributions import Crop, crop_grid, histograms, scatter

PLACES, SEEDS = 8, 4
"""Held-out views in which one place is filled anew, and how often."""
ROWS = 6


def outside(run: InsertionRun) -> Answer:
    made = run.insertions
    finding = edits.outside(made, run.limits("outside"), run.sequences)
    return finding, pictures.edited(made, edits.outside_counts(made), run.sequences)


def unchanged(run: InsertionRun) -> Answer:
    """Views without room for a lesion do not count: the generator is not to blame for them."""
    made = run.insertions
    finding = edits.unchanged(made, run.limits("unchanged"), run.sequences)
    return finding, pictures.edited(made, -_strongest(made), run.sequences)


def lost(run: InsertionRun) -> Answer:
    made, found = run.insertions, run.found
    finding = lost_and_gained.lost(made, found, run.limits("lost"), seed=run.seed)
    return finding, pictures.segmented(made, found, lost_and_gained.missed_lesions(made, found), run.sequences)


def gained(run: InsertionRun) -> Answer:
    made, found = run.insertions, run.found
    finding = lost_and_gained.gained(made, found, run.limits("gained"), seed=run.seed)
    return finding, pictures.segmented(made, found, lost_and_gained.gained_parts(made, found), run.sequences)


def null_shortcut(run: InsertionRun) -> Answer:
    if not run.weights.uses_references:
        reason = "these weights paint a tumor from a mask alone: they cannot insert nothing"
        return probe.NULL_SHORTCUT.skipped(reason), None
    nulls, size = run.null_insertions, run.crop_size
    finding = probe.null_shortcut(nulls, size, run.limits("null_shortcut"), run.sequences, seed=run.seed)
    return finding, pictures.nulls(nulls, _strongest(nulls), size, run.sequences)


def fingerprint(run: InsertionRun) -> Answer:
    if not run.weights.uses_references:
        return FINGERPRINT.skipped("these weights paint a tumor from a mask alone: they cannot insert nothing"), None
    nulls, size, channels = run.null_insertions, run.crop_size, range(len(run.sequences))
    asked = partial(measured_fingerprint, nulls, size, run.weights.translator.stride, run.limits("fingerprint"))
    finding, _ = worst_of(run.sequences, [asked(channel=channel, seed=run.seed) for channel in channels])
    return finding, pictures.nulls(nulls, _strongest(nulls), size, run.sequences)


def shortcut(run: InsertionRun) -> Answer:
    real, made, size = run.real_lesions, run.insertions, run.crop_size
    finding = probe.shortcut(real, made, size, run.limits("shortcut"), run.sequences, seed=run.seed)
    return finding, pictures.lesions(real, made, size, run.sequences)


def removal(run: InsertionRun) -> Answer:
    """The masks of the insertions, on the tissue that was there before."""
    views = [replace(made, image=run.removed(made.before, made)) for made in run.insertions]
    if not views:
        return REMOVAL.skipped(edits.NONE), None
    fills = filled_by(views, seed=run.seed)
    finding = measured_removal(fills, run.crop_size, run.limits("removal"), run.sequences, seed=run.seed)
    return finding, pictures.filled(fills, run.crop_size, run.sequences)


def steganography(run: InsertionRun) -> Answer:
    """What was inserted is removed again.

    What the window clips is left out: beyond the window scans keep their own values.
    """
    made = [
        edits.Cycle(i.patient, i.before, i.image, i.mask & (np.abs(i.before) < 1), partial(run.removed, made=i))
        for i in run.insertions
    ]
    noise, limits = run.config.audit.noise, run.limits("steganography")
    back = edits.reconstructed(made, noise=noise, seed=run.seed)
    asked = partial(edits.steganography, made, back, limits, noise=noise, seed=run.seed)
    finding, worst = worst_of(run.sequences, [asked(channel=channel) for channel in range(len(run.sequences))])
    return finding, pictures.cycles(made, back, worst)


def seams(run: InsertionRun) -> Answer:
    asked = partial(edits.seams, run.real_lesions, run.insertions, run.limits("seams"), seed=run.seed)
    finding, _ = worst_of(run.sequences, [asked(channel=channel) for channel in range(len(run.sequences))])
    if finding.verdict == "skipped":
        return finding, None
    places = [k + 0.5 for k in finding.details["voxels_from_edge"]]
    curves = {f"{kind} lesions": (places, finding.details[kind]) for kind in ("real", "inserted")}
    title, xlabel, ylabel = "Steps around the mask's edge", "voxels outside the mask's edge", "mean step (window units)"
    return finding, learning_curves(curves, title=title, xlabel=xlabel, smooth=1, ylabel=ylabel)


def checkerboard(run: InsertionRun) -> Answer:
    """Crops around lesions; those without any contrast have no spectrum."""
    size, stride, limits = run.crop_size, run.weights.translator.stride, run.limits("checkerboard")
    crops = [
        (i, i.crop(size)[0], i.crop_before(size), real.crop(size)[0])
        for i, real in zip(run.insertions, run.real_lesions, strict=True)
    ]
    found, shown = [], []
    for channel in range(len(run.sequences)):
        images = [(i, [image[channel] for image in three]) for i, *three in crops]
        images = [(i, three) for i, three in images if all(np.ptp(image) > 0 for image in three)]
        spectral = [edits.Spectral(i.patient, *three) for i, three in images]
        found.append(edits.checkerboard(spectral, stride, limits, seed=run.seed))
        shown.append([i for i, _ in images])
    finding, worst = worst_of(run.sequences, found)
    worth = np.array(finding.details.get("fake", []))
    return finding, pictures.edited(shown[worst], worth, run.sequences, size=size, channel=worst)


def distribution(run: InsertionRun, measure: sets.Measure) -> Answer:
    """Whether inserted lesions have the sizes, contrasts, places or parts of real ones."""
    limits = run.limits(measure.audit)
    if measure.unit == "mm":
        measure = replace(measure, unit=run.weights.length_unit)
    if measure is sets.PARTS:
        if run.weights.n_parts == 1:
            return measure.question.skipped("the tumors have one part"), None
        measure = replace(measure, names=tuple(run.weights.facts.parts))
    measures = [measure]
    if measure is sets.CONTRAST:
        measures = [replace(measure, channel=channel) for channel in range(len(run.sequences))]
    found = [sets.distribution_audit(each, run.real, run.synthetic, limits, seed=run.seed) for each in measures]
    finding, worst = worst_of(run.sequences if len(found) > 1 else [""], found)
    if finding.value is None:
        return finding, None
    ours, theirs = measures[worst].of(run.real), measures[worst].of(run.synthetic)
    title, label = f"{measure.noun} ({measure.unit})", f"distance ({measure.unit})"
    axes = measure.names or [f"axis {axis}" for axis in range(ours.shape[-1])]
    xlabels = [title] if ours.ndim == 1 else [f"{title}, {axis}" for axis in axes]
    floors = finding.details["floors"]
    return finding, histograms(ours, theirs, floors, finding.value, xlabels=xlabels, figure_label=label)


def consistency(run: InsertionRun) -> Answer:
    """The picture shows the pair of sequences that differs most, and by what."""
    limits = run.limits("consistency")
    finding = consistency_audit(run.real, run.synthetic, limits, run.sequences, seed=run.seed)
    if finding.value is None:
        return finding, None
    worst = finding.details["worst"]
    ours, theirs = (agreements(lesions)[:, worst["column"]] for lesions in (run.real, run.synthetic))
    xlabels, label = [f"{worst['figure']}, {worst['pair']}"], "distance (standard deviations)"
    floors = finding.details["floors"]
    return finding, histograms(ours, theirs, floors, finding.value, xlabels=xlabels, figure_label=label)


def memorisation(run: InsertionRun) -> Answer:
    learnt, real, made = run.learnt, run.real, run.synthetic
    finding, worst = memorisation_audit(learnt, real, made, run.limits("memorisation"), seed=run.seed)
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


def diversity(run: InsertionRun) -> Answer:
    real, made = run.real, run.synthetic
    finding = sets.diversity_audit(real, made, run.limits("diversity"), seed=run.seed)
    if finding.value is None:
        return finding, None
    ours, theirs = (sets.pairwise(standardised(lesions.features, real.features)) for lesions in (real, made))
    labels = ["distance between two lesions' features"], "mean distance, by that of all real lesions"
    floors = finding.details["floors"]
    picture = histograms(ours, theirs, floors, finding.value, xlabels=labels[0], figure_label=labels[1], of="pairs")
    return finding, picture


def diversity_in_one_place(run: InsertionRun) -> Answer:
    places = [run.filled_anew(made, SEEDS) for made in run.insertions[:PLACES]]
    finding = sets.one_place_audit(run.real, places, run.limits("diversity_in_one_place"), seed=run.seed)
    if finding.verdict == "skipped":
        return finding, None
    rows = [[_crop(place, i) for i in range(SEEDS)] for place in places[:ROWS]]
    names = [f"place {number}" for number in range(1, len(rows) + 1)]
    columns, title = [f"seed {run.seed + i}" for i in range(SEEDS)], "One place, filled with other seeds"
    return finding, crop_grid(rows, names, columns=columns, title=title)


def frechet(run: InsertionRun) -> Answer:
    """The picture shows both sets in their first two principal components, beside the floor."""
    real, made = run.real, run.synthetic
    finding = sets.frechet_audit(real, made, run.limits("frechet"), seed=run.seed)
    if finding.value is None:
        return finding, None
    scores = standardised(real.features, real.features), standardised(made.features, real.features)
    ours, theirs, share = sets.principal(*scores, 2)
    labels = (f"first principal component (both: {share:.0%} of the variance)", "second principal component")
    return finding, scatter(ours, theirs, finding.details["floors"], finding.value, labels=labels, figure_label="d²")


AUDITS: dict[str, Callable[[InsertionRun], Answer]] = {
    "outside": outside,
    "unchanged": unchanged,
    "lost": lost,
    "gained": gained,
    "null_shortcut": null_shortcut,
    "fingerprint": fingerprint,
    "shortcut": shortcut,
    "removal": removal,
    "steganography": steganography,
    "seams": seams,
    "checkerboard": checkerboard,
    **{measure.audit: partial(distribution, measure=measure) for measure in sets.MEASURES},
    "consistency": consistency,
    "memorisation": memorisation,
    "diversity": diversity,
    "diversity_in_one_place": diversity_in_one_place,
    "frechet": frechet,
}
"""In the order in which they are asked and shown."""


def _crop(lesions: LesionSet, row: int) -> Crop:
    """In the first sequence."""
    return lesions.images[row][0], lesions.masks[row]


def _strongest(made: Sequence[Insertion]) -> np.ndarray:
    """(insertions,) the change in the sequence that changes most."""
    return edits.strengths_of(made).max(axis=1, initial=0.0)
