"""What a translation does to patients it never saw: pictures, windows, HU by tissue, contrast of what is labelled.

Reads: `prepared/`, `prepared_b/`, `split.json`, `train/weights`. Writes `audit/pictures.png`, `audit/viewer.json`
(cases to look around in), and `audit/translation.json`:

{"patients": {"source": [...], "target": [...]}, "tiling": {...} or null, "audits": what `medaug audit` says of windows,
"by_patient": {patient: figures}, "shift", "levels", "contrast": means over patients with intervals, "left_out": {case:
reason}}. `shift` and `levels` are there where both domains are CT in HU, `contrast` where held-out scans have labels.
Held-out patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from medaug.audits.scans import Figures, ScanArrays, averaged, read_scan, translated_scan
from medaug.audits.translations import AUDITS, TranslationRun, contrasts_of, levels, shift_by_tissue, tiling_of
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path, read_json, write_json
from medaug.data.prepared import Prepared
from medaug.data.records import PreparedCase
from medaug.figures.pictures import Picture, picture_grid
from medaug.progress import track
from medaug.report.viewer import EncodedCase, Shown, ViewerCase, encode, write_cases
from medaug.report.viewing import SHOWN, is_oriented
from medaug.runs.folder import RunDir
from medaug.transforms import TranslateDomain
from medaug.volumes import length_unit, widest_slice

logger = logging.getLogger(__name__)

PICTURES = 6
TILED_SCANS = 3
OF_WINDOWS = ("seams", "checkerboard")
"""Audits of `medaug audit` that this one asks, too."""


def audit_translations(config: PipelineConfig, run: RunDir) -> None:
    """Writes `translation.json`, and the pictures of it."""
    material, split = TranslationRun(config, run), run.read_split()
    weights, held_out = material.weights, {*split.test, *split.validation}
    source, target = (Prepared(path).by_patient(held_out) for path in (run.datalist, run.datalist_b))
    if len(weights.sequences) > 1 or len(weights.target_sequences) > 1:
        first = weights.sequences[0], weights.target_sequences[0]
        logger.warning("audit: of several sequences the first of either domain is looked at: %s and %s", *first)
    patients = _Patients(config, run, TranslateDomain(weights, "a2b"))
    with track("audit translations", len(source) + len(target)) as tracker:
        for patient, entries in source.items():
            patients.look_at_source(patient, entries)
            tracker.advance()
        for patient, entries in target.items():
            patients.look_at_target(patient, entries)
            tracker.advance()
    patients.save_pictures()
    middle = [entries[len(entries) // 2] for entries in source.values()][:TILED_SCANS]
    tiling = tiling_of(middle, run.prepared, weights)
    windows = [AUDITS[name](material)[0] for name in OF_WINDOWS if tiling]
    facts = {
        "patients": {"source": list(source), "target": list(target)},
        "length_unit": length_unit(*(entry for entries in [*source.values(), *target.values()] for entry in entries)),
        "tiling": tiling,
        "audits": [asdict(finding) for finding in windows],
        "by_patient": patients.figures,
        "left_out": patients.left_out,
    }
    write_json(run.audit / "translation.json", facts | averaged(list(patients.figures.values())))


def pool_translations(run: RunDir, folds: Sequence[RunDir]) -> None:
    """Figures of the tested patients, each from the fold that tested it; windows and pictures stay in the folds."""
    if not (folds[0].audit / "translation.json").exists():
        return
    by_patient: dict[str, Figures] = {}
    patients: dict[str, list[str]] = {"source": [], "target": []}
    left_out: dict[str, str] = {}
    audits = [read_json(fold.audit / "translation.json") for fold in folds]
    for fold, audit in zip(folds, audits, strict=True):
        tested = read_json(fold.split)["test"]
        by_patient |= {patient: audit["by_patient"][patient] for patient in tested if patient in audit["by_patient"]}
        left_out |= audit["left_out"]
        for side, names in patients.items():
            names += [patient for patient in audit["patients"][side] if patient in tested]
    facts = {
        "patients": patients,
        "length_unit": length_unit(*audits),
        "tiling": None,
        "by_patient": by_patient,
        "left_out": left_out,
    }
    write_json(run.audit / "translation.json", facts | averaged(list(by_patient.values())))


class _Patients:
    """Figures by patient, nested as in `translation.json`, and the rows of the picture."""

    def __init__(self, config: PipelineConfig, run: RunDir, translate: TranslateDomain):
        self.run, self.translate, self.class_names = run, translate, config.data.class_names
        domains = (translate.source, translate.target)
        self.in_hu = all(domain.modality == "CT" and domain.unit == "HU" for domain in domains)
        self.figures: dict[str, Figures] = {}
        self.left_out: dict[str, str] = {}
        self.rows: list[list[Picture]] = []
        self.cases: list[EncodedCase] = []

    def look_at_source(self, patient: str, entries: list[PreparedCase]) -> None:
        sources = [read_scan(entry, self.run.prepared) for entry in entries]
        fakes = [translated_scan(entry, self.run.prepared, self.translate) for entry in entries]
        if len(self.rows) < PICTURES:
            middle = len(entries) // 2
            self.rows.append(_row(sources[middle], fakes[middle]))
            if len(self.rows) <= SHOWN:
                self.cases.append(encode(self._case(entries[middle], sources[middle], fakes[middle])))
        if self.in_hu:
            shift = shift_by_tissue(sources, fakes)
            self._add(patient, {"shift": shift, "levels": {"source": levels(sources), "translated": levels(fakes)}})
        self._add_contrasts(patient, "source", sources)
        self._add_contrasts(patient, "translated", fakes)

    def look_at_target(self, patient: str, entries: list[PreparedCase]) -> None:
        scans = [read_scan(entry, self.run.prepared_b) for entry in entries]
        if self.in_hu:
            self._add(patient, {"levels": {"target": levels(scans)}})
        self._add_contrasts(patient, "target", scans)

    def save_pictures(self) -> None:
        if self.rows:
            titles = ["source (label outlined)", "translated", "the same, outlined", "translated − source"]
            with atomic_path(self.run.audit / "pictures.png") as temporary:
                temporary.write_bytes(picture_grid(self.rows, column_titles=titles, tile=170))
        write_cases(self.run.audit / "viewer.json", self.cases)

    def _case(self, entry: PreparedCase, source: ScanArrays, fake: ScanArrays) -> ViewerCase:
        """Differences only where both domains have one unit."""
        names = (self.translate.source.name, f"translated to {self.translate.target.name}")
        before, after = (Shown(name, x.image, x.window) for name, x in zip(names, (source, fake), strict=True))
        return ViewerCase(
            entry.case,
            before,
            after,
            np.asarray(entry.affine),
            source.classes,
            oriented=is_oriented(entry.path),
            length_unit=entry.length_unit,
            comparable=self.translate.shares_unit,
            group="Held-out patients, translated",
            class_names=dict(enumerate(self.class_names, start=1)),
        )

    def _add_contrasts(self, patient: str, kind: str, scans: list[ScanArrays]) -> None:
        contrasts = contrasts_of(scans, self.class_names)
        self.left_out |= contrasts.left_out
        self._add(patient, {"contrast": {name: {kind: value} for name, value in contrasts.by_class.items()}})

    def _add(self, patient: str, figures: Figures) -> None:
        self.figures[patient] = _merged(self.figures.get(patient, {}), figures)


def _merged(first: Figures, more: Figures) -> Figures:
    """Both, nested ones too; those without a figure are left out."""
    both = dict(first)
    for key, value in more.items():
        if not isinstance(value, Mapping):
            both[key] = value
        elif value:
            inner = both.get(key, {})
            assert isinstance(inner, Mapping)
            both[key] = _merged(inner, value)
    return both


def _row(source: ScanArrays, fake: ScanArrays) -> list[Picture]:
    """The slice of a volume with most of what is labelled, or the middle one."""
    before, after, label = source.normalized, fake.normalized, source.classes > 0
    if before.ndim == 3:
        level = widest_slice(label)
        before, after, label = before[..., level], after[..., level], label[..., level]
    return [
        Picture(before, -1, 1, contour=label),
        Picture(after, -1, 1),
        Picture(after, -1, 1, contour=label),
        Picture(after - before, diverging=True),
    ]
