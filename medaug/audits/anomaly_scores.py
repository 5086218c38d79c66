"""Anomaly scores of slices by patient: what a slice is scored by, and how well that tells tumors from healthy tissue.

AUC of tumor against tumor-free slices, beside what plain brightness reaches; the intervals resample patients.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from medaug.audits.measures.anomaly import Scorer, level_scores, smoothed_inside
from medaug.audits.scorers import AnomalyMethod
from medaug.config import AnomalyConfig
from medaug.data.atomic import atomic_path, csv_text, write_json, write_text
from medaug.data.prepared import ORGAN_PIXELS_LEAST, View, ViewArrays
from medaug.evaluation.intervals import Interval
from medaug.evaluation.metrics import Scored, auc_interval, pseudo_values, within_patient
from medaug.evaluation.statistics import Comparison, compare, lacking
from medaug.figures.distributions import roc_and_histogram
from medaug.figures.pictures import Picture, picture_grid
from medaug.runs.folder import RunDir
from medaug.volumes import widest_slice

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
NAME_LENGTH = 14


def scored_slices(view: View, arrays: ViewArrays, scorer: Scorer, settings: AnomalyConfig) -> Rows:
    """A row a slice; one without organ, where nothing can be found, scores as low as possible."""
    residual = scorer(arrays.image[0], arrays.organ, view.spacing_mm).residual
    smoothed = smoothed_inside(arrays.image[0] + 1, arrays.organ, settings.smoothing_mm, view.spacing_mm)
    label, organ = (x.reshape(*x.shape[:2], -1) for x in (arrays.label, arrays.organ))
    image = arrays.image[0].reshape(label.shape)
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
    rng = np.random.RandomState
    values = {name: pseudo_values(list(patients.values()))[:, None] for name, patients in scored.items()}
    comparisons = [
        compare(
            values["anomaly"],
            values[name],
            metric="auc",
            higher_is_better=True,
            rng=rng(0),
            arm=judge.method,
            reference=SCORES[name],
        )
        for name in SCORES
        if name != "anomaly"
    ]
    truth = [row["tumor"] for rows in by_patient.values() for row in rows]
    aucs = {name: auc_interval(scored[name], rng(0)) for name in SCORES}
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
    write_text(run.anomaly / "scores.csv", _csv(by_patient))
    write_json(run.anomaly / "summary.json", summary)


def _sentence(
    method: str, aucs: dict[str, Interval], differences: list[Comparison], truth: list[bool], patients: int
) -> str:
    """The result beside the best of what needs no network."""
    rival = max(differences, key=lambda c: aucs[_key(c.reference)].mean)
    a, b, d = aucs["anomaly"], aucs[_key(rival.reference)], rival.difference
    return (
        f"{method} tells slices with a tumor from tumor-free ones with an AUC of {a.mean:.2f} (95 % interval "
        f"{a.low:.2f} to {a.high:.2f}; {patients} held-out patients, {sum(truth)} slices with and "
        f"{len(truth) - sum(truth)} without a tumor). The {rival.reference} alone reaches {b.mean:.2f} "
        f"({b.low:.2f} to {b.high:.2f}); the difference is {d.mean:+.2f} ({d.low:+.2f} to {d.high:+.2f}). "
        f"{' '.join(lacking(rival.n_patients, rival.n_seeds))}"
    )


def _key(title: str) -> str:
    return next(name for name, words in SCORES.items() if words == title)


def anomaly_pictures(views: dict[str, list[View]], by_patient: dict[str, Rows], run: RunDir, scorer: Scorer) -> bytes:
    """Shows, of some patients, the slice with most tumor, and the tumor-free one that scores highest."""
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
            found = scorer(arrays.image[0], arrays.organ, view.spacing_mm)
            if arrays.label.ndim == 3:
                level = widest_slice(arrays.label) if level is None else level
            part = (..., level) if arrays.label.ndim == 3 else ...
            healthy = None if found.healthy is None else found.healthy[part]
            rows.append((arrays.image[0][part], healthy, found.residual[part], arrays.label[part]))
            shown = patient if len(patient) <= NAME_LENGTH else f"…{patient[1 - NAME_LENGTH :]}"
            titles.append(f"{shown} {'tumor' if rows[-1][3].any() else 'tumor-free'}")
    highest = max(float(row[2].max()) for row in rows) or 1.0
    grid = [
        [
            Picture(image, -1, 1, contour=label),
            None if healthy is None else Picture(healthy, -1, 1),
            None if healthy is None else Picture(image - healthy, diverging=True),
            Picture(residual, 0, highest),
        ]
        for image, healthy, residual, label in rows
    ]
    columns = ["scan (tumor outlined)", "pseudo-healthy", "scan − pseudo-healthy", "anomaly map"]
    return picture_grid(grid, column_titles=columns, row_titles=titles, tile=150)


def _csv(by_patient: dict[str, Rows]) -> str:
    rows = [
        [patient, r["view"], r["level"], int(r["tumor"]), *(r[n] for n in SCORES)]
        for patient, members in by_patient.items()
        for r in members
    ]
    return csv_text(["patient", "view", "level", "tumor", *SCORES], rows)
