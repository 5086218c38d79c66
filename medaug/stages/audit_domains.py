"""What a translation does to patients it never saw: pictures of it, and what it changes where.

Reads: `prepared/`, `prepared_b/`, `split.json`, `train/weights`. Writes `audit/`: `pictures.png`. Held-out patients are
looked at here and nowhere used for training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medaug.io.atomic import atomic_path, read_json
from medaug.io.prepared import View
from medaug.progress import track
from medaug.report.pictures import Picture, picture_grid
from medaug.splits import Split
from medaug.stages.config import PipelineConfig
from medaug.stages.registered import translated_entry
from medaug.stages.runs import RunDir, fingerprint, run_stage
from medaug.transforms import TranslateDomain
from medaug.translators.weights import load_weights
from medaug.volumes import Window

PICTURES = 6


def audit_domains(config: PipelineConfig, run: RunDir) -> bool:
    """The stage; says whether it had anything to do."""
    weights, split = read_json(run.weights / "model.json"), read_json(run.split)
    inputs = [weights["sha256"], split["hash"], fingerprint(read_json(run.datalist))]
    return run_stage(run, "audit_domains", inputs, [run.audit], lambda: _audit(run))


def _audit(run: RunDir) -> None:
    split = Split.from_dict(read_json(run.split))
    held_out = {*split.test, *split.validation}
    entries = [entry for entry in read_json(run.datalist)["cases"] if entry["patient"] in held_out]
    translate = TranslateDomain(load_weights(run.weights), "a2b")
    rows, shown = [], _one_a_patient(entries)[:PICTURES]
    with track("audit translations", len(shown)) as tracker:
        for entry in shown:
            rows.append(_row(entry, run, translate))
            tracker.advance()
    if rows:
        titles = ["source (label outlined)", "translated", "the same, outlined", "translated − source"]
        with atomic_path(run.audit / "pictures.png") as temporary:
            temporary.write_bytes(picture_grid(rows, column_titles=titles, tile=170))


def _one_a_patient(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The middle case of each patient."""
    by_patient: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_patient.setdefault(entry["patient"], []).append(entry)
    return [cases[len(cases) // 2] for cases in by_patient.values()]


def _row(entry: dict[str, Any], run: RunDir, translate: TranslateDomain) -> list[Picture]:
    """Of a volume, the slice with most of what is labelled, or the middle one."""
    view = View(entry, None, 0)
    image, window = translated_entry(entry, run.prepared, translate)
    label, source = view.classes(run.prepared) > 0, view.read(run.prepared).image
    fake = Window(**window).normalize(image.astype(np.float32))
    if source.ndim == 3:
        level = int(label.sum(axis=(0, 1)).argmax()) if label.any() else source.shape[-1] // 2
        label, source, fake = label[..., level], source[..., level], fake[..., level]
    return [
        Picture(source, -1, 1, contour=label), Picture(fake, -1, 1), Picture(fake, -1, 1, contour=label),
        Picture(fake - source, diverging=True),
    ]  # fmt: skip
