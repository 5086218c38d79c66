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

Look = tuple[Finding, bytes | None]


def outside(material: Material, limits: Limits) -> Look:
    made = material.insertions
    finding = edits.changed_outside(made, limits)
    return finding, pictures.edited(made, edits.outside_counts(made))


def unchanged(material: Material, limits: Limits) -> Look:
    """Views without room for a lesion do not count: the generator is not to blame for them."""
    made = material.insertions
    return edits.unchanged(made, limits), pictures.edited(made, -edits.strengths_of(made))


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
        reason = "these weights paint a tumor from a mask alone: they cannot insert nothing"
        return probe.NULL_SHORTCUT.skipped(reason), None
    nulls = material.null_insertions
    finding = probe.null_shortcut(nulls, material.crop_size, limits, seed=material.seed)
    return finding, pictures.nulls(nulls, material.crop_size)


def shortcut(material: Material, limits: Limits) -> Look:
    real, made, size = material.held_out, material.insertions, material.crop_size
    return probe.shortcut(real, made, size, limits, seed=material.seed), pictures.lesions(real, made, size)


def steganography(material: Material, limits: Limits) -> Look:
    """What was inserted is removed again.

    What the window clips is left out: beyond the window scans keep their own values.
    """
    made = [
        Cycle(
            i.patient,
            i.before,
            i.image,
            i.mask & (np.abs(i.before) < 1),
            partial(material.remove, mask=i.mask, spacing_mm=i.spacing_mm),
        )
        for i in material.insertions
    ]
    finding, back = hidden_source(made, limits, noise=material.config.audit.noise, seed=material.seed)
    return finding, pictures.cycles(made, back)


def seams(material: Material, limits: Limits) -> Look:
    finding = borders.seams(material.held_out, material.insertions, limits, seed=material.seed)
    return finding, pictures.profiles(finding)


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
