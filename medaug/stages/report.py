"""One page of everything a run found: reads the run's files, writes `report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medaug.evaluation.metrics import METRICS
from medaug.evaluation.pooled import POOLED_METRICS
from medaug.io.atomic import read_json
from medaug.report.figures import difference_forest, distributions, learning_curves, score_by_patient
from medaug.report.page import Figure, ReportPage, Section, Table, Verdict, render
from medaug.stages.config import PipelineConfig
from medaug.stages.runs import RunDir, seconds_by_stage
from medaug.training.log import read_metrics

METRICS_OF = {"segmentation": METRICS, "classification": POOLED_METRICS}
NOTES = {
    "segmentation": "",
    "classification": "Slices (or patches) of all test patients are pooled; the intervals resample patients.",
}
MAIN = {"segmentation": "dice", "classification": "auc"}


def report(config: PipelineConfig, run: RunDir) -> bool:
    """Writes the page from what is in the run folder; always runs, it takes a second or two."""
    summary = read_json(run.evaluation / "summary.json")
    realism = read_json(run.audit / "realism.json")
    page = ReportPage(
        title=f"medaug: {config.name}",
        subtitle=f"Does GAN augmentation help {summary['task']} here?",
        verdict=_verdict(summary),
        facts=_facts(config, run, summary),
        sections=[
            _downstream(config, run, summary),
            _pictures(run),
            _realism(realism),
            *_anomaly(run),
            _training(run),
            _time(run),
        ],  # fmt: skip
        warnings=read_json(run.weights / "model.json")["warnings"] + _notes(realism, run),
        left_out=[(item["path"], item["reason"]) for item in read_json(run.datalist)["unreadable"]],
        settings_yaml=run.config.read_text(),
        commands=[_command(read_json(run.environment)["command"]), f"medaug run {run.config} --out <new folder>"],
    )
    render(page, run.report)
    return True


def _verdict(summary: dict[str, Any]) -> Verdict:
    main = [c for c in summary["comparisons"] if c["metric"] == MAIN[summary["task"]]]
    if not main:
        return Verdict("info", "No comparison was made", "Only one arm was trained; add evaluation.arms to compare.")
    c = main[0]
    change = f"{METRICS_OF[summary['task']][c['metric']].title} {_signed(c['difference']['mean'])}"
    headlines = {
        "helps": f"GAN augmentation helps: {change}",
        "hurts": f"GAN augmentation hurts: {change}",
        "inconclusive": f"Inconclusive: {change}, and the interval includes zero",
    }
    return Verdict(c["verdict"], headlines[c["verdict"]], c["sentence"])


def _facts(config: PipelineConfig, run: RunDir, summary: dict[str, Any]) -> list[tuple[str, str]]:
    split, weights = read_json(run.split), read_json(run.weights / "model.json")
    synthetic = read_json(run.synthetic / "datalist.json")["training"]
    kinds = [record["kind"] for record in synthetic]
    data = str(config.data.root) if config.data.root else f"built-in {config.data.phantoms.anatomy} phantoms"
    return [
        ("Data", data),
        ("Patients", f"{len(split['train'])} to train, {len(split['validation'])} to validate, "
                     f"{len(split['test'])} to test"),
        ("Scored on", f"{len(summary['patients'])} {config.evaluation.patients} patients × "
                      f"{len(summary['seeds'])} seeds"),
        ("Translator", f"{weights['method']}, {config.translator.settings.get('content', 'default')} content, "
                       f"{weights['steps']} steps"),
        ("Synthetic cases", f"{kinds.count('inserted')} inserted, {kinds.count('removed')} removed"),
        ("Weights", weights["sha256"][:16]),
        ("Split", split["hash"][:16]),
        ("Made with", f"medaug {weights['medaug']}, {read_json(run.environment)['machine']}"),
    ]  # fmt: skip


def _downstream(config: PipelineConfig, run: RunDir, summary: dict[str, Any]) -> Section:
    arms, task, metrics = summary["arms"], summary["task"], METRICS_OF[summary["task"]]
    rows = [[arm, *(_interval(arms[arm][metric]) for metric in metrics)] for arm in arms]
    titles = [f"{m.title} ({m.unit})" if m.unit else m.title for m in metrics.values()]
    main = metrics[MAIN[task]].title
    by_arm = Table("Scores by arm", ["Arm", *titles], rows, "With a 95 % interval over patients and seeds.")
    differences = Table(
        "Differences", ["Arm against standard", "Metric", "Difference", "Wilcoxon p", "Verdict"],
        [[c["arm"], metrics[c["metric"]].title, _interval(c["difference"], signed=True), f"{c['p_value']:.3g}",
          c["verdict"]] for c in summary["comparisons"]],
        "Paired by patient and seed; the interval resamples both.",
    )  # fmt: skip
    cells = {path.stem: read_json(path) for path in sorted((run.evaluation / "cells").glob("*.json"))}
    losses = {name: tuple(zip(*cell["losses"], strict=True)) for name, cell in cells.items() if cell["losses"]}
    compared = [c for c in summary["comparisons"] if c["metric"] == MAIN[task]]
    title = f"{task.capitalize()} loss"
    figures = [
        Figure(f"{main} by patient", score_by_patient(_main_by_arm(config, cells, summary), ylabel=main),
               "Each dot is a test patient alone, averaged over seeds.", f"{main} of every test patient by arm"),
        Figure(title, learning_curves(losses, title=title, xlabel="update", ylabel="loss"),
               "Every arm gets the same number of updates.", f"Training loss of each {task} network"),
    ]  # fmt: skip
    if compared:
        forest = difference_forest(
            [(c["arm"], c["difference"]["mean"], c["difference"]["low"], c["difference"]["high"], c["verdict"])
             for c in compared], xlabel=f"difference in {main} to standard",
        )  # fmt: skip
        figures.insert(0, Figure(f"Difference in {main}", forest, "Right of zero helps.", "Differences with intervals"))
    return Section(task.capitalize(), NOTES[task], [by_arm, differences], figures)


def _main_by_arm(config: PipelineConfig, cells: dict[str, Any], summary: dict[str, Any]) -> dict[str, list[float]]:
    """NaN for a patient who has no score alone."""
    metric = MAIN[summary["task"]]

    def score(arm: str, patient: str) -> float:
        scores = [cells[f"{arm}-seed{seed}"]["scores"][patient][metric] for seed in summary["seeds"]]
        return float(np.mean(scores)) if None not in scores else float("nan")

    return {arm: [score(arm, patient) for patient in summary["patients"]] for arm in config.evaluation.arms}


def _pictures(run: RunDir) -> Section:
    path = run.audit / "pictures.png"
    if not path.exists():
        return Section("Pictures", "No held-out patient had a tumor to show beside an inserted one.")
    figure = Figure(
        "Held-out patients", path.read_bytes(),
        "Patients the GAN never saw. Differences are in window units [-1, 1].",
        "Slices with a real, an inserted and a removed tumor, and the differences",
    )  # fmt: skip
    return Section("Real, inserted, removed", figures=[figure])


def _realism(realism: dict[str, Any]) -> Section:
    if "real" not in realism:
        return Section("Realism", realism["note"])
    rows = [
        [name.replace("_", " "), *(f"{np.mean(realism[k][name]):.3f} ± {np.std(realism[k][name]):.3f}"
                                   for k in ("real", "inserted"))]
        for name in realism["real"]
    ]  # fmt: skip
    text = realism.get("note", "")
    if "probe" in realism:
        p = realism["probe"]
        text = (
            f"A classifier that tries to tell real from inserted lesions reaches an AUC of {p['auc']:.2f} (95 % "
            f"interval {p['low']:.2f} to {p['high']:.2f}) on patients it was not trained on: {p['n_real']} real and "
            f"{p['n_synthetic']} inserted lesions of {p['n_patients']} patients. 0.5 would be chance. It looks most at "
            f"{', '.join(p['top_features'])}."
        )
    if "z_consistency" in realism:
        z = realism["z_consistency"]
        text += (
            f" Across slices, steps along z over steps in the plane are {z['synthetic']:.2f} in {z['n_synthetic']} "
            f"inserted and {z['real']:.2f} in {z['n_real']} real tumors of whole volumes: {z['ratio']:.2f} times the "
            "real ones (1: as continuous; more: slices flicker; less: smeared along z)."
        )
    table = Table("Lesions of held-out patients", ["Measure (mean ± spread)", "real", "inserted"], rows,
                  "Intensities in window units [-1, 1].")  # fmt: skip
    figures = [
        Figure(
            title, distributions(realism["real"][key], realism["inserted"][key], xlabel=label), "",
            f"{title} of real and inserted lesions",
        )
        for key, title, label in (
            ("contrast", "Contrast", "lesion − surroundings"), ("diameter_mm", "Size", "diameter (mm)"),
        ) if realism["real"][key]
    ]  # fmt: skip
    return Section("Realism", text, [table], figures)


def _anomaly(run: RunDir) -> list[Section]:
    """What `medaug anomaly` found, if it was asked."""
    path = run.anomaly / "summary.json"
    if not path.exists():
        return []
    found = read_json(path)
    rows = [[name.replace("_", " "), _interval(interval)] for name, interval in found["auc"].items()]
    by_patient = [
        [name, p["tumor_slices"], p["slices"] - p["tumor_slices"], p["score"], *p["auc"].values()]
        for name, p in found["patients"].items()
    ]
    tables = [
        Table("AUC of tumor against tumor-free slices", ["Score", "AUC"], rows,
              "The others are brightness alone."),
        Table("Patients", ["Patient", "Tumor slices", "Tumor-free slices", "Highest score",
                           *(f"AUC, {name}" for name in found["auc"])], by_patient),
    ]  # fmt: skip
    figures = [
        Figure("Scores and ROC curves", (run.anomaly / "roc.png").read_bytes(), "Slices of held-out patients.",
               "Histogram of anomaly scores of tumor and tumor-free slices, and ROC curves"),
        Figure("Pseudo-healthy versions", (run.anomaly / "pictures.png").read_bytes(),
               "Removal was not told where the tumor is. Tumor-free slices are those that scored highest.",
               "Slices, their pseudo-healthy versions, the differences and the anomaly maps"),
    ]  # fmt: skip
    return [Section("Anomaly", f"{found['sentence']} Weights {found['settings']['weights'][:16]}.", tables, figures)]


def _training(run: RunDir) -> Section:
    rows = read_metrics(run.train / "metrics.jsonl")
    names = [name for name in (rows[-1] if rows else {}) if name != "step" and not name.startswith(("strength", "var"))]
    curves = {name: ([r["step"] for r in rows], [r[name] for r in rows]) for name in names}
    figures = [Figure("GAN losses", learning_curves(curves, title="GAN losses", ylabel="weighted loss"), "",
                      "Losses of generators and discriminators over the steps")]  # fmt: skip
    previews = sorted(run.previews.glob("step-*.png"))
    if previews:
        figures.append(Figure("Training crops at the end", previews[-1].read_bytes(), "",
                              "Crops of training patients through both generators"))  # fmt: skip
    return Section("GAN training", figures=figures)


def _time(run: RunDir) -> Section:
    rows: list[list[str | float]] = [[stage, round(seconds)] for stage, seconds in seconds_by_stage(run).items()]
    return Section("Time", tables=[Table("Seconds by stage", ["Stage", "Seconds"], rows)])


def _notes(realism: dict[str, Any], run: RunDir) -> list[str]:
    notes = [realism["note"]] if "note" in realism and "real" in realism else []
    prior = run.train / "prior.json"
    left_out = read_json(prior)["left_out"] if prior.exists() else {}
    return notes + [f"{count} training lesions are no reference: {reason}." for reason, count in left_out.items()]


def _interval(values: dict[str, float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{values['mean']:{sign}.3f} ({values['low']:{sign}.3f} to {values['high']:{sign}.3f})"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _command(words: list[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in [Path(words[0]).name, *words[1:]])
