"""What the page of a translation between two kinds of image says: its scores, and what its audit found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medaug.config import PipelineConfig
from medaug.data.atomic import JsonObject, read_json
from medaug.experiment.cells import cells_behind
from medaug.experiment.records import Evaluation, Summary
from medaug.report.page import MISSING, Section, Table, Verdict
from medaug.report.run_page import Findings, Results
from medaug.report.sections import audits_section, downstream_section, kept_picture
from medaug.report.verdicts import verdict_of
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


COUNTED = ("lesions", "lost", "gained", "scans")
LESIONS_NOTE = (
    "By the network of the arm target-labels, which learnt from real, labelled images of the target domain: on real "
    "ones its own errors, on translated ones these and the translation's. All seeds together: each looked at "
    "every scan."
)


def translation_results(run: RunDir) -> Results:
    """The answer of the GAN arm on the target domain, or of the method against the best trivial translation."""
    evaluation = Evaluation.of_run(run)
    if evaluation is None:
        return Results(NO_EVALUATION)
    if summary := evaluation.tests.get(""):
        section = downstream_section(summary, cells_behind(summary, run), "Translated and real")
        caption = "Of patients the method never saw."
        alt = "Source, real target, translation, difference, and the trivial translation"
        section.tables.extend(_errors_in_hu(summary))
        section.figures.extend(kept_picture(run.evaluation / "pictures.png", "Held-out patients", caption, alt))
        return Results(verdict_of(summary), [section])
    sections = [
        downstream_section(found, cells_behind(found, run, test), TITLES[test], losses=test == "source")
        for test, found in reversed(evaluation.tests.items())
    ]
    notes = [f"On the source domain {verdict_of(evaluation.tests['source']).headline}."]
    if evaluation.lesions:
        rows: list[list[str | float]] = [
            [kind, *(counts[name] for name in COUNTED)] for kind, counts in evaluation.lesions.items()
        ]
        columns = ["Images", "Labelled", "Lost", "Gained", "Scans"]
        sections.append(Section("Lesions", tables=[Table("Lesions lost and gained", columns, rows, LESIONS_NOTE)]))
    return Results(verdict_of(evaluation.main), sections, notes)


def _errors_in_hu(summary: Summary) -> list[Table]:
    """Of every arm the overlap of bone, and how wrong each tissue of the real CT is; nothing where it is not in HU."""
    if summary.translation is None or not (arms := summary.translation.hounsfield):
        return []
    tissues = list(dict.fromkeys(name for figures in arms.values() for name in figures["tissues"]))
    columns = [f"{name}, {what}" for name in tissues for what in ("bias, HU", "MAE, HU")]
    rows = []
    for arm, figures in arms.items():
        row = [_text(figures["bone_dice"], digits=3) if "bone_dice" in figures else MISSING]
        for errors in (figures["tissues"].get(name) for name in tissues):
            row += [MISSING] * 2 if errors is None else [_text(errors["bias_hu"], signed=True), _text(errors["mae_hu"])]
        rows.append([arm, *row])
    note = "Inside the body, by the tissue of the real CT, averaged by patient with a 95 % interval over patients."
    return [Table("Errors by tissue", ["Arm", "Bone Dice", *columns], rows, note)]


def translation_findings(config: PipelineConfig, run: RunDir) -> Findings:
    """How it was made, and what it does to patients it never saw."""
    weights = read_json(run.weights / "model.json")
    made = f"{weights['method']}, {weights['steps']} steps"
    facts = [
        ("Domains", f"{weights['domain_a']['name']} to {weights['domain_b']['name']}"),
        ("Translator", f"{made}, {len(weights['paired_patients'])} patients used as registered pairs"),
    ]
    look = look_section(run_cases(run), "Patients the method never saw.")
    sections = [*look, *audit_sections(run), *audits_section(run)]
    return Findings(QUESTIONS[config.evaluation.task], facts, sections)


def audit_sections(run: RunDir) -> list[Section]:
    """Nothing where nothing was audited."""
    path = run.audit / "translation.json"
    if not path.exists():
        return []
    caption, alt = "Patients the translator never saw.", "Source images, their translations, and the differences"
    figures = kept_picture(run.audit / "pictures.png", "Held-out patients", caption, alt)
    audit = read_json(path)
    tables = _tissues(audit) if "levels" in audit else []
    if "contrast" in audit:
        note = f"Mean inside minus mean 2 to 8 {length_unit(audit)} around it, in each image's own window [−1, 1]."
        rows = [[name, *_by_kind(of, digits=3)] for name, of in audit["contrast"].items()]
        tables.append(Table("Contrast of what is labelled", ["", *WHOSE.values()], rows, note))
    tables += _tiling(audit) if audit["tiling"] else []
    text = "".join(f"{case} was left out: {reason}. " for case, reason in audit["left_out"].items())
    return [Section("Translations of patients never seen", text, tables, figures)]


def _tissues(audit: JsonObject) -> list[Table]:
    shift = [
        [
            tissue,
            _text(errors["bias_hu"], signed=True),
            *(_text(errors[name]) for name in ("sd_hu", "mae_hu")),
            _text(errors["share"], scale=100),
            errors["bias_hu"]["patients"],
        ]
        for tissue, errors in audit.get("shift", {}).items()
    ]
    levels = []
    for name, (title, scale, digits) in LEVELS.items():
        found = {kind: figures[name] for kind, figures in audit["levels"].items() if name in figures}
        levels += [[title, *_by_kind(found, digits=digits, scale=scale)]] if found else []
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


def _tiling(audit: JsonObject) -> list[Table]:
    tiling = audit["tiling"]
    unit, rows = tiling["unit"], []
    for case, scan in tiling["scans"].items():
        difference, drift = scan["difference"], scan["drift"]
        figures = (difference["mean"], difference["largest"], drift["spread"], drift["slope"])
        rows.append([case, *(f"{figure:.3g}" for figure in figures)])
    said = "".join(f" {finding['sentence']}" for finding in audit["audits"])
    left_out = "".join(f" {case} was left out: {reason}." for case, reason in tiling["left_out"].items())
    size = " × ".join(map(str, tiling["patch_size"]))
    columns = ["Scan", f"Whole − windows, mean, {unit}", f"largest, {unit}", f"Drift, SD, {unit}", f"slope, {unit}"]
    note = (
        f"Windows of {size}, overlap {tiling['overlap']:g}. Normal: differences and drift well below the noise of a "
        f"real image. Drift is of windows translated alone, before they are blended.{said}{left_out}"
    )
    return [Table("In windows and whole", columns, rows, note)]


def _by_kind(found: Mapping[str, Mapping[str, float | None]], **form: Any) -> list[str]:
    """A figure of real source, translated and real target images; a dash where there is none."""
    return [_text(found[kind], **form) if kind in found else MISSING for kind in WHOSE]


def _text(interval: Mapping[str, float | None], digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Mean and interval; of one patient the mean alone."""
    form = f"{'+' if signed else ''}.{digits}f"
    mean, low, high = (None if (value := interval[key]) is None else value * scale for key in ("mean", "low", "high"))
    return f"{mean:{form}}" if low is None else f"{mean:{form}} ({low:{form}} to {high:{form}})"
