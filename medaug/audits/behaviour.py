"""The audits of how a tumor generator behaves, each with its picture: what of the material goes to which audit."""

from __future__ import annotations

from functools import partial

import numpy as np

from medaug.audits import pictures
from medaug.audits.material import Material
from medaug.audits.measures import borders, lost_and_gained, probe
from medaug.audits.measures import outside as edits
from medaug.audits.measures.finding import Finding, Limits
from medaug.audits.measures.steganography import Cycle
from medaug.audits.measures.steganography import steganography as hidden_source
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
    made, found = material.insertions, material.found
    finding = lost_and_gained.lost(made, found, limits, seed=material.seed)
    return finding, pictures.segmented(made, found, lost_and_gained.missed_lesions(made, found))


def gained(material: Material, limits: Limits) -> Look:
    made, found = material.insertions, material.found
    finding = lost_and_gained.gained(made, found, limits, seed=material.seed)
    return finding, pictures.segmented(made, found, lost_and_gained.gained_parts(made, found))


def null_shortcut(material: Material, limits: Limits) -> Look:
    if not material.weights.uses_references:
        reason = "these weights paint a tumor from a mask or an image alone: they cannot insert nothing"
        return probe.NULL_SHORTCUT.skipped(reason), None
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
        Cycle(
            i.patient,
            i.before,
            i.image,
            (i.mask if guided else i.organ) & (np.abs(i.before) < 1),
            partial(material.remove, mask=i.mask, spacing_mm=i.spacing_mm),
        )
        for i in material.insertions
    ]
    finding, back = hidden_source(made, limits, noise=material.config.audit.noise, seed=material.seed)
    return finding, pictures.cycles(made, back)


def seams(material: Material, limits: Limits) -> Look:
    made, size = material.insertions, material.weights.facts.get("patch_size")
    if material.prior is not None:
        finding = borders.seams(material.held_out, made, limits, seed=material.seed)
        return finding, pictures.profiles(finding)
    if size is None:
        return borders.SEAMS.skipped("whole images are translated: there are neither windows nor masks"), None
    changes, patch = [i.image - i.before for i in made], (*size, *material.crop_size[len(size) :])
    overlap = material.weights.facts.get("overlap", OVERLAP)
    finding = borders.window_seams(changes, [i.patient for i in made], patch, overlap, limits, seed=material.seed)
    return finding, pictures.edited(made, np.array(finding.details.get("by_image", [])))


def checkerboard(material: Material, limits: Limits) -> Look:
    """Crops around lesions; those without any contrast have no spectrum."""
    size = material.crop_size
    crops = [
        borders.Spectral(i.patient, i.crop(size)[0], i.crop_before(size), real.crop(size)[0])
        for i, real in zip(material.insertions, material.held_out, strict=True)
    ]
    kept = [number for number, crop in enumerate(crops) if crop.usable]
    stride = material.weights.translator.stride
    finding = borders.checkerboard([crops[k] for k in kept], stride, limits, seed=material.seed)
    made = [material.insertions[k] for k in kept]
    return finding, pictures.edited(made, np.array(finding.details.get("fake", [])), size=size)
