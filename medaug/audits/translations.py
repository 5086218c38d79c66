"""The audits of a run that translates between two kinds of image: what they look at, and what goes to which audit.

Reads: `prepared/`, `prepared_b/`, `split.json`, `train/weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.audits import pictures
from medaug.audits.audited import AuditedRun
from medaug.audits.findings import Answer
from medaug.audits.measures import borders
from medaug.audits.measures.edits import Cycle
from medaug.audits.measures.edits import steganography as hidden_source
from medaug.audits.scans import ScanArrays, read_scan, translated_scan
from medaug.data.prepared import Prepared
from medaug.data.records import PreparedCase
from medaug.progress import track
from medaug.transforms import TranslateDomain
from medaug.volumes import affine_of

WHOLE = np.iinfo(np.int32).max
"""The size of windows along an axis that they do not cut."""


@dataclass(frozen=True)
class TranslationRun(AuditedRun):
    """Held-out scans of the source, their translations, and held-out scans of the target."""

    @cached_property
    def pairs(self) -> list[tuple[str, ScanArrays, ScanArrays]]:
        """(patient, source, translation) of each scan."""
        translate, found = TranslateDomain(self.weights, "a2b", seed=self.seed), []
        chosen = list(self._chosen(self.run.datalist))
        with track("translate held-out scans", len(chosen)) as tracker:
            for case in chosen:
                scan = read_scan(case, self.run.prepared)
                found.append((case.patient, scan, translated_scan(case, self.run.prepared, translate)))
                tracker.advance()
        return found

    @cached_property
    def real(self) -> list[ScanArrays]:
        """Held-out scans of the target domain."""
        chosen = self._chosen(self.run.datalist_b)
        return [read_scan(case, self.run.prepared_b) for case in chosen]

    def back(self, fake: np.ndarray, scan: ScanArrays) -> np.ndarray:
        """A normalised translation (*S), such as `scan`, as the source domain again, normalised."""
        translate = TranslateDomain(self.weights, "b2a", seed=self.seed)
        image = torch.from_numpy(scan.window.denormalize(fake).astype(np.float32))[None]
        result = translate(
            MetaTensor(image, affine=torch.from_numpy(affine_of(scan.spacing_mm))), scan.body[None], window=scan.window
        )
        window = translate.window_of_result(scan.window)
        return window.normalize(np.asarray(result.as_tensor(), dtype=np.float32)[0])

    def _chosen(self, datalist: Path) -> Iterator[PreparedCase]:
        """The middle scan of each patient, then those around it: up to `audit.volumes`, of pictures `audit.lesions`."""
        queues = []
        for cases in Prepared(datalist).by_patient(self.held_out).values():
            order = np.argsort(np.abs(np.arange(len(cases)) - len(cases) // 2), kind="stable")
            queues.append([cases[k] for k in order])
        volumes = any(len(case.shape) == 3 for cases in queues for case in cases)
        left = self.config.audit.volumes if volumes else self.config.audit.lesions
        for turn in range(max(map(len, queues), default=0)):
            for queue in queues:
                if turn < len(queue) and left > 0:
                    left -= 1
                    yield queue[turn]


def steganography(run: TranslationRun) -> Answer:
    """There and back inside the body; what the window clips is left out."""
    made = []
    for patient, source, fake in run.pairs:
        region = source.body & (np.abs(source.normalized) < 1)
        made.append(Cycle(patient, source.normalized, fake.normalized, region, partial(run.back, scan=fake)))
    limits, noise = run.limits("steganography"), run.config.audit.noise
    finding, back = hidden_source(made, limits, noise=noise, seed=run.seed)
    return finding, pictures.cycles(made, back)


def seams(run: TranslationRun) -> Answer:
    """Looks at the change where both domains share a scale, else at the translation itself."""
    size, overlap = run.weights.facts.patch_size, run.weights.facts.overlap
    if size is None:
        return borders.SEAMS.skipped("whole images are translated: there are no windows"), None
    shared = TranslateDomain(run.weights, "a2b").shares_unit
    images = [fake.normalized - (source.normalized if shared else 0) for _, source, fake in run.pairs]
    dims = max((image.ndim for image in images), default=len(size))
    patch, patients = (*size, *(WHOLE,) * (dims - len(size))), [patient for patient, _, _ in run.pairs]
    finding = borders.window_seams(images, patients, patch, overlap, run.limits("seams"), seed=run.seed)
    return finding, pictures.translated(run.pairs)


def checkerboard(run: TranslationRun) -> Answer:
    """Real target scans of held-out patients are the yardstick."""
    real = [scan.normalized for scan in run.real if np.ptp(scan.normalized) > 0]
    if not real:
        return borders.CHECKERBOARD.skipped("there is no held-out scan of the target domain"), None
    pairs = [pair for pair in run.pairs if all(np.ptp(scan.normalized) > 0 for scan in pair[1:])]
    images = [
        borders.Spectral(patient, fake.normalized, source.normalized, real[k % len(real)])
        for k, (patient, source, fake) in enumerate(pairs)
    ]
    stride = run.weights.translator.stride
    finding = borders.checkerboard(images, stride, run.limits("checkerboard"), seed=run.seed)
    return finding, pictures.translated(pairs)


AUDITS: dict[str, Callable[[TranslationRun], Answer]] = {
    "steganography": steganography,
    "seams": seams,
    "checkerboard": checkerboard,
}
"""Lesions lost and gained are counted by the evaluation of two domains (arm `target-labels`)."""
