"""Insertions as arrays: noisy tissue, a real lesion, what a generator made of the same view; and a population."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from medaug.audits.measures import probe
from medaug.audits.measures.lesions import Insertion, LesionSet, LesionView

from .population import Study

SIZE = (48, 48)
REAL, PLACE = (14, 14), (33, 33)
"""Where the real lesion is, and where one is inserted."""


def disc(center: tuple[int, int], radius: float) -> np.ndarray:
    x, y = np.mgrid[: SIZE[0], : SIZE[1]]
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2


def tissue(rng: np.random.RandomState) -> np.ndarray:
    return (-0.3 + 0.25 * ndimage.gaussian_filter(rng.normal(size=SIZE), 1)).astype(np.float32)


def with_lesion(image: np.ndarray, mask: np.ndarray, rng: np.random.RandomState, contrast: float = 0.6) -> np.ndarray:
    """A soft-edged, textured lesion."""
    edge = np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.7), 0, 1)
    texture = 1 + 0.3 * ndimage.gaussian_filter(rng.normal(size=SIZE), 1)
    return (image + contrast * edge * texture).clip(-1, 1).astype(np.float32)


@pytest.fixture
def quick_probe(monkeypatch):
    """What makes a probe's interval finer takes most of the time."""
    monkeypatch.setattr(probe, "REPEATS", 1)
    monkeypatch.setattr(probe, "RESAMPLES", 100)


@pytest.fixture(scope="session")
def views() -> Callable[..., tuple[list[LesionView], list[Insertion]]]:
    """`views(generator)`: 24 views of 6 patients; `generator(image, mask, rng)` → the edited image."""

    def make(generator=with_lesion, patients: int = 6, each: int = 4):
        rng, real, made = np.random.RandomState(0), [], []
        for k in range(patients * each):
            own, mask = disc(REAL, rng.uniform(4, 7)), disc(PLACE, rng.uniform(4, 7))
            before = with_lesion(tissue(rng), own, rng)
            after = generator(before, mask, rng).astype(np.float32)
            shared = {"name": f"v{k}", "patient": f"p{k % patients}", "organ": np.ones(SIZE, dtype=bool),
                      "spacing_mm": (1.0, 1.0)}  # fmt: skip
            real.append(LesionView(image=before[None], parts=own.astype(np.uint8), **shared))
            made.append(Insertion(
                image=after[None], parts=mask.astype(np.uint8), before=before[None], label=own,
                changed=(after != before)[None], reference_patient="t0", seed=k, **shared,
            ))  # fmt: skip
        return real, made

    return make


@pytest.fixture(scope="session")
def untouched() -> Study:
    study = Study(0)
    assert len(study.held_out.features) == len(study.held_out)  # worked out once, for all copies
    return study


@pytest.fixture
def study(untouched) -> Study:
    """Patients with lesions, and faults to plant. A copy for each test: every draw moves its random state on."""
    return copy.deepcopy(untouched)


@pytest.fixture(scope="session")
def honest() -> list[tuple[Study, LesionSet]]:
    """Three populations, each with lesions of its own that a generator without fault would make."""
    return [(study, study.drawn()) for study in map(Study, range(3))]
