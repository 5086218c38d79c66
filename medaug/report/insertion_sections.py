"""What the page of a run that inserts tumors says: its scores, its realism, and what `medaug anomaly` found."""

from __future__ import annotations

import numpy as np

from medaug.config import PipelineConfig
from medaug.data.atomic import JsonObject, read_json
from medaug.data.opening import read_png
from medaug.evaluation.intervals import Interval
from medaug.experiment.cells import cells_behind
from medaug.experiment.edits import GateFigures
from medaug.experiment.records import Evaluation, Summary
from medaug.figures.distributions import distributions
from medaug.report.page import Figure, Section, Table
from medaug.report.run_page import Findings, Results
from medaug.report.sections import audits_section, downstream_section, kept_picture
from medaug.report.verdicts import interval_text, verdict_of
from medaug.report.viewing import SYNTHETIC_TEXT, look_section, run_cases
from medaug.runs.folder import RunDir
from medaug.volumes import length_unit

LOOK_TEXT = (
    f"Held-out patients are those the GAN never saw, seen through its intensity window; {SYNTHETIC_TEXT} The label "
    "of a held-out patient marks what was inserted, or what was there before."
)


def insertion_results(run: RunDir) -> Results:
    """Scores of the arms, of one run or pooled."""
    summary = _summary(run)
    section = downstream_section(summary, cells_behind(summary, run), summary.task.capitalize(), losses=True)
    return Results(verdict_of(summary), [section])


def insertion_findings(config: PipelineConfig, run: RunDir) -> Findings:
    """How it was made, the tumors of held-out patients, and what of them is not as in real ones."""
    summary, realism = _summary(run), read_json(run.audit / "realism.json")
    weights, synthetic = read_json(run.weights / "model.json"), read_json(run.synthetic / "datalist.json")
    kinds = [record["kind"] for record in synthetic["training"]]
    content = config.translator.settings.get("content", "default")
    facts = [
        ("Scored on", f"{len(summary.patients)} {config.evaluation.patients} patients × {len(summary.seeds)} seeds"),
        ("Translator", f"{weights['method']}, {content} content, {weights['steps']} steps"),
        ("Synthetic cases", f"{kinds.count('inserted')} inserted, {kinds.count('removed')} removed"),
    ]
    if "gate" in synthetic:
        gate = GateFigures(**synthetic["gate"])
        accepted = (
            f"{gate.accepted} of {gate.drawn} insertions accepted ({gate.accept_rate:.0%}): a frozen segmenter's "
            f"agreement of at least {gate.least:g} (Dice around the lesions)"
        )
        facts.append(("Quality gate", accepted if gate.drawn else "nothing was inserted"))
    prior = run.train / "prior.json"
    left_out = read_json(prior)["left_out"] if prior.exists() else {}
    notes = [realism["note"]] if "note" in realism and "real" in realism else []
    notes += [f"{count} training lesions are no reference: {reason}." for reason, count in left_out.items()]
    caption = "Patients the GAN never saw. Differences are in window units [-1, 1]."
    alt = "Slices with a real, an inserted and a removed tumor, and the differences"
    pictures = kept_picture(run.audit / "pictures.png", "Held-out patients", caption, alt)
    unseen = Section("Pictures", "No held-out patient had a tumor to show beside an inserted one.")
    sections = [
        Section("Real, inserted, removed", figures=pictures) if pictures else unseen,
        *look_section(run_cases(run), LOOK_TEXT),
        _realism(realism),
        *audits_section(run),
        *_anomaly(run),
    ]
    return Findings(f"Does GAN augmentation help {summary.task} here?", facts, sections, notes)


def _summary(run: RunDir) -> Summary:
    evaluation = Evaluation.of_run(run)
    assert evaluation is not None  # the stage before wrote it
    return evaluation.tests[""]


def _realism(realism: JsonObject) -> Section:
    if "real" not in realism:
        return Section("Realism", realism["note"])
    unit, sets = length_unit(realism), (realism["real"], realism["inserted"])
    rows = []
    for name in realism["real"]:
        measure = name.replace("_per_mm", f" per {unit}").replace("_mm", f" ({unit})").replace("_", " ")
        rows.append([measure, *(f"{np.mean(of[name]):.3f} ± {np.std(of[name]):.3f}" for of in sets)])
    text = realism.get("note", "")
    if "probe" in realism:
        p = realism["probe"]
        text = (
            f"A classifier that tries to tell real from inserted lesions reaches an AUC of {p['auc']:.2f} (95 % "
            f"interval {p['low']:.2f} to {p['high']:.2f}) on patients it was not trained on: {p['n_real']} real and "
            f"{p['n_synthetic']} inserted lesions of {p['n_patients']} patients. 0.5 would be chance. It looks most at "
            f"{', '.join(p['top_features'])}."
        )
        alone = [f"{name} {probe['auc']:.2f}" for name, probe in realism.get("probe_by_sequence", {}).items()]
        text += f" Of one sequence alone it reaches: {', '.join(alone)}." if alone else ""
    if "z_consistency" in realism:
        z = realism["z_consistency"]
        text += (
            f" Across slices, steps along z over steps in the plane are {z['synthetic']:.2f} in {z['n_synthetic']} "
            f"inserted and {z['real']:.2f} in {z['n_real']} real tumors of whole volumes: {z['ratio']:.2f} times the "
            "real ones (1: as continuous; more: slices flicker; less: smeared along z)."
        )
        each = [f"{name} {ratio:.2f}" for name, ratio in realism.get("z_consistency_by_sequence", {}).items()]
        text += f" That is the sequence farthest from 1; of each: {', '.join(each)}." if each else ""
    columns, note = ["Measure (mean ± spread)", "real", "inserted"], "Intensities in window units [-1, 1]."
    table, figures = Table("Lesions of held-out patients", columns, rows, note), []
    contrasts = [key for key in realism["real"] if key.startswith("contrast")]
    shown = [(key, key.capitalize(), "lesion − surroundings") for key in contrasts]
    for key, title, xlabel in [*shown, ("diameter_mm", "Size", f"diameter ({unit})")]:
        if realism["real"][key]:
            drawn = distributions(*(of[key] for of in sets), xlabel=xlabel)
            figures.append(Figure(title, drawn, "", f"{title} of real and inserted lesions"))
    return Section("Realism", text, [table], figures)


def _anomaly(run: RunDir) -> list[Section]:
    """What `medaug anomaly` found, if it was asked."""
    path = run.anomaly / "summary.json"
    if not path.exists():
        return []
    found = read_json(path)
    rows = [[name.replace("_", " "), interval_text(Interval(**interval))] for name, interval in found["auc"].items()]
    by_patient = [
        [name, p["tumor_slices"], p["slices"] - p["tumor_slices"], p["score"], *p["auc"].values()]
        for name, p in found["patients"].items()
    ]
    scores = [f"AUC, {name}" for name in found["auc"]]
    columns = ["Patient", "Tumor slices", "Tumor-free slices", "Highest score", *scores]
    tables = [
        Table("AUC of tumor against tumor-free slices", ["Score", "AUC"], rows, "The others are brightness alone."),
        Table("Patients", columns, by_patient),
    ]
    figures = [
        Figure(
            "Scores and ROC curves",
            read_png(run.anomaly / "roc.png"),
            "Slices of held-out patients.",
            "Histogram of anomaly scores of tumor and tumor-free slices, and ROC curves",
        ),
        Figure(
            "Pseudo-healthy versions",
            read_png(run.anomaly / "pictures.png"),
            "Removal was not told where the tumor is. Tumor-free slices are those that scored highest.",
            "Slices, their pseudo-healthy versions, the differences and the anomaly maps",
        ),
    ]
    return [Section("Anomaly", f"{found['sentence']} Weights {found['settings']['weights'][:16]}.", tables, figures)]
