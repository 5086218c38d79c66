"""Makes the summary of an evaluation from its cells: figures by arm with intervals, arms compared, scores as a table.

Every test set has one `Summary` (see `records`). Comparisons by the main metric have a verdict, and are corrected for
each other, rivals included: `arms.pairs_of` says which. Those by other metrics, and of ceilings, are shown with their
intervals, without a verdict. Where the cells counted lesions, they are summed up too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medaug.audits.measures.similarity import IMAGE_METRICS, ImageMetric
from medaug.config import PipelineConfig
from medaug.config.evaluation import REFERENCE
from medaug.data.atomic import csv_text, write_json, write_text
from medaug.evaluation.detection import LEAST_PATIENTS, rate_interval, rates, ratio_scores
from medaug.evaluation.intervals import mean_interval
from medaug.evaluation.metrics import METRICS, POOLED_METRICS, Metric, Scored, pseudo_values
from medaug.evaluation.statistics import Comparison, compare, holm, without_verdict
from medaug.experiment.arms import ARMS, Arm, ArmPair, arms_of, gan_arms, is_ceiling, pairs_of
from medaug.experiment.records import (
    Cell,
    Detection,
    Evaluation,
    MetricFacts,
    PatientScores,
    RateDifference,
    RateFacts,
    Summary,
    TranslationFacts,
)
from medaug.runs.folder import RunDir
from medaug.volumes import length_unit

Cells = Mapping[str, Sequence[Cell]]
"""Arm → its cells, one a seed."""
CLASS_SEPARATOR = ": "
"""Between a metric and the class or region that it is of, where there are several."""


@dataclass(frozen=True)
class Scoring:
    """What the cells of an evaluation are scored by: `evaluation.task`, the main metric first, all arms that there are.

    `size_limits_mm` parts the lesions into size classes, where cells count any.
    """

    name: str
    metrics: Mapping[str, Metric | ImageMetric]
    arms: Mapping[str, Arm]
    size_limits_mm: tuple[float, ...] = ()

    def table(self, cells: Sequence[PatientScores], patients: Sequence[str], metric: str) -> np.ndarray:
        """Scores (patients, cells), whose mean is the arm's figure."""
        if self.name != "classification":
            return np.array([[cell.scores[patient][metric] for cell in cells] for patient in patients])
        columns = []
        for cell in cells:
            slices = [cell.slices[patient] for patient in patients]
            scored = [Scored(np.array(s.probability), np.array(s.tumor)) for s in slices]
            columns.append(pseudo_values(scored, POOLED_METRICS[metric].score))
        return np.stack(columns, axis=1)


IMAGE_SCORING = Scoring("translation", IMAGE_METRICS, ARMS)
"""Image metrics of a translation, a column a seed (there is one)."""


def scoring_of(config: PipelineConfig) -> Scoring:
    """The scoring of the configured networks.

    A segmentation has the metrics of its one class, or the means over several (regions or classes) and each one's own.
    """
    settings, scored = config.evaluation, config.scored
    metrics = POOLED_METRICS if settings.task == "classification" else METRICS
    if settings.task == "segmentation" and len(scored) > 1:
        metrics = METRICS | {
            f"{name}{CLASS_SEPARATOR}{kind}": replace(metric, title=f"{metric.title}, {kind}")
            for kind in scored
            for name, metric in METRICS.items()
        }
    return Scoring(settings.task, metrics, arms_of(settings), settings.size_limits_mm)


def write_summary(run: RunDir, cells: Cells, patients: Sequence[str], scoring: Scoring) -> None:
    """`summary.json` and `scores.csv` of an evaluation with one test set."""
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, scoring))
    write_json(run.evaluation / "summary.json", summarized(cells, patients, scoring).to_json())


def write_domain_summary(run: RunDir, cells: Cells, names: Iterable[str], scoring: Scoring) -> None:
    """`summary.json` and a table of scores for each of these test sets, from its cells."""
    tests = {}
    for name in names:
        of_test = {arm: [cell.on_test(name) for cell in members] for arm, members in cells.items()}
        patients = sorted(next(iter(of_test.values()))[0].scores)
        write_text(run.evaluation / f"scores-{name}.csv", scores_csv(of_test, patients, scoring))
        tests[name] = summarized(of_test, patients, scoring)
    lesions: dict[str, Counter[str]] = {}
    for cell in (cell for members in cells.values() for cell in members):
        for kind, by_patient in cell.lesions.items():
            for counts in by_patient.values():
                lesions.setdefault(kind, Counter()).update(counts)
    found = Evaluation(tests, {kind: dict(total) for kind, total in lesions.items()})
    write_json(run.evaluation / "summary.json", found.to_json())


def write_translation_summary(run: RunDir, cells: Cells, facts: TranslationFacts) -> None:
    """Scores by arm with intervals, and for every metric the method against the better of the trivial translations."""
    scoring, patients = IMAGE_SCORING, list(next(iter(cells.values()))[0].scores)
    method, *trivial = cells
    tables = _tables(cells, patients, scoring)
    pairs = []
    for metric, rule in IMAGE_METRICS.items():
        means = {arm: float(tables[arm][metric].mean()) for arm in trivial}
        better = max if rule.higher_is_better else min
        pairs.append((metric, (method, better(means, key=means.__getitem__))))
    summary = replace(summarized(cells, patients, scoring, pairs), gan_arms=[method], translation=facts)
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, scoring))
    write_json(run.evaluation / "summary.json", summary.to_json())


def summarized(
    cells: Cells, patients: Sequence[str], scoring: Scoring, pairs: Sequence[tuple[str, ArmPair]] | None = None
) -> Summary:
    """The summary of one test set; every arm has the same seeds.

    `pairs` are (metric, arms) to compare; None: every other arm with the reference by every metric, and rivals.
    """
    unit, known, main = _unit(cells), scoring.arms, next(iter(scoring.metrics))
    metrics = {
        name: MetricFacts(metric.title, unit if metric.unit == "mm" else metric.unit, metric.higher_is_better)
        for name, metric in scoring.metrics.items()
    }
    tables = _tables(cells, patients, scoring)
    to_standard, to_rivals = pairs_of(cells, known) if pairs is None else ([], [])
    asked = [(metric, pair) for metric in metrics for pair in to_standard] if pairs is None else list(pairs)
    compared = [
        compare(
            tables[arm][metric],
            tables[reference][metric],
            metric=metric,
            rng=np.random.RandomState(0),
            arm=arm,
            higher_is_better=metrics[metric].higher_is_better,
            reference=reference,
            unit=metrics[metric].unit or "",
        )
        for metric, (arm, reference) in [*asked, *((main, pair) for pair in to_rivals)]
    ]
    compared = _with_verdicts(compared, main)
    counted = [cell.detection for members in cells.values() for cell in members]
    kinds = dict.fromkeys(kind for detection in counted for of in detection.values() for kind in of)
    return Summary(
        task=scoring.name,
        patients=list(patients),
        seeds=[cell.seed for cell in next(iter(cells.values()))],
        metrics=metrics,
        arms={
            arm: {
                name: mean_interval(table, np.random.RandomState(0)).within(*scoring.metrics[name].bounds)
                for name, table in by_metric.items()
            }
            for arm, by_metric in tables.items()
        },
        gan_arms=gan_arms(cells, known),
        comparisons=compared[: len(asked)],
        rivals=compared[len(asked) :],
        detection={kind: detected(cells, patients, kind, scoring.size_limits_mm, unit) for kind in kinds}
        if all(counted)
        else {},
    )


def scores_csv(cells: Cells, patients: Sequence[str], scoring: Scoring) -> str:
    """A row a patient and cell; blank where a metric is not defined for a patient alone.

    Where lengths are not in mm, a last column says in what they are.
    """
    unit = _unit(cells)
    said = {} if unit == "mm" else {"length_unit": unit}
    rows = [
        [arm, cell.seed, patient, *rounded_scores(cell, patient, scoring), *said.values()]
        for arm, members in cells.items()
        for cell in members
        for patient in patients
    ]
    return csv_text(["arm", "seed", "patient", *scoring.metrics, *said], rows)


def rounded_scores(cell: Cell, patient: str, scoring: Scoring) -> list[float | str]:
    """The scores of a row of a table; blank where a metric is not defined for a patient alone."""
    scores = [cell.scores[patient][metric] for metric in scoring.metrics]
    return ["" if score is None else round(score, 5) for score in scores]


def detected(
    cells: Cells, patients: Sequence[str], kind: str, size_limits_mm: Sequence[float], unit: str = "mm"
) -> Detection:
    """Sensitivity by size class and false positives of one kind of what is scored, with intervals for new patients."""
    counts = [next(iter(cells.values()))[0].detection[patient][kind] for patient in patients]
    known = rates(size_limits_mm, unit)
    chances = {name: np.array([rate.chances(c) for c in counts]) for name, rate in known.items()}
    holders = {name: int(np.count_nonzero(of_rate)) for name, of_rate in chances.items()}
    scores: dict[str, dict[str, np.ndarray]] = {arm: {} for arm in cells}  # (patients with chances, seeds)
    for arm, members in cells.items():
        for name, rate in known.items():
            if holders[name] >= LEAST_PATIENTS:
                events = [[rate.events(cell.detection[patient][kind]) for cell in members] for patient in patients]
                scores[arm][name] = ratio_scores(np.array(events), chances[name])
    differences = []
    for arm in scores if REFERENCE in scores else ():
        for name, rate in known.items() if arm != REFERENCE else ():
            found, most = None, rate.bounds[1]
            if name in scores[arm]:  # paired by patient and seed
                paired = scores[arm][name] - scores[REFERENCE][name]
                found = mean_interval(paired, np.random.RandomState(0)).within(-most, most)
            differences.append(RateDifference(arm, REFERENCE, name, found))
    facts = {}
    for name, rate in known.items():
        count, held = int(chances[name].sum()), holders[name]
        facts[name] = RateFacts(rate.title, rate.short, rate.of, count, held, rate.higher_is_better, rate.diameters_mm)
    return Detection(
        dimensions=sorted({c["dimensions"] for c in counts}),
        rates=facts,
        arms={
            arm: {
                name: rate_interval(rate, tables[name], np.random.RandomState(0)) if name in tables else None
                for name, rate in known.items()
            }
            for arm, tables in scores.items()
        },
        differences=differences,
    )


def _tables(cells: Cells, patients: Sequence[str], scoring: Scoring) -> dict[str, dict[str, np.ndarray]]:
    return {
        arm: {metric: scoring.table(members, patients, metric) for metric in scoring.metrics}
        for arm, members in cells.items()
    }


def _unit(cells: Cells) -> str:
    """What the lengths in the cells' scores are in."""
    return length_unit(*(vars(cell) for members in cells.values() for cell in members))


def _with_verdicts(compared: Sequence[Comparison], main: str) -> list[Comparison]:
    """Corrects those by the main metric for each other; the others, and those of ceilings, get no verdict."""
    asked = [c.metric == main and not is_ceiling(c.arm) for c in compared]
    corrected = iter(holm([c for c, is_asked in zip(compared, asked, strict=True) if is_asked]))
    return [next(corrected) if is_asked else without_verdict(c) for c, is_asked in zip(compared, asked, strict=True)]
