"""A population of patients with lesions whose sizes, contrasts, places and textures are drawn, and faults to plant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from medaug.audits.measures.finding import Limits
from medaug.audits.measures.lesions import Insertion, LesionSet, LesionView
from medaug.config.evaluation import LimitsConfig

SHAPE, CROP, SPACING_MM = (64, 64), (40, 40), (2.0, 2.0)
GRID = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"))


def limits_of(audit: str) -> Limits:
    """The defaults."""
    return Limits(**getattr(LimitsConfig(), audit).model_dump())


def chosen(lesions: LesionSet, rows: np.ndarray) -> LesionSet:
    """Those at these rows (numbers)."""
    columns = ("images", "parts", "patients", "diameters_mm", "contrasts", "locations")
    taken = {name: getattr(lesions, name)[rows] for name in columns}
    return replace(lesions, **taken, sources=tuple(lesions.sources[row] for row in rows))


@dataclass(frozen=True)
class Drawn:
    """One lesion before it is painted: radius in voxels, place by voxel, texture as wide as the view."""

    radius: float
    contrast: float
    center: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True)
class Patient:
    """LesionSet of one patient are alike."""

    name: str
    radius: float
    contrast: float
    brightness: float

    @classmethod
    def of(cls, name: str, rng: np.random.RandomState) -> Patient:
        return cls(name, 5.5 * np.exp(rng.normal(0, 0.2)), rng.normal(0.5, 0.08), rng.normal(-0.4, 0.05))

    def lesion(
        self, rng: np.random.RandomState, *, larger: float = 1.0, fainter: float = 1.0, shift: float = 0.0,
        grain: float = 1.0,
    ) -> Drawn:  # fmt: skip
        """`larger`, `fainter`: factors; `shift`: of the place, in voxels; `grain`: width of the texture's blobs."""
        noise = gaussian_filter(rng.normal(size=SHAPE), grain)
        radius = min(11.0, self.radius * np.exp(rng.normal(0, 0.15)) * larger)
        center = np.array([32.0, 32.0]) + rng.normal(0, 5, 2) + [shift, 0.0]
        return Drawn(radius, (self.contrast + rng.normal(0, 0.04)) * fainter, center, 0.12 * noise / noise.std())


def view(patient: Patient, lesion: Drawn, rng: np.random.RandomState, source: str | None = None) -> LesionView:
    """A patient's slice with that lesion; with a `source` an insertion."""
    organ = np.hypot(*(GRID - 32)) < 29
    tissue = patient.brightness + 0.05 * gaussian_filter(rng.normal(size=SHAPE), 1) * 3
    angle = np.arctan2(*(GRID - lesion.center.reshape(2, 1, 1)))
    reach = lesion.radius * (1 + 0.15 * np.sin(2 * angle + lesion.texture[0, 0] * 20))
    distance = np.hypot(*(GRID - lesion.center.reshape(2, 1, 1)))
    mask = (distance <= reach) & organ
    centered = np.roll(lesion.texture, np.round(lesion.center - 32).astype(int), (0, 1))
    edge = 1 / (1 + np.exp(distance - reach))
    image = np.where(organ, tissue + edge * (lesion.contrast + centered), -1.0).clip(-1, 1).astype(np.float32)
    shared = {
        "name": patient.name, "patient": patient.name, "image": image[None], "parts": mask.astype(np.uint8),
        "organ": organ, "spacing_mm": SPACING_MM,
    }  # fmt: skip
    if source is None:
        return LesionView(**shared)
    return Insertion(
        **shared, before=image[None], label=mask, changed=mask[None], reference_patient=source, seed=0
    )  # fmt: skip


class Study:
    """Training and held-out patients of one population, and honest or faulty synthetic lesions in the held-out ones."""

    def __init__(self, seed: int, *, training: int = 6, held_out: int = 12, lesions: int = 4):
        self.rng = np.random.RandomState(seed)
        self.train = [Patient.of(f"t{i}", self.rng) for i in range(training)]
        self.rest = [Patient.of(f"h{i}", self.rng) for i in range(held_out)]
        self.count = lesions
        self.learnt = [(p, p.lesion(self.rng)) for p in self.train for _ in range(lesions)]
        self.training = self._set([view(p, lesion, self.rng) for p, lesion in self.learnt])
        self.held_out = self._set([view(p, p.lesion(self.rng), self.rng) for p in self.rest for _ in range(lesions)])

    def drawn(self, **fault: float) -> LesionSet:
        """New lesions of new patients, put into the held-out ones: honest without a fault."""
        makers = [Patient.of(f"m{i}", self.rng) for i in range(len(self.rest))]
        pairs = [(host, maker) for host, maker in zip(self.rest, makers, strict=True) for _ in range(self.count)]
        return self._set([view(host, maker.lesion(self.rng, **fault), self.rng) for host, maker in pairs])

    def copied(self, share: float = 1.0, *, pasted: bool = False) -> LesionSet:
        """Training lesions, pixel by pixel, in held-out patients; the others are new."""
        views = []
        for host in (host for host in self.rest for _ in range(self.count)):
            owner, lesion = self.learnt[self.rng.randint(len(self.learnt))]
            new = self.rng.random_sample() >= share
            chosen = Patient.of("m", self.rng).lesion(self.rng) if new else lesion
            views.append(view(host, chosen, self.rng, source=owner.name))
        return self._set(views, pasted=pasted)

    def collapsed(self) -> LesionSet:
        """One lesion everywhere."""
        lesion = Patient.of("m", self.rng).lesion(self.rng)
        return self._set([view(host, lesion, self.rng) for host in self.rest for _ in range(self.count)])

    def one_place(self, host: int, *, same: bool) -> LesionSet:
        """Several lesions of one size in one place of one patient: with a texture each, or all with one."""
        first = Patient.of("m", self.rng).lesion(self.rng)
        textures = [first.texture if same else self.train[0].lesion(self.rng).texture for _ in range(4)]
        drawn = [Drawn(first.radius, first.contrast, first.center, texture) for texture in textures]
        tissue = self.rng.randint(2**31)
        views = [view(self.rest[host], lesion, np.random.RandomState(tissue)) for lesion in drawn]
        return self._set(views)

    def _set(self, views: list[LesionView], *, pasted: bool = False) -> LesionSet:
        return LesionSet.of(views, CROP, pasted=pasted)
