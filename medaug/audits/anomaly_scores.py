"""What scores a scan by how far it is from healthy, and how well that tells slices with a tumor from others.

Weights decide: removal by a translator, or latent search by a GAN from noise. AUC of tumor against tumor-free slices,
beside what plain brightness reaches; the intervals resample patients. Of several sequences the scores, and brightness
too, are means over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from medaug.audits.measures.anomaly import (
    CropScorer,
    RemovalScorer,
    Scorer,
    largest_tile_mm,
    level_scores,
    smoothed_inside,
)
from medaug.audits.pictures import short_name
from medaug.config import AnomalyConfig, PipelineConfig
from medaug.data.atomic import atomic_path, csv_text, read_json, write_json, write_text
from medaug.data.prepared import ORGAN_PIXELS_LEAST, View, ViewArrays
from medaug.evaluation.intervals import Interval
from medaug.evaluation.metrics import Scored, auc_interval, pseudo_values, within_patient
from medaug.evaluation.statistics import Comparison, compare, lacking
from medaug.figures.distributions import roc_and_histogram
from medaug.figures.pictures import Picture, picture_grid
from medaug.models.facts import WeightsFacts
from medaug.models.noise.dcgan import DCGAN
from medaug.models.noise.latent import latent_residual
from medaug.models.noise.weights import load_gan
from medaug.models.weights import load_weights
from medaug.runs.folder import RunDir
from medaug.volumes import Domain, widest_slice

Rows = list[dict[str, Any]]
"""A row a slice: its view and level, whether it shows a tumor, and its scores."""
SCORES = {
    "anomaly": "anomaly map",
    "smoothed": "smoothed brightness",
    "brightest": "99th percentile of brightness",
    "mean": "mean brightness",
}
"""What a slice is scored by: the first is the method, the others need no network."""
BRIGHTEST = 99.0
PICTURED_PATIENTS = 4
TILE_OF_CROP = 0.5
"""Diameter of the tile that a latent search's score counts for, relative to the largest that fits the crop."""


class AnomalyMethod(NamedTuple):
    """A scorer and what it was made of; `method` starts a sentence."""

    scorer: Scorer
    method: str
    domain: Domain
    sequences: tuple[str, ...]
    facts: WeightsFacts

    @property
    def tile_mm(self) -> float:
        return self.scorer.tiling.tile_mm

    @property
    def spatial_dims(self) -> int:
        return len(self.scorer.tiling.crop_size)


def anomaly_method(weights: Path, config: PipelineConfig) -> AnomalyMethod:
    """The scorer that these weights make, by the settings `anomaly`, on the device of the config.

    Raises:
        WeightsError: if they cannot be used, or translate between two kinds of image.
        ConfigError: if the tile does not fit their crop.
    """
    settings, compute, facts = config.anomaly, (config.accelerator, config.precision), weights / "model.json"
    if not facts.is_file() or read_json(facts).get("method") != DCGAN.name:
        loaded = load_weights(weights).on(*compute)
        scorer = RemovalScorer(loaded, **settings.model_dump(exclude={"percentile", "search_steps"}))
        return AnomalyMethod(scorer, "Removal", loaded.translator.domain_a, loaded.sequences, loaded.facts)
    noise = load_gan(weights).on(*compute)
    gan, spacing_mm = noise.gan, noise.spacing_mm

    def residual(crops: Tensor) -> Any:
        return latent_residual(gan, crops, steps=settings.search_steps, seed=settings.seed)

    tile_mm = settings.tile_mm or TILE_OF_CROP * largest_tile_mm(gan.size, spacing_mm)
    search = CropScorer(residual, gan.size, spacing_mm, tile_mm)
    name = gan.domain.modality if noise.facts.sequence is None else str(noise.facts.sequence)
    return AnomalyMethod(search, "Latent search", gan.domain, (name,), noise.facts)


def scored_slices(view: View, arrays: ViewArrays, scorer: Scorer, settings: AnomalyConfig) -> Rows:
    """A row a slice; one without organ, where nothing can be found, scores as low as possible."""
    residual, image = scorer(arrays.image, arrays.organ, view.spacing_mm).residual, arrays.image.mean(axis=0)
    smoothed = smoothed_inside(image + 1, arrays.organ, settings.smoothing_mm, view.spacing_mm)
    label, organ = (x.reshape(*x.shape[:2], -1) for x in (arrays.label, arrays.organ))
    image = image.reshape(label.shape)
    columns = {
        "anomaly": np.nan_to_num(level_scores(residual, arrays.organ, settings.percentile), nan=0.0),
        "smoothed": np.nan_to_num(level_scores(smoothed, arrays.organ, settings.percentile), nan=0.0),
        "brightest": np.nan_to_num(level_scores(image, organ, BRIGHTEST), nan=-1.0),
        "mean": [image[..., z][organ[..., z]].mean() if organ[..., z].any() else -1.0 for z in range(label.shape[-1])],
    }
    return [
        {
            "view": view.name,
            "level": z if view.level is None else view.level,
            "tumor": bool(label[..., z].any()),
            **{name: round(float(values[z]), 6) for name, values in columns.items()},
        }
        for z in range(label.shape[-1])
        if label[..., z].any() or organ[..., z].mean() >= ORGAN_PIXELS_LEAST
    ]


def write_results(run: RunDir, by_patient: dict[str, Rows], judge: AnomalyMethod, settings: AnomalyConfig) -> None:
    """`scores.csv`, `summary.json` and `roc.png` of all patients."""
    scored = {
        name: {
            patient: Scored(np.array([row[name] for row in rows]), np.array([row["tumor"] for row in rows]))
            for patient, rows in by_patient.items()
        }
        for name in SCORES
    }
    anomaly, *rivals = (pseudo_values(list(patients.values()))[:, None] for patients in scored.values())
    named = zip(rivals, list(SCORES.values())[1:], strict=True)
    comparisons = [
        compare(anomaly, x, metric="auc", higher_is_better=True, arm=judge.method, reference=title)
        for x, title in named
    ]
    truth = [row["tumor"] for rows in by_patient.values() for row in rows]
    aucs = {name: auc_interval(scored[name]) for name in SCORES}
    differences = [replace(c, difference=c.difference.within(-1.0, 1.0)) for c in comparisons]
    summary = {
        "sentence": _sentence(judge.method, aucs, differences, truth, len(by_patient)),
        "patients": {
            patient: {
                "slices": len(rows),
                "tumor_slices": sum(row["tumor"] for row in rows),
                "score": max(row["anomaly"] for row in rows),
                "auc": {name: within_patient(scored[name][patient])["auc"] for name in SCORES},
            }
            for patient, rows in by_patient.items()
        },
        "tumor_slices": sum(truth),
        "tumor_free_slices": len(truth) - sum(truth),
        "auc": {name: asdict(interval) for name, interval in aucs.items()},
        "differences": [asdict(c) for c in differences],
        "method": judge.method,
        "settings": settings.model_dump(mode="json") | {"tile_mm": judge.tile_mm, "weights": judge.facts.sha256},
    }
    with atomic_path(run.anomaly / "roc.png") as temporary:
        pooled = {SCORES[n]: np.concatenate([s.scores for s in scored[n].values()]) for n in SCORES}
        temporary.write_bytes(roc_and_histogram(pooled, np.array(truth)))
    table = [
        [patient, row["view"], row["level"], int(row["tumor"]), *(row[name] for name in SCORES)]
        for patient, rows in by_patient.items()
        for row in rows
    ]
    write_text(run.anomaly / "scores.csv", csv_text(["patient", "view", "level", "tumor", *SCORES], table))
    write_json(run.anomaly / "summary.json", summary)


def _sentence(
    method: str, aucs: dict[str, Interval], differences: list[Comparison], truth: list[bool], patients: int
) -> str:
    """The result beside the best of what needs no network."""
    titled = {SCORES[name]: interval for name, interval in aucs.items()}
    rival = max(differences, key=lambda c: titled[c.reference].mean)
    a, b, d = aucs["anomaly"], titled[rival.reference], rival.difference
    return (
        f"{method} tells slices with a tumor from tumor-free ones with an AUC of {a.mean:.2f} (95 % interval "
        f"{a.low:.2f} to {a.high:.2f}; {patients} held-out patients, {sum(truth)} slices with and "
        f"{len(truth) - sum(truth)} without a tumor). The {rival.reference} alone reaches {b.mean:.2f} "
        f"({b.low:.2f} to {b.high:.2f}); the difference is {d.mean:+.2f} ({d.low:+.2f} to {d.high:+.2f}). "
        f"{' '.join(lacking(rival.n_patients, rival.n_seeds))}"
    )


def anomaly_pictures(
    views: dict[str, list[View]], by_patient: dict[str, Rows], run: RunDir, scorer: Scorer, sequences: Sequence[str]
) -> bytes:
    """Shows, of some patients, the slice with most tumor, and the tumor-free one that scores highest.

    Of several sequences each has a row, and the map, which is one for all, stands in the first.
    """
    rows, titles = [], []
    for patient, slices in list(by_patient.items())[:PICTURED_PATIENTS]:
        fullest = max(views[patient], key=lambda view: view.tumor_voxels)
        free = [row for row in slices if not row["tumor"]]
        chosen = [(fullest, None)] if fullest.tumor_voxels else []
        if free:
            worst = max(free, key=lambda row: row["anomaly"])
            chosen.append((next(view for view in views[patient] if view.name == worst["view"]), worst["level"]))
        for view, level in chosen:
            arrays = view.read(run.prepared)
            found, classes = scorer(arrays.image, arrays.organ, view.spacing_mm), arrays.classes
            if classes.ndim == 3:
                level = widest_slice(classes) if level is None else level
            part = (..., level) if classes.ndim == 3 else (...,)
            label = classes[part] if len(view.case.class_voxels) > 1 else classes[part] > 0
            kind = "tumor" if label.any() else "tumor-free"
            for channel, image in enumerate(arrays.image):
                healthy = None if found.healthy is None else found.healthy[channel][part]
                rows.append((image[part], healthy, found.residual[part] if channel == 0 else None, label))
                titles.append(f"{short_name(patient)} {kind}{f', {sequences[channel]}' if len(sequences) > 1 else ''}")
    highest, grid = max(float(row[2].max()) for row in rows if row[2] is not None) or 1.0, []
    for image, healthy, residual, label in rows:
        filled = None if healthy is None else Picture(healthy, -1, 1)
        change = None if healthy is None else Picture(image - healthy, diverging=True)
        anomaly = None if residual is None else Picture(residual, 0, highest)
        grid.append([Picture(image, -1, 1, contour=label), filled, change, anomaly])
    columns = ["scan (tumor outlined)", "pseudo-healthy", "scan − pseudo-healthy", "anomaly map"]
    return picture_grid(grid, column_titles=columns, row_titles=titles, tile=150)
