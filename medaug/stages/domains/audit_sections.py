"""The audit of a translation on the run's page: pictures, HU by tissue, contrast of labels, windows."""

from __future__ import annotations

from typing import Any

from medaug.data.atomic import read_json
from medaug.data.opening import read_png
from medaug.report.page import Figure, Section, Table
from medaug.runs.folder import RunDir
from medaug.volumes import length_unit

WHOSE = {"source": "real source", "translated": "translated", "target": "real target"}
LEVELS = {
    "blood_share": ("Enhanced blood, % of the body", 100.0, 2),
    "blood_hu": ("its median, HU", 1.0, 0),
    "soft_hu": ("Other soft tissue, median, HU", 1.0, 0),
}


def audit_sections(run: RunDir) -> list[Section]:
    """Nothing where nothing was audited."""
    pictures, path = run.audit / "pictures.png", run.audit / "translation.json"
    if not path.exists():
        return []
    figures = []
    if pictures.exists():
        figures.append(
            Figure(
                "Held-out patients",
                read_png(pictures),
                "Patients the translator never saw.",
                "Source images, their translations, and the differences",
            )
        )
    audit = read_json(path)
    tables = [*_tissues(audit), *_contrasts(audit), *_tiling(audit)]
    text = "".join(f"{case} was left out: {reason}. " for case, reason in audit["left_out"].items())
    return [Section("Translations of patients never seen", text, tables, figures)]


def _tissues(audit: dict[str, Any]) -> list[Table]:
    if "levels" not in audit:
        return []
    shift = [
        [
            tissue,
            _text(errors["bias_hu"], 1, signed=True),
            _text(errors["sd_hu"]),
            _text(errors["mae_hu"]),
            _text(errors["share"], scale=100),
            errors["bias_hu"]["patients"],
        ]
        for tissue, errors in audit.get("shift", {}).items()
    ]
    found = audit["levels"]
    levels = [
        [
            title,
            *(_text(found[kind][name], digits, scale=scale) if name in found.get(kind, {}) else "–" for kind in WHOSE),
        ]
        for name, (title, scale, digits) in LEVELS.items()
        if any(name in figures for figures in found.values())
    ]
    return [
        Table(
            "What the translation changes, by tissue of the source",
            ["Tissue", "Mean change, HU", "SD, HU", "Mean |change|, HU", "% of the body", "Patients"],
            shift,
            "Averaged by patient, with a 95 % interval over patients. Enhanced blood: vessels, heart and organs full "
            "of contrast agent; the other tissues leave it out.",
        ),
        Table(
            "Where the translation goes",
            ["", *WHOSE.values()],
            levels,
            "Other patients, so levels of the domains and no errors. What is taken for blood without contrast agent is "
            "marrow with a weak cortex: the floor of the measure.",
        ),
    ]


def _contrasts(audit: dict[str, Any]) -> list[Table]:
    if "contrast" not in audit:
        return []
    rows: list[list[str | float]] = [
        [name, *(_text(by_kind[kind], 3) if kind in by_kind else "–" for kind in WHOSE)]
        for name, by_kind in audit["contrast"].items()
    ]
    note = f"Mean inside minus mean 2 to 8 {length_unit(audit)} around it, in each image's own window [−1, 1]."
    return [Table("Contrast of what is labelled", ["", *WHOSE.values()], rows, note)]


def _tiling(audit: dict[str, Any]) -> list[Table]:
    if not audit["tiling"]:
        return []
    tiling = audit["tiling"]
    unit = tiling["unit"]
    rows: list[list[str | float]] = [
        [
            case,
            *(
                f"{r[part][name]:.3g}"
                for part, name in (
                    ("difference", "mean"),
                    ("difference", "largest"),
                    ("drift", "spread"),
                    ("drift", "slope"),
                )
            ),
        ]
        for case, r in tiling["scans"].items()
    ]
    said = "".join(f" {finding['sentence']}" for finding in audit["audits"])
    left_out = "".join(f" {case} was left out: {reason}." for case, reason in tiling["left_out"].items())
    size = " × ".join(map(str, tiling["patch_size"]))
    columns = ["Scan", f"Whole − windows, mean, {unit}", f"largest, {unit}", f"Drift, SD, {unit}", f"slope, {unit}"]
    return [
        Table(
            "In windows and whole",
            columns,
            rows,
            f"Windows of {size}, overlap {tiling['overlap']:g}. Normal: differences and drift well below the noise of "
            f"a real image. Drift is of windows translated alone, before they are blended.{said}{left_out}",
        )
    ]


def _text(interval: dict[str, Any], digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Mean and interval; of one patient the mean alone."""
    form = f"{'+' if signed else ''}.{digits}f"
    mean, low, high = (None if interval[key] is None else interval[key] * scale for key in ("mean", "low", "high"))
    return f"{mean:{form}}" if low is None else f"{mean:{form}} ({low:{form}} to {high:{form}})"
