"""How real are the tumors? Insertions into held-out patients, compared with those patients' own tumors.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `audit/`: `realism.json` (contrast and size of real and
inserted lesions, AUC of a real-vs-synthetic probe by patient, continuity across slices) and `pictures.png`. Held-out
patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medaug.io.atomic import atomic_path, read_json, write_json
from medaug.io.prepared import View, views_of
from medaug.lesions import box_around, equivalent_diameter_mm, extract, largest_component
from medaug.progress import track
from medaug.quality import lesion_features, lesion_statistics, probe_auc
from medaug.report.pictures import Picture, picture_grid
from medaug.splits import Split, refuse_leakage
from medaug.stages.across_slices import across_slices
from medaug.stages.config import PipelineConfig
from medaug.stages.runs import RunDir, essential, run_stage
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.translators.weights import Weights, load_weights
from medaug.volumes import Window

PICTURES = 8
LEAST_PATIENTS = 4
PLAIN_CROP = 48
"""Voxels: how much of a plain translator's images the probe sees around a lesion."""
UNIT = Window(-1.0, 1.0)
"""Views are normalised already."""
STATISTICS = ("contrast", "std_inside", "edge_gradient_per_mm", "texture_gradient_per_mm", "diameter_mm")


def audit(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    facts = read_json(run.weights / "model.json")
    inputs = [essential(config.audit), facts["sha256"], read_json(run.split)["hash"]]
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
    chosen = [views[i] for i in _spread(views, config.audit.lesions, rng)]
    real, inserted, pictures = _Lesions.empty(), _Lesions.empty(), []
    insert, remove = RandInsertTumor(weights, prob=1.0), RemoveTumor(weights)
    with track("audit realism", len(chosen)) as tracker:
        for view in chosen:
            shown = _look(view, run, weights, insert.set_random_state(seed=int(rng.randint(2**31))), real, inserted)
            if shown is not None and len(pictures) < PICTURES:
                pictures.append({**shown, "removed": _removed(view, run, remove)})
            tracker.advance()
    _save_pictures(run, pictures)
    figures = _figures(real, inserted, config.audit.seed)
    if (continuity := across_slices(config.audit, entries, run.prepared, weights)) is not None:
        figures["z_consistency"] = continuity
    write_json(run.audit / "realism.json", figures)


def _look(
    view: View, run: RunDir, weights: Weights, insert: RandInsertTumor, real: _Lesions, inserted: _Lesions
) -> dict[str, Any] | None:
    """Measures the view's largest real lesion, and one inserted into the same view away from it."""
    arrays = view.read(run.prepared)
    size = weights.prior.crop_size if weights.prior is not None else (PLAIN_CROP,) * arrays.image.ndim
    truth = largest_component(arrays.label)
    if not _measurable(truth, view, weights):
        return None
    edited, label = insert(_tensor(arrays.image, view), arrays.label[None].astype(np.float32), arrays.organ[None],
                           window=UNIT)  # fmt: skip
    if not insert.lesions:
        return None
    fake, mask = edited.numpy()[0], (label[0] > 0) & ~arrays.label
    for lesions, image, region in ((real, arrays.image, truth), (inserted, fake, mask)):
        box = box_around(np.argwhere(region).mean(axis=0).round().astype(int), size)
        crop, crop_mask = extract(image, box, -1.0), extract(region, box, False)
        lesions.features.append(lesion_features(crop, crop_mask))
        lesions.statistics.append(lesion_statistics(image, region, view.spacing_mm, organ=image > -0.98))
        lesions.patients.append(view.patient)
    return {"original": arrays.image, "label": arrays.label, "inserted": fake, "mask": mask}


def _measurable(region: np.ndarray, view: View, weights: Weights) -> bool:
    """Lesions of the sizes that are inserted: those that fit the crop and are not below the smallest reference."""
    if weights.prior is None:
        return True
    extent = np.ptp(np.argwhere(region), axis=0) + 1
    smallest = min(reference.diameter_mm for reference in weights.prior.references)
    fits = bool((extent < np.asarray(weights.prior.crop_size) - 4).all())
    return fits and equivalent_diameter_mm(region, view.spacing_mm) >= smallest


def _removed(view: View, run: RunDir, remove: RemoveTumor) -> np.ndarray:
    arrays = view.read(run.prepared)
    label = torch.from_numpy(arrays.label[None].astype(np.float32))
    return remove(_tensor(arrays.image, view), label, window=UNIT).numpy()[0]


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


def _spread(views: list[View], count: int, rng: np.random.RandomState) -> list[int]:
    """Numbers of up to `count` views, patient by patient in turn, so that none dominates."""
    by_patient: dict[str, list[int]] = {}
    for number, view in enumerate(views):
        by_patient.setdefault(view.patient, []).append(number)
    queues = [list(rng.permutation(numbers)) for numbers in by_patient.values()]
    chosen: list[int] = []
    while queues and len(chosen) < count:
        for queue in queues:
            chosen.append(int(queue.pop()))
        queues = [queue for queue in queues if queue]
    return chosen[:count]


def _tensor(image: np.ndarray, view: View) -> MetaTensor:
    return MetaTensor(torch.from_numpy(image[None]), affine=torch.tensor(view.entry["affine"], dtype=torch.float64))


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
