"""The summary of an evaluation: what is compared with what, and what a correction for many arms is over."""

import re
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from medaug.errors import DataError
from medaug.evaluation.detection import rates
from medaug.evaluation.metrics import METRICS
from medaug.experiment.arms import ARMS
from medaug.experiment.records import Cell, Summary
from medaug.experiment.summary import Scoring, judged, scores_csv, summarized
from medaug.report.verdicts import verdict_of

PATIENTS = [f"p{number}" for number in range(12)]


DICE = Scoring("segmentation", {"dice": METRICS["dice"]}, ARMS)


def cells_of(gains, seeds=(0, 1)):
    """By arm the seeds' scores: `standard` and a constant gain, with a little noise."""
    rng = np.random.RandomState(0)
    base = rng.uniform(0.4, 0.6, len(PATIENTS))

    def cell(arm, seed):
        scores = {p: {"dice": b + gains[arm] + rng.normal(0, 0.01)} for p, b in zip(PATIENTS, base, strict=True)}
        return Cell(arm=arm, seed=seed, scores=scores)

    return {arm: [cell(arm, seed) for seed in seeds] for arm in gains}


def test_a_ceiling_is_none_of_the_arms_that_the_correction_is_over():
    gains = {"standard": 0.0, "strong": 0.05, "standard+gan": 0.2, "target-labels": 0.3}
    compared = {c.arm: c for c in summarized(cells_of(gains), PATIENTS, DICE).comparisons}
    assert list(compared) == ["strong", "standard+gan", "target-labels"]
    ceiling, best = compared["target-labels"], compared["standard+gan"]
    assert (ceiling.verdict, ceiling.p_adjusted) == ("not judged", None)
    assert (best.verdict, best.n_comparisons) == ("helps", 3)  # two arms, and the GAN against its rival


def test_gan_arms_meet_the_best_arm_without_one_and_no_ceiling():
    gains = {"standard": 0.0, "histogram-match": 0.1, "standard+gan": 0.05, "target-labels": 0.3}
    (rival,) = summarized(cells_of(gains), PATIENTS, DICE).best_rivals
    assert (rival.arm, rival.reference, rival.verdict) == ("standard+gan", "histogram-match", "hurts")
    nothing_better = summarized(cells_of({"standard": 0.1, "standard+gan": 0.2, "none": 0.0}), PATIENTS, DICE)
    assert nothing_better.best_rivals == []


def test_gan_arms_meet_every_arm_without_one():
    gains = {"standard": 0.0, "copy-paste": 0.05, "histogram-match": 0.1, "gan": 0.0, "standard+gan": 0.2}
    rivals = summarized(cells_of(gains), PATIENTS, DICE).to_json()["rivals"]
    found = {(c["arm"], c["reference"]): (c["verdict"], c["best"]) for c in rivals}
    assert found == {
        ("gan", "copy-paste"): ("hurts", False), ("gan", "histogram-match"): ("hurts", True),
        ("standard+gan", "copy-paste"): ("helps", False), ("standard+gan", "histogram-match"): ("helps", True),
    }  # fmt: skip


def test_every_verdict_is_corrected_for_all_the_others_rivals_included():
    gains = {"standard": 0.0, "copy-paste": 0.01, "carvemix": 0.0, "gan": 0.0, "standard+gan": 0.012}
    summary = summarized(cells_of(gains), PATIENTS, DICE)
    asked = [vars(c) for c in (*summary.comparisons, *summary.rivals)]
    assert len(asked) == 4 + 2 * 2 and {c["n_comparisons"] for c in asked} == {8}
    for key in ("p_value", "p_interval"):
        ranked, worst = sorted(asked, key=lambda c: c[key]), 0.0
        for rank, c in enumerate(ranked):
            worst = min(1.0, max(worst, (8 - rank) * c[key]))
            assert c[key.replace("p_value", "p") + "_adjusted"] == pytest.approx(worst)
    words = [c["verdict"] for c in asked if max(c["p_adjusted"], c["p_interval_adjusted"]) > 0.05]
    assert words and set(words) == {"inconclusive"}


def test_what_was_named_beforehand_is_corrected_for_nothing_and_is_the_headline():
    gains = {"standard": 0.0, "copy-paste": 0.02, "standard+gan": 0.02, "gan+copy-paste": 0.04}
    named = replace(DICE, primary=("gan+copy-paste", "copy-paste", "dice"))
    plain, summary = (summarized(cells_of(gains), PATIENTS, scoring) for scoring in (DICE, named))
    assert summary.primary.n_comparisons == 1 and summary.primary.p_adjusted is None
    rest = [c for c in (*summary.comparisons, *summary.rivals) if c != summary.primary]
    assert {c.n_comparisons for c in rest} == {4} and {c.n_comparisons for c in plain.rivals} == {5}
    headline = verdict_of(summary).headline
    assert headline.startswith("gan+copy-paste helps against copy-paste: +") and "named beforehand" in headline
    assert Summary.from_json(summary.to_json()) == summary


def test_a_primary_comparison_by_another_metric_is_told_in_its_own_unit():
    metrics = {name: METRICS[name] for name in ("dice", "hd95_mm")}
    scoring = replace(DICE, metrics=metrics, primary=("standard+gan", "standard", "hd95_mm"))
    cells = {
        arm: [replace(c, scores={p: s | {"hd95_mm": 30 * s["dice"]} for p, s in c.scores.items()}) for c in members]
        for arm, members in cells_of({"standard": 0.0, "standard+gan": 0.2}).items()
    }
    summary = summarized(cells, PATIENTS, scoring)
    headline = verdict_of(summary).headline
    assert headline.startswith(f"standard+gan hurts against standard in {METRICS['hd95_mm'].title}: +")
    assert " mm (" in headline and "points" not in headline
    dice, hd95 = summary.comparisons
    assert (dice.verdict, dice.n_comparisons) == ("helps", 1) and hd95 == summary.primary


def test_settings_are_corrected_together():
    gains = {"standard": 0.0, "standard+gan": 0.02}
    few, many = judged([summarized(cells_of(gains), PATIENTS, DICE)] * 2)
    assert [c.n_comparisons for c in (*few.comparisons, *many.comparisons)] == [2, 2]
    assert few.comparisons[0].p_adjusted == pytest.approx(2 * few.comparisons[0].p_value)


def test_only_the_main_metric_is_asked_for_verdicts_and_the_rest_is_shown_with_intervals():
    scoring = replace(DICE, metrics={"dice": METRICS["dice"], "nsd": METRICS["nsd"]})
    cells = {
        arm: [replace(cell, scores={p: s | {"nsd": s["dice"]} for p, s in cell.scores.items()}) for cell in members]
        for arm, members in cells_of({"standard": 0.0, "standard+gan": 0.2}).items()
    }
    dice, nsd = summarized(cells, PATIENTS, scoring).comparisons
    assert (dice.verdict, dice.n_comparisons, nsd.verdict) == ("helps", 1, "not judged")
    assert nsd.difference == dice.difference and "without a verdict" in nsd.sentence


def test_lengths_of_pictures_without_a_voxel_size_are_in_pixels():
    surfaces = Scoring("segmentation", {"hd95_mm": METRICS["hd95_mm"]}, ARMS, (10.0,))

    def in_pixels(cell):
        scores = {patient: {"hd95_mm": values["dice"]} for patient, values in cell.scores.items()}
        return replace(cell, scores=scores, length_unit="px")

    scored = cells_of({"standard": 0.0, "standard+gan": 0.2})
    cells = {arm: [in_pixels(cell) for cell in members] for arm, members in scored.items()}
    summary = summarized(cells, PATIENTS, surfaces)
    assert summary.metrics["hd95_mm"].unit == "px" and " px (" in summary.comparisons[0].sentence
    table = scores_csv(cells, PATIENTS, surfaces).splitlines()
    assert table[0] == "arm,seed,patient,hd95_mm,length_unit" and all(row.endswith(",px") for row in table[1:])
    assert "sensitivity: under 10 px" in rates((10,), "px")


def test_one_seed_gives_no_verdict_anywhere():
    gains = {"standard": 0.0, "copy-paste": 0.1, "standard+gan": 0.3, "target-labels": 0.4}
    summary = summarized(cells_of(gains, seeds=(0,)), PATIENTS, DICE)
    for c in [*summary.comparisons, *summary.rivals]:
        assert c.verdict == "too few seeds" and c.smallest_detectable is None
        assert "a verdict needs 2 seeds or more" in c.sentence


def verdict(**gains):
    return verdict_of(summarized(cells_of(gains), PATIENTS, DICE))


@pytest.mark.parametrize("order", list(permutations(["standard", "copy-paste", "standard+gan", "gan+copy-paste"])))
def test_the_headline_sets_the_best_rival_with_the_gan_against_that_rival_whatever_the_order(order):
    gains = {"standard": 0.0, "copy-paste": 0.2, "standard+gan": 0.4, "gan+copy-paste": 0.3}
    found = verdict(**{arm: gains[arm] for arm in order})
    assert found.tone == "helps" and re.fullmatch(
        r"copy-paste is the best rival \(Dice 0\.\d{3}\); gan\+copy-paste helps against it: "
        r"\+(9|10)\.\d points \(95% interval \+\d+\.\d to \+\d+\.\d\)", found.headline,
    )  # fmt: skip
    assert re.search(r"standard\+gan \(\S+\) helps against copy-paste", found.sentence), "the rest stands below"
    assert found.sentence.index("gan+copy-paste helps dice") < found.sentence.index("against standard")


@pytest.mark.parametrize(
    ("gain", "word", "said"),
    [(0.3, "helps", "helps against it"), (0.1, "hurts", "hurts against it"), (0.2, "inconclusive", "is inconclusive")],
)
def test_the_verdict_is_that_of_the_gan_on_top_of_the_best_rival(gain, word, said):
    found = verdict(**{"standard": 0.0, "copy-paste": 0.2, "gan+copy-paste": gain, "standard+gan": 0.4})
    assert found.tone == word and f"; gan+copy-paste {said}" in found.headline


def test_a_twin_of_the_best_rival_that_was_not_trained_is_named_and_nothing_else_is_judged_in_its_place():
    found = verdict(**{"standard": 0.0, "copy-paste": 0.2, "standard+gan": 0.3})
    assert found.tone == "info" and found.headline.startswith("copy-paste is the best rival (Dice 0.")
    assert found.headline.endswith(
        "; gan+copy-paste was not trained: add it to evaluation.arms to see what the GAN adds"
    )
    assert "standard+gan helps dice against copy-paste" in found.sentence
    written = verdict(**{"standard": 0.0, "strong": 0.2, "standard+gan-offline": 0.3})
    assert "; gan-offline+strong was not trained: add it" in written.headline, "of the kind that was asked for"


@pytest.mark.parametrize(
    ("gains", "headline"),
    [
        ({"standard": 0.0, "copy-paste": 0.3}, r"copy-paste is the best rival .*; no arm with a GAN was trained"),
        ({"standard+gan": 0.0}, "No rival was trained: nothing says what the GAN adds"),
        ({"none": 0.0, "gan": 0.3}, r"none is the only rival .*; gan helps against it: \+(29|30)\.\d points"),
        ({"standard": 0.1, "removal": 0.3}, r"standard is the only rival .*; removal helps against it"),
        (
            {"standard": 0.1, "none": 0.0, "target-labels": 0.5, "gan-offline": 0.2},
            r"standard is the best rival .*; standard\+gan-offline was not trained",
        ),
    ],
)  # fmt: skip
def test_the_headline_judges_no_other_arm_and_no_ceiling(gains, headline):
    assert re.match(headline, verdict(**gains).headline)


def test_every_rival_stands_beside_its_twins_the_best_one_first():
    gains = {
        "standard": 0.0,
        "copy-paste": 0.2,
        "standard+gan": 0.1,
        "gan+copy-paste": 0.3,
        "standard+gan-offline": 0.1,
    }
    pairs = [(c.reference, c.arm) for c in summarized(cells_of(gains), PATIENTS, DICE).with_and_without]
    assert pairs == [
        ("copy-paste", "gan+copy-paste"),
        ("standard", "standard+gan"),
        ("standard", "standard+gan-offline"),
    ]


def test_a_summary_is_read_as_it_was_written_and_what_earlier_versions_did_not_write_is_filled_in():
    summary = summarized(cells_of({"standard": 0.0, "copy-paste": 0.1, "standard+gan": 0.2}), PATIENTS, DICE)
    written = summary.to_json()
    assert Summary.from_json(written) == summary
    for key in ("gan_arms", "unit"):
        written.pop(key, None)
    for comparison in (*written["comparisons"], *written["rivals"]):
        for key in ("estimate", "n_comparisons", "best"):
            comparison.pop(key, None)
    old = Summary.from_json(written)
    assert old.gan_arms == ["standard+gan"] and old.best == "copy-paste"
    assert {c.estimate.patients_freedom for c in old.comparisons} == {len(PATIENTS) - 1}
    with pytest.raises(DataError, match="found 'seeds': Field required"):
        Summary.from_json({key: value for key, value in written.items() if key != "seeds"})
