"""The audits of how a tumor generator behaves, each with its picture: what of the material goes to which audit."""

from __future__ import annotations

from functools import partial

import numpy as np

from medaug.audits import pictures
from medaug.audits.material import Material
from medaug.audits.measures import Finding, Limits, borders, skipped
from medaug.audits.measures import lost_and_gained as segmenter
from medaug.audits.measures import outside as edits
from medaug.audits.measures import shortcut as probe
from medaug.audits.measures import steganography as cycles
from medaug.evaluation.detection import lost_and_gained
from medaug.transforms.windows import OVERLAP

Look = tuple[Finding, bytes | None]


def outside(material: Material, limits: Limits) -> Look:
    made = material.insertions
    if material.prior is None:
        plain = Limits(**material.config.audit.limits.outside_plain.model_dump())  # another figure, other limits
        finding = edits.change_outside_claim(made, plain, seed=material.seed)
        return finding, pictures.edited(made, edits.outside_shares(made))
    finding = edits.changed_outside(made, limits)
    return finding, pictures.edited(made, edits.outside_counts(made))


def unchanged(material: Material, limits: Limits) -> Look:
    """A mask-guided method that finds no room for a lesion is not to blame; a plain one that marks nothing is."""
    made, nothing = material.insertions, material.without_insertion if material.prior is None else 0
    return edits.unchanged(made, limits, nothing=nothing), pictures.edited(made, -edits.strengths_of(made))


def lost(material: Material, limits: Limits) -> Look:
    made = material.insertions
    before, after = ([pair[k] for pair in material.found] for k in (0, 1))
    finding = segmenter.lost(made, before, after, limits, seed=material.seed)
    return finding, pictures.segmented(made, before, after, segmenter.missed_lesions(made, before, after))


def gained(material: Material, limits: Limits) -> Look:
    made = material.insertions
    before, after = ([pair[k] for pair in material.found] for k in (0, 1))
    finding = segmenter.gained(made, before, after, limits, count=lost_and_gained, seed=material.seed)
    parts = segmenter.gained_parts(made, before, after, lost_and_gained)
    return finding, pictures.segmented(made, before, after, parts)


def null_shortcut(material: Material, limits: Limits) -> Look:
    if not material.weights.uses_references:
        reason = "these weights paint a tumor from a mask or an image alone: they cannot insert nothing"
        return skipped("null_shortcut", probe.NULL, reason), None
    nulls = material.null_insertions
    finding = probe.null_shortcut(nulls, material.crop_size, limits, seed=material.seed)
    return finding, pictures.nulls(nulls, material.crop_size)


def shortcut(material: Material, limits: Limits) -> Look:
    real, made, size = material.held_out, material.insertions, material.crop_size
    return probe.shortcut(real, made, size, limits, seed=material.seed), pictures.lesions(real, made, size)


def steganography(material: Material, limits: Limits) -> Look:
    """Mask-guided: what is removed again; plain methods: whole images there and back.

    What the window clips is left out: beyond the window scans keep their own values.
    """
    guided = material.prior is not None
    made = [
        cycles.Cycle(
            i.patient,
            i.before,
            i.image,
            (i.mask if guided else i.organ) & (np.abs(i.before) < 1),
            partial(material.remove, mask=i.mask, spacing_mm=i.spacing_mm),
        )
        for i in material.insertions
    ]
    noise, seed = material.config.audit.noise, material.seed
    back = cycles.reconstructed(made, noise=noise, seed=seed)
    finding = cycles.steganography(made, back, limits, noise=noise, seed=seed)
    return finding, pictures.cycles(made, back)


def seams(material: Material, limits: Limits) -> Look:
    made, size = material.insertions, material.weights.facts.get("patch_size")
    if material.prior is not None:
        finding = borders.seams(material.held_out, made, limits, seed=material.seed)
        return finding, pictures.profiles(finding)
    if size is None:
        return skipped("seams", borders.SEAMS, "whole images are translated: there are neither windows nor masks"), None
    changes, patch = [i.image - i.before for i in made], (*size, *material.crop_size[len(size) :])
    overlap = material.weights.facts.get("overlap", OVERLAP)
    finding = borders.window_seams(changes, [i.patient for i in made], patch, overlap, limits, seed=material.seed)
    return finding, pictures.edited(made, np.array(finding.details.get("by_image", [])))


def checkerboard(material: Material, limits: Limits) -> Look:
    """Crops around lesions; those without any contrast have no spectrum."""
    crops = [
        (i.crop(material.crop_size)[0], i.crop_before(material.crop_size), r.crop(material.crop_size)[0], i)
        for i, r in zip(material.insertions, material.held_out, strict=True)
    ]
    kept = [crop for crop in crops if all(borders.usable(image) for image in crop[:3])]
    fakes, references, real = ([images[k] for *images, _ in kept] for k in range(3))
    made = [i for *_, i in kept]
    finding = borders.checkerboard(
        fakes,
        references,
        real,
        [i.patient for i in made],
        material.weights.translator.stride,
        limits,
        seed=material.seed,
    )
    return finding, pictures.edited(made, np.array(finding.details.get("fake", [])), size=material.crop_size)
