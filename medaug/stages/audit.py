"""How real are the tumors? Insertions into held-out patients, compared with those patients' own tumors.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `audit/`: `realism.json` (contrast and size of real and
inserted lesions, AUC of a real-vs-synthetic probe by patient, continuity across slices), `pictures.png`, and
`viewer.json`, the cases to look around in. Held-out patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from medaug.io.atomic import atomic_path, read_json, write_json
from medaug.io.prepared import View, views_of
from medaug.progress import track
from medaug.quality import lesion_features, lesion_statistics, probe_auc
from medaug.quality.audits import Insertion, LesionView
from medaug.report.pictures import Picture, picture_grid
from medaug.report.viewer import EncodedCase, encode, write_cases
from medaug.splits import Split, refuse_leakage
from medaug.stages.across_slices import across_slices
from medaug.stages.audits.insertions import crop_size, lesion_pairs, spread
from medaug.stages.config import PipelineConfig
from medaug.stages.markers import run_stage
from medaug.stages.runs import RunDir
from medaug.stages.viewing import SHOWN, case_of_view
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.translators.weights import load_weights

PICTURES = 8
INSERTED, REMOVED = "Held-out patients, a tumor inserted", "Held-out patients, their tumors removed"
LEAST_PATIENTS = 4
SETTINGS = {"lesions", "volumes", "seed"}
"""Of the section `audit`: those that realism depends on; the others are of `medaug audit`."""
STATISTICS = ("contrast", "std_inside", "edge_gradient_per_mm", "texture_gradient_per_mm", "diameter_mm")


def audit(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    facts = read_json(run.weights / "model.json")
    inputs = [config.audit.model_dump(include=SETTINGS), facts["sha256"], read_json(run.split)["hash"]]
    return run_stage(run, "audit", inputs, [run.audit], lambda: _audit(config, run))


@dataclass
class _Lesions:
    """Features, statistics and patients of one kind of lesion."""

    features: list[np.ndarray]
    statistics: list[dict[str, float]]
    patients: list[str]

    @classmethod
    def empty(cls) -> _Lesions:
        return cls([], [], [])


def _audit(config: PipelineConfig, run: RunDir) -> None:
    split, weights = Split.from_dict(read_json(run.split)), load_weights(run.weights)
    refuse_leakage(weights.facts["training_patients"], split, f"weights {run.weights} were")
    held_out = {*split.validation, *split.test}
    entries = [entry for entry in read_json(run.datalist)["cases"] if entry["patient"] in held_out]
    views = [view for view in views_of(entries, run.prepared, config.data.view_dims) if view.tumor_voxels]
    if not views:
        write_json(run.audit / "realism.json", {"note": "no held-out patient has a tumor"})
        return
    rng = np.random.RandomState(config.audit.seed)
    chosen = spread(views, config.audit.lesions, rng)
    real, inserted = _Lesions.empty(), _Lesions.empty()
    pictures: list[dict[str, np.ndarray]] = []
    cases: list[EncodedCase] = []
    size = crop_size(weights, config.data.view_dims)
    pairs = lesion_pairs(chosen, run.prepared, RandInsertTumor(weights, prob=1.0), rng)
    remove = RemoveTumor(weights)
    with track("audit realism", len(chosen)) as tracker:
        for view, (own, made) in zip(chosen, pairs, strict=True):
            if own is not None and made is not None:
                _look(own, made, size, (real, inserted))
                if len(pictures) < PICTURES:
                    pictures.append(_shown(made, _removed(view, run, remove)))
                    cases += _cases(view, pictures[-1]) if len(pictures) <= SHOWN else []
            tracker.advance()
    _save_pictures(run, pictures)
    write_cases(run.audit / "viewer.json", cases)
    figures = _figures(real, inserted, config.audit.seed)
    if (continuity := across_slices(config.audit, entries, run.prepared, weights)) is not None:
        figures["z_consistency"] = continuity
    write_json(run.audit / "realism.json", figures)


def _look(real: LesionView, made: Insertion, size: tuple[int, ...], lesions: tuple[_Lesions, _Lesions]) -> None:
    """Measures the view's largest real lesion, and the one inserted into the same view away from it."""
    for kind, view in zip(lesions, (real, made), strict=True):
        kind.features.append(lesion_features(*view.crop(size)))
        kind.statistics.append(lesion_statistics(view.image, view.mask, view.spacing_mm, organ=view.image > -0.98))
        kind.patients.append(view.patient)


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
    label = torch.from_numpy(view.read(run.prepared).label[None].astype(np.float32))
    edited = remove(view.tensor(run.prepared), label, window=view.window).numpy()[0]
    return view.window.normalize(edited)


def _figures(real: _Lesions, inserted: _Lesions, seed: int) -> dict[str, Any]:
    """What `realism.json` holds."""
    figures: dict[str, Any] = {
        "n": len(real.statistics),
        "real": {name: [s[name] for s in real.statistics] for name in STATISTICS},
        "inserted": {name: [s[name] for s in inserted.statistics] for name in STATISTICS},
    }
    patients = len(set(real.patients))
    if patients < LEAST_PATIENTS:
        figures["note"] = f"{patients} held-out patients with a measurable tumor; the probe needs {LEAST_PATIENTS}"
        return figures
    probe = probe_auc(np.array(real.features), real.patients, np.array(inserted.features), inserted.patients, seed=seed)
    return figures | {"probe": asdict(probe)}


def _save_pictures(run: RunDir, pictures: list[dict[str, Any]]) -> None:
    """The grid that the report shows: of a volume, the slice with the most of the inserted tumor."""
    if not pictures:
        return
    rows = [_row(picture) for picture in pictures]
    columns = [
        "real (tumor outlined)", "one inserted", "the same, outlined", "inserted − real", "real tumor removed",
        "removed − real",
    ]  # fmt: skip
    with atomic_path(run.audit / "pictures.png") as temporary:
        temporary.write_bytes(picture_grid(rows, column_titles=columns, tile=150))


def _row(picture: dict[str, np.ndarray]) -> list[Picture]:
    level = picture["mask"].sum(axis=(0, 1)).argmax() if picture["mask"].ndim == 3 else None
    flat = {key: array if level is None else array[..., level] for key, array in picture.items()}
    original, inserted, removed = flat["original"], flat["inserted"], flat["removed"]
    return [
        Picture(original, -1, 1, contour=flat["label"]), Picture(inserted, -1, 1),
        Picture(inserted, -1, 1, contour=flat["mask"]), Picture(inserted - original, diverging=True),
        Picture(removed, -1, 1), Picture(removed - original, diverging=True),
    ]  # fmt: skip
