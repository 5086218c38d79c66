"""What the page of a translation between two kinds of image says: its scores, and what its audit found."""

from __future__ import annotations

from collections.abc import Mapping

from medaug.config import PipelineConfig
from medaug.data.atomic import JsonObject, read_json
from medaug.data.opening import read_png
from medaug.experiment.cells import cells_behind
from medaug.experiment.records import Evaluation
from medaug.report.page import Figure, Section, Table, Verdict
from medaug.report.run_page import Findings, Results
from medaug.report.sections import audits_section, downstream_section
from medaug.report.verdicts import rival_notes, verdict_of
from medaug.report.viewing import look_section, run_cases
from medaug.runs.folder import RunDir
from medaug.volumes import length_unit

TITLES = {"source": "Tested on the source domain (in distribution)", "target": "Tested on the target domain"}
QUESTIONS = {
    "segmentation": "Does a translation to the target domain help a network that has labels in the source domain only?",
    "translation": "How near are translated images to the real ones?",
    "none": "A translation between two kinds of image",
}
NO_EVALUATION = Verdict("info", "Translated, not evaluated", "evaluation.task is none: look at the audit below.")
WHOSE = {"source": "real source", "translated": "translated", "target": "real target"}
LEVELS = {
    "blood_share": ("Enhanced blood, % of the body", 100.0, 2),
    "blood_hu": ("its median, HU", 1.0, 0),
    "soft_hu": ("Other soft tissue, median, HU", 1.0, 0),
}


def translation_results(run: RunDir) -> Results:
    """The answer of the GAN arm on the target domain, or of the method against the best trivial translation."""
    evaluation = Evaluation.of_run(run)
    if evaluation is None:
        return Results(NO_EVALUATION)
    if summary := evaluation.tests.get(""):
        section = downstream_section(summary, cells_behind(summary, run), "Translated and real")
        pictures = run.evaluation / "pictures.png"
        if pictures.exists():
            figure = Figure(
                "Held-out patients",
                read_png(pictures),
                "Of patients the method never saw.",
                "Source, real target, translation, difference, and the trivial translation",
            )
            section.figures.append(figure)
        return Results(verdict_of(summary), [section])
    sections = [
        downstream_section(found, cells_behind(found, run, test), TITLES[test], losses=test == "source")
        for test, found in evaluation.tests.items()
    ]
    notes = [n for test, found in evaluation.tests.items() for n in rival_notes(found, f"On the {test} domain ")]
    return Results(verdict_of(evaluation.tests["target"]), [*reversed(sections), *_lesions(evaluation)], notes)


def translation_findings(config: PipelineConfig, run: RunDir) -> Findings:
    """How it was made, and what it does to patients it never saw."""
    weights = read_json(run.weights / "model.json")
    facts = [
        ("Domains", f"{weights['domain_a']['name']} to {weights['domain_b']['name']}"),
        (
            "Translator",
            f"{weights['method']}, {weights['steps']} steps, "
            f"{len(weights['paired_patients'])} patients used as registered pairs",
        ),
    ]
    look = look_section(run_cases(run), "Patients the method never saw.")
    sections = [*look, *audit_sections(run), *audits_section(run)]
    return Findings(QUESTIONS[config.evaluation.task], facts, sections)


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


def _tissues(audit: JsonObject) -> list[Table]:
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


def _contrasts(audit: JsonObject) -> list[Table]:
    if "contrast" not in audit:
        return []
    rows: list[list[str | float]] = [
        [name, *(_text(by_kind[kind], 3) if kind in by_kind else "–" for kind in WHOSE)]
        for name, by_kind in audit["contrast"].items()
    ]
    note = f"Mean inside minus mean 2 to 8 {length_unit(audit)} around it, in each image's own window [−1, 1]."
    return [Table("Contrast of what is labelled", ["", *WHOSE.values()], rows, note)]


def _tiling(audit: JsonObject) -> list[Table]:
    tiling = audit["tiling"]
    if not tiling:
        return []
    unit, rows = tiling["unit"], []
    for case, scan in tiling["scans"].items():
        figures = [scan["difference"][name] for name in ("mean", "largest")]
        figures += [scan["drift"][name] for name in ("spread", "slope")]
        rows.append([case, *(f"{figure:.3g}" for figure in figures)])
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


def _text(interval: Mapping[str, float | None], digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Mean and interval; of one patient the mean alone."""
    form = f"{'+' if signed else ''}.{digits}f"
    mean, low, high = (None if (value := interval[key]) is None else value * scale for key in ("mean", "low", "high"))
    return f"{mean:{form}}" if low is None else f"{mean:{form}} ({low:{form}} to {high:{form}})"


def _lesions(evaluation: Evaluation) -> list[Section]:
    """Lesions that a translation loses or invents, as a network with labels of the target domain sees them."""
    found = evaluation.lesions
    if not found:
        return []
    rows: list[list[str | float]] = [
        [kind, counts["lesions"], counts["lost"], counts["gained"], counts["scans"]] for kind, counts in found.items()
    ]
    table = Table(
        "Lesions lost and gained",
        ["Images", "Labelled", "Lost", "Gained", "Scans"],
        rows,
        "By the network of the arm target-labels, which learnt from real, labelled images of the target domain: on "
        "real ones its own errors, on translated ones these and the translation's. All seeds together: each looked at "
        "every scan.",
    )
    return [Section("Lesions", "", [table])]
