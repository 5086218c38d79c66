"""The audits on a run's page: a table of all answers, and a picture each."""

from __future__ import annotations

from medaug.audits.kept import finding_of, kept_rows
from medaug.audits.measures import Finding
from medaug.data.opening import read_png
from medaug.report.page import Figure, Section, Table
from medaug.runs.folder import RunDir

MARKS = {"pass": "✓ pass", "warn": "! warn", "fail": "✕ fail", "skipped": "– skipped"}
NOTE = (
    "Asked on patients that the generator never saw. A limit itself still passes; the floor is what real images reach."
)


def audits_section(run: RunDir) -> list[Section]:
    """Nothing where no audit was asked (`medaug audit`)."""
    findings = [finding_of(row) for row in kept_rows(run)]
    if not findings:
        return []
    rows: list[list[str | float]] = [
        [
            f.name,
            f.question,
            value_text(f),
            "" if f.floor is None else f"{f.floor:.3g}",
            limit_text(f),
            MARKS[f.verdict],
        ]
        for f in findings
    ]
    table = Table("Audits", ["Audit", "Question", "Figure", "Floor", "Limits", "Verdict"], rows, NOTE)
    figures = [
        Figure(f"{f.name}: {f.verdict}", read_png(path), f.sentence, f"Pictures of the audit {f.name}")
        for f in findings
        if (path := run.audit / f"{f.name}.png").exists()
    ]
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in MARKS}
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    reasons = [f"{f.name} was skipped: {f.sentence}." for f in findings if f.verdict == "skipped"]
    return [Section("Audits", "\n\n".join([f"{text}.", *reasons]), [table], figures)]


def value_text(finding: Finding) -> str:
    """The figure with its interval."""
    if finding.value is None:
        return "–"
    interval = "" if finding.low is None else f" ({finding.low:.3g} to {finding.high:.3g})"
    return f"{finding.value:.3g}{interval}{' ' if finding.unit else ''}{finding.unit}"


def limit_text(finding: Finding) -> str:
    """From where on it warns and fails."""
    if finding.warn is None or finding.fail is None:
        return "–"
    sign = ">" if finding.higher_is_worse else "<"
    if finding.warn == finding.fail:
        return f"fail {sign} {finding.fail:.3g}"
    return f"warn {sign} {finding.warn:.3g}, fail {sign} {finding.fail:.3g}"
