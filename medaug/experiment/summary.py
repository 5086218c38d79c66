"""Makes the summary of an evaluation from its cells: figures by arm with intervals, arms compared, scores as a table.

Every test set has one `Summary` (see `records`). Comparisons by the main metric have a verdict, and are corrected for
each other, rivals, test sets and settings of a benchmark included: `arms.pairs_of` says which. The one that was named
beforehand (`evaluation.primary`) is corrected for none. Those by other metrics, and of ceilings, are shown with their
intervals, without a verdict. Where the cells counted lesions, they are summed up too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medaug.audits.measures.similarity import IMAGE_METRICS, ImageMetric
from medaug.audits.scans import Figures, averaged
from medaug.config import PipelineConfig
from medaug.config.evaluation import REFERENCE
from medaug.data.atomic import csv_text, write_json, write_text
from medaug.errors import ConfigError
from medaug.evaluation.detection import LEAST_PATIENTS, interval_of, rates, ratio_scores
from medaug.evaluation.intervals import SeedSpread, mean_interval
from medaug.evaluation.metrics import METRICS, POOLED_METRICS, Metric, Scored, pseudo_values
from medaug.evaluation.statistics import Comparison, compare, holm, without_verdict
from medaug.experiment.arms import ARMS, Arm, ArmPair, arms_of, gan_arms, is_ceiling, pairs_of
from medaug.experiment.records import (
    Cell,
    Detection,
    Evaluation,
    Json,
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

    Attributes:
        size_limits_mm: parts the lesions into size classes, where cells count any.
        smallest_relevant: difference in the main metric.
        primary: (arm, against, metric) that was named beforehand.
        gan_seeds: whether each seed has a GAN training of its own.
    """

    name: str
    metrics: Mapping[str, Metric | ImageMetric]
    arms: Mapping[str, Arm]
    size_limits_mm: tuple[float, ...] = ()
    smallest_relevant: float = 0.0
    primary: tuple[str, str, str] | None = None
    gan_seeds: bool = False

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

    Raises:
        ConfigError: if the primary comparison is by a metric that there is not.
    """
    settings, scored = config.evaluation, config.scored
    metrics = POOLED_METRICS if settings.task == "classification" else METRICS
    if settings.task == "segmentation" and len(scored) > 1:
        metrics = METRICS | {
            f"{name}{CLASS_SEPARATOR}{kind}": replace(metric, title=f"{metric.title}, {kind}")
            for kind in scored
            for name, metric in METRICS.items()
        }
    asked = settings.primary
    named = None if asked is None else (asked.arm, asked.against, asked.metric or next(iter(metrics)))
    if named and named[2] not in metrics:
        raise ConfigError(f"evaluation.primary.metric: found {named[2]}; expected one of: {', '.join(metrics)}")
    return Scoring(
        settings.task,
        metrics,
        arms_of(settings),
        settings.size_limits_mm,
        settings.smallest_relevant,
        named,
        settings.gan_seeds,
    )


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
    first = list(tests).index("target") if "target" in tests else 0
    tests = dict(zip(tests, judged(list(tests.values()), first), strict=True))
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
    figures = {
        arm: [_figures(by_patient) for by_patient in of_arm[0].hounsfield.values()] for arm, of_arm in cells.items()
    }
    in_hu = {arm: averaged(of_arm) for arm, of_arm in figures.items() if of_arm}
    summary = replace(
        summarized(cells, patients, scoring, pairs), gan_arms=[method], translation=replace(facts, hounsfield=in_hu)
    )
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, scoring))
    write_json(run.evaluation / "summary.json", summary.to_json())


def _figures(in_hu: Json) -> Figures:
    """A patient's figures in HU; a bone Dice of None, of a patient without bone, is left out."""
    return {name: figure for name, figure in in_hu.items() if figure is not None}


def summarized(
    cells: Cells, patients: Sequence[str], scoring: Scoring, pairs: Sequence[tuple[str, ArmPair]] | None = None
) -> Summary:
    """The summary of one test set, with verdicts that are corrected for each other; every arm has the same seeds.

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
    spreads = {name: SeedSpread.of(table[name] for table in tables.values()) for name in metrics}

    def compared(metric: str, pair: ArmPair) -> Comparison:
        arm, reference = pair
        facts = metrics[metric]
        return compare(
            tables[arm][metric],
            tables[reference][metric],
            spread=spreads[metric],
            metric=metric,
            arm=arm,
            reference=reference,
            higher_is_better=facts.higher_is_better,
            smallest_relevant=scoring.smallest_relevant if metric == main and facts.unit is None else 0.0,
            unit=facts.unit or "",
        )

    counted = [cell.detection for members in cells.values() for cell in members]
    kinds = dict.fromkeys(kind for detection in counted for of in detection.values() for kind in of)
    summary = Summary(
        task=scoring.name,
        patients=list(patients),
        seeds=[cell.seed for cell in next(iter(cells.values()))],
        metrics=metrics,
        arms={
            arm: {
                name: mean_interval(table, spreads[name]).within(*scoring.metrics[name].bounds)
                for name, table in by_metric.items()
            }
            for arm, by_metric in tables.items()
        },
        gan_arms=gan_arms(cells, known),
        gan_seeds=scoring.gan_seeds,
        comparisons=[compared(metric, pair) for metric, pair in asked],
        rivals=[compared(main, pair) for pair in to_rivals],
        primary=compared(scoring.primary[2], scoring.primary[:2]) if scoring.primary else None,
        detection={kind: detected(cells, patients, kind, scoring.size_limits_mm, unit) for kind in kinds}
        if all(counted)
        else {},
    )
    return judged([summary])[0]


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
    counted = {name: [by[name] for by in scores.values() if name in by] for name in known}
    spreads = {name: SeedSpread.of(tables) for name, tables in counted.items() if tables}
    differences = []
    for arm in scores if REFERENCE in scores else ():
        for name, rate in known.items() if arm != REFERENCE else ():
            found, most = None, rate.bounds[1]
            if name in scores[arm]:  # paired by patient and seed
                paired = scores[arm][name] - scores[REFERENCE][name]
                found = mean_interval(paired, spreads[name].of_difference).within(-most, most)
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
                name: interval_of(rate, tables[name], chances[name], spreads[name]) if name in tables else None
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


def judged(summaries: Sequence[Summary], first: int = 0) -> list[Summary]:
    """The summaries with verdicts that are corrected for each other, all test sets and settings together.

    By the main metric, without ceilings; others get no verdict. What was named beforehand is asked in the `first`
    summary, alone, and is one of the others in the rest.
    """
    named = summaries[first].primary
    alone = named and (first, named.arm, named.reference, named.metric)

    def is_alone(number: int, c: Comparison) -> bool:
        return (number, c.arm, c.reference, c.metric) == alone

    def is_asked(number: int, c: Comparison) -> bool:
        return c.metric == summaries[number].main and not is_ceiling(c.arm) and not is_alone(number, c)

    everything = [(number, c) for number, of in enumerate(summaries) for c in (*of.comparisons, *of.rivals)]
    corrected = iter(holm([c for number, c in everything if is_asked(number, c)]))

    def verdict(number: int, c: Comparison) -> Comparison:
        if is_asked(number, c):
            return next(corrected)
        return named if named and is_alone(number, c) else without_verdict(c)

    return [
        replace(
            of,
            comparisons=[verdict(number, c) for c in of.comparisons],  # in the order of `everything`
            rivals=[verdict(number, c) for c in of.rivals],
            primary=named if number == first else None,
        )
        for number, of in enumerate(summaries)
    ]
