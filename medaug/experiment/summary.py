"""From the cells of an evaluation to its summary: figures by arm with intervals, arms compared, scores as a table.

A cell is one trained network: {"arm", "seed", "scores": {patient: {metric: value}}, ...}. Every test set of an
evaluation has one summary:

{"task", "patients", "seeds", "metrics": {metric: {"title", "unit", "higher_is_better"}}, "arms": {arm: {metric:
interval}}, "gan_arms": [...], "comparisons": [...], "rivals": [...]}: `comparisons` are of every arm against the
reference, `rivals` of every GAN arm against every other arm that needs no GAN, with "best" for the best of those where
it is better than the reference (see `best_rivals`). Where the cells counted lesions there is "detection" too (see
`detection`).

Those by the main metric have a verdict, and are corrected for each other, rivals included: `asked_pairs` says which.
Those by other metrics, and of ceilings, are shown with their intervals, without a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from medaug.audits.measures.similarity import IMAGE_METRICS
from medaug.data.atomic import write_json, write_text
from medaug.data.tables import csv_text
from medaug.evaluation.intervals import mean_interval
from medaug.evaluation.statistics import Comparison, compare, holm, without_verdict
from medaug.experiment.arms import ARMS, REFERENCE, Arm
from medaug.experiment.cells import score_table
from medaug.experiment.detection import Cells, detection_summary
from medaug.runs.folder import RunDir
from medaug.volumes import length_unit

Tables = Mapping[str, Mapping[str, np.ndarray]]
"""By arm and metric, (patients, seeds)."""
ArmPair = tuple[str, str]
"""An arm, and the reference that it is compared with."""


class Scoring(Protocol):
    """What is known of the scores: a name, the metrics (the main one first), and their tables.

    `size_limits_mm` parts the lesions that cells counted into size classes; where none did, nobody asks for it.
    """

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, Any]: ...

    @property
    def size_limits_mm(self) -> tuple[float, ...]: ...

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray: ...


def gan_arms(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> list[str]:
    """Those with synthetic samples, the one of main interest first, whatever the order and the scores.

    An arm that differs from the reference by the GAN alone says what the GAN does; one with a baseline or a transform
    of its own besides, or without the standard augmentation, does not.
    """
    order = list(known)

    def interest(name: str) -> tuple[bool, int]:
        arm = known[name]
        return not arm.standard or arm.baseline is not None or arm.own is not None, order.index(name)

    return sorted((name for name in arms if name in known and known[name].synthetic), key=interest)


def pairs_of(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> tuple[list[ArmPair], list[ArmPair]]:
    """Which arms are compared, as (arm, reference): all with the reference, and GAN arms with their rivals.

    Rivals are all that need no GAN, but the reference, which is among the first, and ceilings, which are no method.
    """
    names = list(arms)
    to_standard = [(arm, REFERENCE) for arm in names if arm != REFERENCE and REFERENCE in names]
    plain = [arm for arm in _plain(names, known) if arm != REFERENCE]
    gan = [arm for arm in names if arm in known and known[arm].synthetic]
    return to_standard, [(arm, rival) for arm in gan for rival in plain]


def n_asked(arms: Iterable[str], known: Mapping[str, Arm] = ARMS) -> int:
    """How many verdicts are asked, each of which is corrected for all."""
    return sum(not _is_ceiling(arm) for pairs in pairs_of(arms, known) for arm, _ in pairs)


def write_summary(run: RunDir, cells: Cells, patients: Sequence[str], task: Scoring) -> None:
    """`summary.json` and `scores.csv` of an evaluation with one test set."""
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, task))
    write_json(run.evaluation / "summary.json", summarized(cells, patients, task))


def write_domain_summary(run: RunDir, cells: Cells, tasks: Mapping[str, Scoring]) -> None:
    """`summary.json` and a table of scores for each test set, from its cells."""
    tests = {}
    for name, task in tasks.items():
        of_test = {arm: [cell | cell["tests"][name] for cell in members] for arm, members in cells.items()}
        patients = sorted(next(iter(of_test.values()))[0]["scores"])
        write_text(run.evaluation / f"scores-{name}.csv", scores_csv(of_test, patients, task))
        tests[name] = summarized(of_test, patients, task)
    lesions = _lesions([cell["lesions"] for members in cells.values() for cell in members if "lesions" in cell])
    write_json(
        run.evaluation / "summary.json",
        {"task": "segmentation", "tests": tests} | ({"lesions": lesions} if lesions else {}),
    )


def write_translation_summary(run: RunDir, cells: Cells, facts: dict[str, Any]) -> None:
    """Scores by arm with intervals, and for every metric the method against the better of the trivial translations."""
    scoring = _ImageScoring()
    patients = list(next(iter(cells.values()))[0]["scores"])
    method, *trivial = cells

    def against_the_better(tables: Tables, metric: str) -> list[ArmPair]:
        better = max if IMAGE_METRICS[metric].higher_is_better else min
        return [(method, better(trivial, key=lambda arm: float(tables[arm][metric].mean())))]

    summary = summarized(cells, patients, scoring, against_the_better) | {"gan_arms": [method]}
    write_text(run.evaluation / "scores.csv", scores_csv(cells, patients, scoring))
    write_json(run.evaluation / "summary.json", summary | facts)


def summarized(
    cells: Cells, patients: Sequence[str], task: Scoring, pairs: Callable[[Tables, str], list[ArmPair]] | None = None
) -> dict[str, Any]:
    """The summary of one test set.

    Args:
        cells: in every arm the same seeds.
        task: what the cells were trained for.
        pairs: which arms are compared with which, by metric; none: every other arm with the reference.
    """
    unit = length_unit(*(cell for members in cells.values() for cell in members))
    units = {name: unit if metric.unit == "mm" else metric.unit for name, metric in task.metrics.items()}
    tables = {
        arm: {metric: task.table(members, patients, metric) for metric in task.metrics}
        for arm, members in cells.items()
    }
    arms = {
        arm: {metric: _interval(task, metric, table) for metric, table in by_metric.items()}
        for arm, by_metric in tables.items()
    }
    known, main = getattr(task, "arms", ARMS), next(iter(task.metrics))  # with the user's own, where there can be any
    to_standard, rivals = pairs_of(cells, known) if pairs is None else ([], [])
    asked = [
        (metric, pair) for metric in task.metrics for pair in (to_standard if pairs is None else pairs(tables, metric))
    ]
    compared = [
        _compare(task, tables, metric, *pair, units[metric])
        for metric, pair in [*asked, *((main, pair) for pair in rivals)]
    ]
    compared, best = _with_verdicts(compared, main), _best_plain(task, tables, known)
    return {
        "task": task.name,
        "patients": list(patients),
        "seeds": [cell["seed"] for cell in next(iter(cells.values()))],
        "metrics": {
            name: {"title": m.title, "unit": units[name], "higher_is_better": m.higher_is_better}
            for name, m in task.metrics.items()
        },
        "arms": arms,
        "gan_arms": gan_arms(cells, known),
        "comparisons": [asdict(c) for c in compared[: len(asked)]],
        "rivals": [asdict(c) | {"best": c.reference == best} for c in compared[len(asked) :]],
    } | _detection(cells, patients, task, unit)


def best_rivals(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every GAN arm against the best arm without one; none where that is the reference."""
    return [c for c in summary["rivals"] if c.get("best", True)]  # older summaries hold no others


def scores_csv(cells: Cells, patients: Sequence[str], task: Scoring) -> str:
    """A row a patient and cell; blank where a metric is not defined for a patient alone.

    Where lengths are not in mm, a last column says in what they are.
    """
    rows, unit = [], length_unit(*(cell for members in cells.values() for cell in members))
    said = {} if unit == "mm" else {"length_unit": unit}
    for arm, members in cells.items():
        for cell in members:
            for patient in patients:
                scores = [cell["scores"][patient][metric] for metric in task.metrics]
                rows.append(
                    [arm, cell["seed"], patient, *("" if x is None else round(x, 5) for x in scores), *said.values()]
                )
    return csv_text(["arm", "seed", "patient", *task.metrics, *said], rows)


def _detection(cells: Cells, patients: Sequence[str], task: Scoring, unit: str) -> dict[str, Any]:
    if not all("detection" in cell for members in cells.values() for cell in members):
        return {}
    return {"detection": detection_summary(cells, patients, task.size_limits_mm, unit)}


def _lesions(parts: Sequence[dict[str, dict[str, dict[str, int]]]]) -> dict[str, dict[str, int]]:
    """By kind of image the counts of all patients and cells together."""
    totals: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, by_patient in part.items():
            for counts in by_patient.values():
                totals.setdefault(kind, Counter()).update(counts)
    return {kind: dict(total) for kind, total in totals.items()}


class _ImageScoring:
    """Image metrics, a column a seed (there is one)."""

    name = "translation"
    metrics = IMAGE_METRICS
    size_limits_mm = ()

    def table(self, cells: Sequence[dict[str, Any]], patients: Sequence[str], metric: str) -> np.ndarray:
        return score_table(cells, patients, metric)


def _with_verdicts(compared: Sequence[Comparison], main: str) -> list[Comparison]:
    """Those by the main metric corrected for each other; the others, and those of ceilings, without a verdict."""
    asked = [c.metric == main and not _is_ceiling(c.arm) for c in compared]
    corrected = iter(holm([c for c, is_asked in zip(compared, asked, strict=True) if is_asked]))
    return [next(corrected) if is_asked else without_verdict(c) for c, is_asked in zip(compared, asked, strict=True)]


def _best_plain(task: Scoring, tables: Tables, known: Mapping[str, Arm]) -> str:
    """By the main metric, of the arms that need no GAN."""
    main = next(iter(task.metrics))
    sign = 1 if task.metrics[main].higher_is_better else -1
    return max(_plain(tables, known), key=lambda arm: sign * float(tables[arm][main].mean()), default=REFERENCE)


def _plain(arms: Iterable[str], known: Mapping[str, Arm]) -> list[str]:
    """Those that need no GAN, without ceilings."""
    return [arm for arm in arms if arm in known and not (known[arm].synthetic or _is_ceiling(arm))]


def _is_ceiling(arm: str) -> bool:
    return arm in ARMS and ARMS[arm].target


def _interval(task: Scoring, metric: str, table: np.ndarray) -> dict[str, float]:
    return asdict(mean_interval(table, np.random.RandomState(0)).within(*task.metrics[metric].bounds))


def _compare(task: Scoring, tables: Tables, metric: str, arm: str, reference: str, unit: str) -> Comparison:
    return compare(
        tables[arm][metric],
        tables[reference][metric],
        metric=metric,
        rng=np.random.RandomState(0),
        arm=arm,
        higher_is_better=task.metrics[metric].higher_is_better,
        reference=reference,
        unit=unit,
    )
