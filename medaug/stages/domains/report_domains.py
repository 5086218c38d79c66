"""The page of a run between two kinds of image: what was translated, how well, and what a network gains by it."""

from __future__ import annotations

from typing import Any

from medaug.config import PipelineConfig
from medaug.data.atomic import read_json
from medaug.data.opening import read_png
from medaug.experiment.cells import cells_behind
from medaug.experiment.records import Evaluation
from medaug.report.page import Figure, ReportPage, Section, Table, Verdict, render
from medaug.report.scrubbing import page_without_paths
from medaug.report.sections import (
    audits_section,
    commands_of,
    data_text,
    downstream_section,
    time_section,
    training_section,
)
from medaug.report.verdicts import rival_notes, verdict_of
from medaug.report.viewing import look_section, run_cases
from medaug.runs.folder import RunDir
from medaug.stages.domains.audit_sections import audit_sections
from medaug.training.monitors import warnings_in

TITLES = {"source": "Tested on the source domain (in distribution)", "target": "Tested on the target domain"}
SUBTITLES = {
    "segmentation": "Does a translation to the target domain help a network that has labels in the source domain only?",
    "translation": "How near are translated images to the real ones?",
    "none": "A translation between two kinds of image",
}
NO_EVALUATION = Verdict("info", "Translated, not evaluated", "evaluation.task is none: look at the audit below.")


def report_domains(config: PipelineConfig, run: RunDir) -> bool:
    """Writes the page from what is in the run folder; always runs, it takes a second or two."""
    weights, task = read_json(run.weights / "model.json"), config.evaluation.task
    page = ReportPage(
        title=f"medaug: {config.name}",
        subtitle=SUBTITLES[task],
        verdict=domain_verdict(run),
        facts=_facts(config, run, weights),
        sections=[
            *result_sections(run),
            *_look(run),
            *audit_sections(run),
            *audits_section(run),
            training_section(run),
            time_section(run),
        ],
        warnings=[*warnings_in(run.train), *domain_notes(run)],
        left_out=[
            (item["path"], item["reason"])
            for path in (run.datalist, run.datalist_b)
            for item in read_json(path)["unreadable"]
        ],
        commands=commands_of(run),
    )
    render(page_without_paths(page, config, run), run.report)
    return True


def domain_verdict(run: RunDir) -> Verdict:
    """Of the GAN arm on the target domain, or of the method against the best trivial translation."""
    found = Evaluation.of_run(run)
    return NO_EVALUATION if found is None else verdict_of(found.tests["target" if "target" in found.tests else ""])


def domain_notes(run: RunDir) -> list[str]:
    """What a reader must not overlook in any test set."""
    found = Evaluation.of_run(run)
    tests = found.tests if found else {}
    return [note for test in TITLES if test in tests for note in rival_notes(tests[test], f"On the {test} domain ")]


def result_sections(run: RunDir) -> list[Section]:
    """Scores of every test set."""
    evaluation = Evaluation.of_run(run)
    if evaluation is None:
        return []
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
        return [section]
    sections = []
    for test, found in evaluation.tests.items():
        cells = cells_behind(found, run, test)
        sections.append(downstream_section(found, cells, TITLES[test], losses=test == "source"))
    return [*reversed(sections), *_lesions(evaluation)]


def _look(run: RunDir) -> list[Section]:
    return look_section(run_cases(run), "Patients the method never saw.")


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


def _facts(config: PipelineConfig, run: RunDir, weights: dict[str, Any]) -> list[tuple[str, str]]:
    split = read_json(run.split)
    return [
        ("Data", data_text(config)),
        ("Domains", f"{weights['domain_a']['name']} to {weights['domain_b']['name']}"),
        (
            "Patients",
            f"{len(split['train'])} to train, {len(split['validation'])} to validate, {len(split['test'])} to test",
        ),
        (
            "Translator",
            f"{weights['method']}, {weights['steps']} steps, "
            f"{len(weights['paired_patients'])} patients used as registered pairs",
        ),
        ("Weights", weights["sha256"][:16]),
        ("Split", split["hash"][:16]),
        ("Made with", f"medaug {weights['medaug']}, {read_json(run.environment)['machine']}"),
    ]
