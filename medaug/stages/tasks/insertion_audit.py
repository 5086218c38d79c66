"""How real are the tumors? Insertions into held-out patients, compared with those patients' own tumors.

Reads: `prepared/`, `split.json`, `train/weights`. Writes `audit/`: `realism.json` (contrast and size of real and
inserted lesions, AUC of a real-vs-synthetic probe by patient, continuity across slices), `pictures.png`, and
`viewer.json`, the cases to look around in. The insertions are those of `medaug audit`, and so is the probe. Held-out
patients are looked at here and nowhere used for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from medaug.audits.insertions import InsertionRun
from medaug.audits.measures.features import feature_table
from medaug.audits.measures.lesions import Insertion, LesionView, measured_by_sequence
from medaug.audits.measures.probe import MIN_PATIENTS, TOGETHER, probes_of
from medaug.config import PipelineConfig
from medaug.config.data import DataConfig
from medaug.data.atomic import atomic_path, write_json
from medaug.data.prepared import View
from medaug.figures.pictures import Picture, at_widest, picture_grid
from medaug.report.viewer import EncodedCase, encode, write_cases
from medaug.report.viewing import SHOWN, case_of_view
from medaug.runs.folder import RunDir
from medaug.transforms import RemoveTumor

STATISTICS = ("contrast", "std_inside", "edge_gradient_per_mm", "texture_gradient_per_mm")
"""Of each sequence; of several their names follow."""
PICTURES = 8
"""Rows of the grid, one a sequence of each case."""
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
    for made in material.insertions[: max(SHOWN, PICTURES // len(material.sequences))]:
        view = views[made.name]
        pictures.append(_shown(made, view.classes(run.prepared), _removed(view, run, material.remove)))
        cases += _cases(view, pictures[-1], config.data) if len(pictures) <= SHOWN else []
    _save_pictures(run, pictures, material.sequences)
    write_cases(run.audit / "viewer.json", cases)
    write_json(run.audit / "realism.json", _realism(material))


def _realism(material: InsertionRun) -> dict[str, object]:
    """What `realism.json` holds: each view's largest real lesion, and the one inserted into it away from that."""
    names, seed = material.sequences, material.seed
    real, inserted = material.real_lesions, material.insertions
    figures: dict[str, object] = {"n": len(inserted), "length_unit": material.weights.length_unit}
    figures |= {"real": _statistics(real, names), "inserted": _statistics(inserted, names)}
    patients = [lesion.patient for lesion in real]
    if (count := len(set(patients))) < MIN_PATIENTS:
        figures["note"] = f"{count} held-out patients with a measurable tumor; the probe needs {MIN_PATIENTS}"
    else:
        own, made = (feature_table([i.crop(material.crop_size) for i in lesions]) for lesions in (real, inserted))
        probes = {name: asdict(found) for name, found in probes_of(own, made, patients, names, seed=seed).items()}
        figures["probe"] = probes.pop(TOGETHER)
        figures |= {"probe_by_sequence": probes} if probes else {}
    if across := material.z_consistency():
        figures["z_consistency"] = asdict(max(across.values(), key=lambda found: abs(np.log(max(found.ratio, 1e-6)))))
        ratios = {name: found.ratio for name, found in across.items()}
        figures |= {"z_consistency_by_sequence": ratios} if len(names) > 1 else {}
    return figures


def _statistics(lesions: Sequence[LesionView], names: Sequence[str]) -> dict[str, list[float]]:
    """The figures of every lesion by measure."""
    found = [measured_by_sequence(lesion) for lesion in lesions]
    by_sequence = {
        f"{measure}, {name}" if len(names) > 1 else measure: [of[channel][measure] for of in found]
        for measure in STATISTICS
        for channel, name in enumerate(names)
    }
    return by_sequence | {"diameter_mm": [of[0]["diameter_mm"] for of in found]}


def _shown(made: Insertion, classes: np.ndarray, removed: np.ndarray) -> dict[str, np.ndarray]:
    images = {"original": made.before, "inserted": made.image, "removed": removed}
    return images | {"label": classes, "parts": made.parts}


def _cases(view: View, shown: dict[str, np.ndarray], data: DataConfig) -> list[EncodedCase]:
    """One with the inserted tumor, one without the real ones."""
    original, *edited = ((name, shown[name]) for name in ("original", "inserted", "removed"))
    labels = (shown["parts"], INSERTED), (shown["label"], REMOVED)
    return [encode(case_of_view(view, original, e, *of, data)) for e, of in zip(edited, labels, strict=True)]


def _removed(view: View, run: RunDir, remove: RemoveTumor) -> np.ndarray:
    """The view without its real tumors, normalised."""
    label = view.classes(run.prepared)[None].astype(np.float32)
    edited, _ = remove.with_label(view.tensor(run.prepared), label, view.windows, is_label=True)
    return view.in_windows(edited.numpy())


def _save_pictures(run: RunDir, pictures: list[dict[str, np.ndarray]], names: Sequence[str]) -> None:
    """The grid that the report shows, a row a sequence: of a volume, the slice with the most of the inserted tumor."""
    if not pictures:
        return
    rows = [_row(picture, channel) for picture in pictures for channel in range(len(names))]
    beside = list(names) * len(pictures) if len(names) > 1 else None
    columns = [
        "real (tumor outlined)",
        "one inserted",
        "the same, outlined",
        "inserted − real",
        "real tumor removed",
        "removed − real",
    ]
    with atomic_path(run.audit / "pictures.png") as temporary:
        temporary.write_bytes(picture_grid(rows, column_titles=columns, row_titles=beside, tile=150))


def _row(picture: dict[str, np.ndarray], channel: int) -> list[Picture]:
    images = (picture[name][channel] for name in ("original", "inserted", "removed"))
    marks = picture["label"], picture["parts"]
    original, inserted, removed, label, parts = at_widest(picture["parts"] > 0, *images, *marks)
    return [
        Picture(original, -1, 1, contour=label),
        Picture(inserted, -1, 1),
        Picture(inserted, -1, 1, contour=parts),
        Picture(inserted - original, diverging=True),
        Picture(removed, -1, 1),
        Picture(removed - original, diverging=True),
    ]
