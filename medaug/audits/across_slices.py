"""The audit's look across slices: tumors inserted into whole held-out volumes, by 2-D and by 3-D weights alike."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medaug.audits.measures.seams import z_consistency, z_ratio
from medaug.config import AuditConfig
from medaug.data.prepared import View, views_of
from medaug.data.records import PreparedCase
from medaug.models.weights import Weights
from medaug.progress import track
from medaug.transforms import RandInsertTumor
from medaug.volumes import Window

UNIT = Window(-1.0, 1.0)
"""Views are normalised already."""


def across_slices(
    settings: AuditConfig, entries: list[PreparedCase], folder: Path, weights: Weights
) -> dict[str, Any] | None:
    """`ZConsistency` of inserted against real tumors as a dict; None without volumes with tumors of several slices."""
    volumes = [entry for entry in entries if len(entry["shape"]) == 3]
    views = [view for view in views_of(volumes, folder, 3) if view.tumor_voxels][: settings.volumes]
    insert = RandInsertTumor(weights, prob=1.0, tumor_labels=1)
    insert.set_random_state(seed=settings.seed)
    real, inserted = [], []
    with track("look across slices", len(views)) as tracker:
        for view in views:
            arrays = view.read(folder)
            real.append(z_ratio(arrays.image, arrays.label, view.spacing_mm))
            inserted.append(_inserted_ratio(view, arrays.image, arrays.label, arrays.organ, insert))
            tracker.advance()
    found = z_consistency([r for r in real if r is not None], [r for r in inserted if r is not None])
    return None if found is None else asdict(found)


def _inserted_ratio(
    view: View, image: np.ndarray, label: np.ndarray, organ: np.ndarray, insert: RandInsertTumor
) -> float | None:
    edited, truth = insert(view.placed(image), label[None].astype(np.float32), organ[None], window=UNIT)
    return z_ratio(edited.numpy()[0], (truth[0] > 0) & ~label, view.spacing_mm)
