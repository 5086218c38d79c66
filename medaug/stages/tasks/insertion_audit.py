"""How real are the tumors? Insertions into held-out patients, compared with those patients' own tumors.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `audit/`: `realism.json` (contrast and size of real and
inserted lesions, AUC of a real-vs-synthetic probe by patient, continuity across slices), `pictures.png`, and
`viewer.json`, the cases to look around in. The insertions are those of `medaug audit`, and so is the probe. Held-out
patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

import numpy as np
import torch

from medaug.audits.insertions import InsertionRun
from medaug.audits.measures.lesions import Insertion
from medaug.config import PipelineConfig
from medaug.data.atomic import atomic_path, write_json
from medaug.data.prepared import View
from medaug.figures.pictures import Picture, picture_grid
from medaug.report.viewer import EncodedCase, encode, write_cases
from medaug.report.viewing import SHOWN, case_of_view
from medaug.runs.folder import RunDir
from medaug.transforms import RemoveTumor
from medaug.volumes import widest_slice

PICTURES = 8
INSERTED, REMOVED = "Held-out patients, a tumor inserted", "Held-out patients, their tumors removed"
AUDIT_SETTINGS = {"lesions", "volumes", "seed"}
"""Settings of the section `audit` that realism depends on; the others are of `medaug audit`."""


def audit_insertions(config: PipelineConfig, run: RunDir) -> None:
    """Writes `realism.json` and what is shown of it."""
    material = InsertionRun(config, run)
    views = material.views
    if not any(view.tumor_voxels for view in views.values()):
        write_json(run.audit / "realism.json", {"note": "no held-out patient has a tumor"})
        return
    pictures: list[dict[str, np.ndarray]] = []
    cases: list[EncodedCase] = []
    remove = RemoveTumor(material.weights)
    for made in material.insertions[:PICTURES]:
        pictures.append(_shown(made, _removed(views[made.name], run, remove)))
        cases += _cases(views[made.name], pictures[-1]) if len(pictures) <= SHOWN else []
    _save_pictures(run, pictures)
    write_cases(run.audit / "viewer.json", cases)
    write_json(run.audit / "realism.json", material.realism())


def _shown(made: Insertion, removed: np.ndarray) -> dict[str, np.ndarray]:
    return {"original": made.before, "label": made.label, "inserted": made.image, "mask": made.mask, "removed": removed}


def _cases(view: View, shown: dict[str, np.ndarray]) -> list[EncodedCase]:
    """One with the inserted tumor, one without the real ones."""
    original = ("original", shown["original"])
    inserted = case_of_view(view, original, ("inserted", shown["inserted"]), shown["mask"], INSERTED)
    removed = case_of_view(view, original, ("removed", shown["removed"]), shown["label"], REMOVED)
    return [encode(inserted), encode(removed)]


def _removed(view: View, run: RunDir, remove: RemoveTumor) -> np.ndarray:
    """The view without its real tumors, normalised."""
    label = torch.from_numpy((view.classes(run.prepared)[None] > 0).astype(np.float32))
    edited = remove(view.tensor(run.prepared), label, window=view.window).numpy()[0]
    return view.window.normalize(edited)


def _save_pictures(run: RunDir, pictures: list[dict[str, np.ndarray]]) -> None:
    """The grid that the report shows: of a volume, the slice with the most of the inserted tumor."""
    if not pictures:
        return
    rows = [_row(picture) for picture in pictures]
    columns = [
        "real (tumor outlined)",
        "one inserted",
        "the same, outlined",
        "inserted − real",
        "real tumor removed",
        "removed − real",
    ]
    with atomic_path(run.audit / "pictures.png") as temporary:
        temporary.write_bytes(picture_grid(rows, column_titles=columns, tile=150))


def _row(picture: dict[str, np.ndarray]) -> list[Picture]:
    level = widest_slice(picture["mask"]) if picture["mask"].ndim == 3 else None
    flat = {key: array if level is None else array[..., level] for key, array in picture.items()}
    original, inserted, removed = flat["original"], flat["inserted"], flat["removed"]
    return [
        Picture(original, -1, 1, contour=flat["label"]),
        Picture(inserted, -1, 1),
        Picture(inserted, -1, 1, contour=flat["mask"]),
        Picture(inserted - original, diverging=True),
        Picture(removed, -1, 1),
        Picture(removed - original, diverging=True),
    ]
