"""What a translation does to scans of patients it never saw: audits of a run between two kinds of image, and figures.

Reads: `prepared/`, `prepared_b/`, `split.json`, `train/weights`. Contrasts are in window units [-1, 1], each image in
its own window. Nothing is compared with a true image, of which unpaired domains have none: a shift of HU is a change of
the input, and levels (how much of the body is enhanced blood, how dense soft tissue is) say whether it goes where the
target domain is. Windows are those of weights that were trained on crops, beside the same scans translated whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits import pictures
from medaug.audits.findings import Answer, AuditedRun, in_turn
from medaug.audits.measures import edits, faithful
from medaug.audits.measures.hounsfield import (
    LARGEST_VOXEL_MM,
    TISSUES_HU,
    beside_blood,
    enhanced_blood,
    region_errors,
    tissue_errors,
)
from medaug.audits.measures.lesions import lesion_statistics
from medaug.audits.measures.seams import brightness_drift, tiles_of, tiling_difference
from medaug.audits.measures.similarity import ImagePair
from medaug.audits.scans import ScanArrays, read_scan, translated_scan
from medaug.data.prepared import Prepared
from medaug.data.records import PreparedCase
from medaug.errors import DataError
from medaug.models.weights import Weights
from medaug.progress import track
from medaug.transforms import TranslateDomain
from medaug.volumes import affine_of

BLOOD, BESIDE = "enhanced blood", "soft, beside it"
LARGEST_VOXELS = 4_000_000
"""The most that a network sees at once when a scan is translated whole: more does not fit into 16 GB."""
WHOLE = np.iinfo(np.int32).max
"""The size of windows along an axis that they do not cut."""


@dataclass(frozen=True)
class TranslationRun(AuditedRun):
    """Held-out scans of the source, their translations, and held-out scans of the target."""

    @cached_property
    def pairs(self) -> list[tuple[str, ScanArrays, ScanArrays]]:
        """(patient, source, translation) of each scan."""
        translate, found = TranslateDomain(self.weights, "a2b", seed=self.seed), []
        chosen = self._chosen(self.run.datalist)
        with track("translate held-out scans", len(chosen)) as tracker:
            for case in chosen:
                scan = read_scan(case, self.run.prepared)
                found.append((case.patient, scan, translated_scan(case, self.run.prepared, translate)))
                tracker.advance()
        return found

    @property
    def patients(self) -> list[str]:
        return [patient for patient, _, _ in self.pairs]

    @property
    def normalized(self) -> list[ImagePair]:
        """Source and translation of each scan, in window units, inside the body."""
        return [ImagePair(source.normalized, fake.normalized, source.body > 0) for _, source, fake in self.pairs]

    @cached_property
    def real(self) -> list[ScanArrays]:
        """Held-out scans of the target domain."""
        return [read_scan(case, self.run.prepared_b) for case in self._chosen(self.run.datalist_b)]

    def back(self, fake: np.ndarray, scan: ScanArrays) -> np.ndarray:
        """A normalised translation (C', *S), such as `scan`, as the source domain's first sequence again, (1, *S)."""
        translate = TranslateDomain(self.weights, "b2a", seed=self.seed)
        images = [window.denormalize(channel) for window, channel in zip(scan.windows, fake, strict=True)]
        image = torch.from_numpy(np.stack(images).astype(np.float32))
        result = translate(
            MetaTensor(image, affine=torch.from_numpy(affine_of(scan.spacing_mm))), scan.body[None], window=scan.windows
        )
        window = translate.windows_of_result(scan.windows)[0]
        return window.normalize(np.asarray(result.as_tensor(), dtype=np.float32)[:1])

    def _chosen(self, datalist: Path) -> list[PreparedCase]:
        """The middle scan of each patient, then those around it: up to `audit.volumes`, of pictures `audit.lesions`."""
        queues = []
        for cases in Prepared(datalist).by_patient(self.held_out).values():
            order = np.argsort(np.abs(np.arange(len(cases)) - len(cases) // 2), kind="stable")
            queues.append([cases[k] for k in order])
        volumes = any(len(case.shape) == 3 for cases in queues for case in cases)
        return in_turn(queues)[: self.config.audit.volumes if volumes else self.config.audit.lesions]


def steganography(run: TranslationRun) -> Answer:
    """There and back to the first sequence, inside the body; what the window clips is left out."""
    made = []
    for patient, source, fake in run.pairs:
        region = source.body & (np.abs(source.normalized) < 1)
        images = source.normalized[None], fake.all_normalized
        made.append(edits.Cycle(patient, *images, region[None], partial(run.back, scan=fake)))
    limits, noise = run.limits("steganography"), run.config.audit.noise
    back = edits.reconstructed(made, noise=noise, seed=run.seed)
    return edits.steganography(made, back, limits, channel=0, noise=noise, seed=run.seed), pictures.cycles(made, back)


def seams(run: TranslationRun) -> Answer:
    """Looks at the change where both domains share a scale, else at the translation itself."""
    size, overlap = run.weights.facts.patch_size, run.weights.facts.overlap
    if size is None:
        return edits.SEAMS.skipped("whole images are translated: there are no windows"), None
    shared = TranslateDomain(run.weights, "a2b").shares_unit
    images = [fake.normalized - (source.normalized if shared else 0) for _, source, fake in run.pairs]
    dims = max((image.ndim for image in images), default=len(size))
    patch, patients = (*size, *(WHOLE,) * (dims - len(size))), [patient for patient, _, _ in run.pairs]
    finding = edits.window_seams(images, patients, patch, overlap, run.limits("seams"), seed=run.seed)
    return finding, pictures.translated(run.pairs)


def checkerboard(run: TranslationRun) -> Answer:
    """Real target scans of held-out patients are the yardstick."""
    real = [scan.normalized for scan in run.real if np.ptp(scan.normalized) > 0]
    if not real:
        return edits.CHECKERBOARD.skipped("there is no held-out scan of the target domain"), None
    pairs = [pair for pair in run.pairs if all(np.ptp(scan.normalized) > 0 for scan in pair[1:])]
    images = [
        edits.Spectral(patient, fake.normalized, source.normalized, real[k % len(real)])
        for k, (patient, source, fake) in enumerate(pairs)
    ]
    stride = run.weights.translator.stride
    finding = edits.checkerboard(images, stride, run.limits("checkerboard"), seed=run.seed)
    return finding, pictures.translated(pairs)


def unchanged(run: TranslationRun) -> Answer:
    if not TranslateDomain(run.weights, "a2b").shares_unit:
        return edits.UNCHANGED.skipped("the two domains have no common unit"), None
    return faithful.untranslated(run.normalized, run.patients, run.limits("unchanged")), pictures.translated(run.pairs)


def geometry(run: TranslationRun) -> Answer:
    found = [faithful.edge_correlation(pair) for pair in run.normalized]
    finding = faithful.geometry(found, run.patients, run.limits("geometry"), seed=run.seed)
    order = np.argsort(found, kind="stable")
    return finding, pictures.translated([run.pairs[k] for k in order])


def hu_bias(run: TranslationRun) -> Answer:
    """Only between two kinds of CT in HU."""
    translate = TranslateDomain(run.weights, "a2b")
    if any(domain.modality != "CT" or domain.unit != "HU" for domain in (translate.source, translate.target)):
        return faithful.HU_BIAS.skipped("not both domains are CT in HU"), None
    pairs = [ImagePair(s.image, f.image, s.body) for _, s, f in run.pairs]
    target = [ImagePair(scan.image, scan.image, scan.body) for scan in run.real]
    finding = faithful.hu_bias(pairs, run.patients, target, run.limits("hu_bias"), seed=run.seed)
    return finding, pictures.translated(run.pairs)


AUDITS: dict[str, Callable[[TranslationRun], Answer]] = {
    "unchanged": unchanged,
    "geometry": geometry,
    "hu_bias": hu_bias,
    "steganography": steganography,
    "seams": seams,
    "checkerboard": checkerboard,
}
"""Lesions lost and gained are counted by the evaluation of two domains (arm `target-labels`)."""


class Contrasts(NamedTuple):
    """One patient's contrasts: class → mean over the scans that hold it; and case → why it could not be measured."""

    by_class: dict[str, float]
    left_out: dict[str, str]


def contrasts_of(scans: Sequence[ScanArrays], class_names: Sequence[str]) -> Contrasts:
    """Mean of the labelled region minus mean of its surroundings (2 to 8 mm around it, inside the body)."""
    values: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for scan in scans:
        for number, name in enumerate(class_names, start=1):
            region = scan.classes == number
            if not region.any():
                continue
            try:
                found = lesion_statistics(scan.normalized, region, scan.spacing_mm, organ=scan.body)
                values.setdefault(name, []).append(found["contrast"])
            except DataError as error:
                left_out[scan.case] = str(error)
    return Contrasts({name: float(np.mean(numbers)) for name, numbers in values.items()}, left_out)


def shift_by_tissue(sources: Sequence[ScanArrays], translated: Sequence[ScanArrays]) -> dict[str, dict[str, float]]:
    """The change of one patient: tissue of the source → bias_hu, sd_hu, mae_hu and share (of the body) of the change.

    The tissues leave `enhanced blood` out, which is a class of its own where voxels are small enough to tell it.
    """
    everywhere = [ImagePair(a.image, b.image, a.body) for a, b in zip(sources, translated, strict=True)]
    if not measures_blood(sources):
        return tissue_errors(everywhere)
    blood = [enhanced_blood(s.image, s.body, s.spacing_mm) for s in sources]
    beside = [beside_blood(s.image, b, s.body, s.spacing_mm) for s, b in zip(sources, blood, strict=True)]

    def marked(regions: Iterable[np.ndarray]) -> list[ImagePair]:
        pairs = (pair._replace(mask=region) for pair, region in zip(everywhere, regions, strict=True))
        return [pair for pair in pairs if pair.mask.any()]

    shifts = tissue_errors(marked(s.body & ~b for s, b in zip(sources, blood, strict=True)))
    voxels = sum(int(scan.body.sum()) for scan in sources)
    for name, pairs in ((BESIDE, marked(beside)), (BLOOD, marked(blood))):
        if pairs:
            shifts[name] = region_errors(pairs) | {"share": sum(int(pair.mask.sum()) for pair in pairs) / voxels}
    return shifts


def levels(scans: Sequence[ScanArrays]) -> dict[str, float]:
    """One patient's blood_share (of the body), and as medians blood_hu and soft_hu (of soft tissue without blood)."""
    found: dict[str, float] = {}
    bodies = [scan.body.astype(bool) for scan in scans]
    if measures_blood(scans):
        regions = [enhanced_blood(scan.image, scan.body, scan.spacing_mm) for scan in scans]
        found["blood_share"] = sum(int(region.sum()) for region in regions) / sum(int(body.sum()) for body in bodies)
        if found["blood_share"]:
            found["blood_hu"] = _median(scans, regions)
        bodies = [body & ~region for body, region in zip(bodies, regions, strict=True)]
    low, high = TISSUES_HU["soft"]
    soft = [body & (s.image >= low) & (s.image < high) for s, body in zip(scans, bodies, strict=True)]
    if any(mask.any() for mask in soft):
        found["soft_hu"] = _median(scans, soft)
    return found


def measures_blood(scans: Sequence[ScanArrays]) -> bool:
    return all(max(scan.spacing_mm[:2]) <= LARGEST_VOXEL_MM for scan in scans)


def _median(scans: Sequence[ScanArrays], masks: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate([s.image[mask] for s, mask in zip(scans, masks, strict=True)])))


TiledScan = dict[str, dict[str, float]]
"""One scan: the "difference" of its windows from it, translated whole, and the "drift" of their brightness."""


@dataclass(frozen=True)
class Tiling:
    """What windows do to scans: figures by case, and why cases have none."""

    patch_size: tuple[int, ...]
    overlap: float
    unit: str
    scans: dict[str, TiledScan]
    left_out: dict[str, str]


def tiling_of(cases: Iterable[PreparedCase], folder: Path, weights: Weights) -> Tiling | None:
    """The middle scans in windows and whole; None for weights that look at whole images anyway."""
    size = weights.facts.patch_size
    if size is None:
        return None
    tiled = TranslateDomain(weights, "a2b")
    whole = TranslateDomain(replace(weights, facts=weights.facts.model_copy(update={"patch_size": None})), "a2b")
    scans: dict[str, TiledScan] = {}
    left_out: dict[str, str] = {}
    for case in cases:
        try:
            scans[case.case] = _tiled_scan(case, folder, tiled, whole, size)
        except DataError as error:
            left_out[case.case] = str(error)
    return Tiling(size, weights.facts.overlap, tiled.target.unit, scans, left_out)


def _tiled_scan(
    case: PreparedCase, folder: Path, tiled: TranslateDomain, whole: TranslateDomain, size: Sequence[int]
) -> TiledScan:
    source = read_scan(case, folder)
    patch = (*size, *source.image.shape[len(size) :])  # 2-D weights go through the slices of a volume
    seen = int(np.prod(source.image.shape[: len(size)]))
    if seen > LARGEST_VOXELS:
        raise DataError(f"{seen} voxels at once are too many to translate whole; expected up to {LARGEST_VOXELS}")
    at_once = translated_scan(case, folder, whole).image
    regions = [r for r in tiles_of(source.image.shape, patch, tiled.weights.facts.overlap) if source.body[r].any()]
    difference = tiling_difference(at_once, translated_scan(case, folder, tiled).image, source.body)
    affine, alone = torch.from_numpy(affine_of(source.spacing_mm)), []
    for region in regions:  # each window when nothing around it is seen
        image = MetaTensor(torch.from_numpy(source.images[(slice(None), *region)].copy()), affine=affine)
        label = source.classes[region][None] if whole.label_classes else None
        tile = whole(image, source.body[region][None], window=source.windows, label=label)
        alone.append((region, np.asarray(tile.as_tensor())[0]))
    drift = brightness_drift(at_once, alone, source.body)
    figures = {"tiles": len(drift.offsets), "spread": drift.spread, "slope": drift.slope}
    return {"difference": difference._asdict(), "drift": figures}
