"""The summary of an evaluation: what is compared with what, and what a correction for many arms is over."""

import numpy as np
import pytest

from medaug.evaluation import METRICS
from medaug.stages.downstream.summary import best_rivals, summarized

PATIENTS = [f"p{number}" for number in range(8)]


class DiceOnly:
    name = "segmentation"
    metrics = {"dice": METRICS["dice"]}

    def table(self, cells, patients, metric):
        return np.array([[cell["scores"][patient][metric] for cell in cells] for patient in patients])


def cells_of(gains):
    """By arm two seeds of scores: `standard` and a constant gain, with a little noise."""
    rng = np.random.RandomState(0)
    base = rng.uniform(0.4, 0.6, len(PATIENTS))
    return {
        arm: [
            {
                "seed": seed,
                "scores": {p: {"dice": b + gain + rng.normal(0, 0.01)} for p, b in zip(PATIENTS, base, strict=True)},
            }
            for seed in (0, 1)
        ]
        for arm, gain in gains.items()
    }


def test_a_ceiling_is_none_of_the_arms_that_the_correction_is_over():
    gains = {"standard": 0.0, "strong-intensity": 0.05, "standard+gan": 0.2, "target-labels": 0.3}
    compared = {c["arm"]: c for c in summarized(cells_of(gains), PATIENTS, DiceOnly())["comparisons"]}
    assert list(compared) == ["strong-intensity", "standard+gan", "target-labels"]
    assert compared["target-labels"]["p_adjusted"] is None
    best = compared["standard+gan"]
    assert best["p_adjusted"] == pytest.approx(2 * best["p_value"]) and best["verdict"] == "helps"


def test_gan_arms_meet_the_best_arm_without_one_and_no_ceiling():
    gains = {"standard": 0.0, "histogram-match": 0.1, "standard+gan": 0.05, "target-labels": 0.3}
    (rival,) = best_rivals(summarized(cells_of(gains), PATIENTS, DiceOnly()))
    assert (rival["arm"], rival["reference"], rival["verdict"]) == ("standard+gan", "histogram-match", "hurts")
    nothing_better = summarized(cells_of({"standard": 0.1, "standard+gan": 0.2, "none": 0.0}), PATIENTS, DiceOnly())
    assert best_rivals(nothing_better) == []


def test_gan_arms_meet_every_arm_without_one():
    gains = {"standard": 0.0, "copy-paste": 0.05, "histogram-match": 0.1, "gan": 0.0, "standard+gan": 0.2}
    rivals = summarized(cells_of(gains), PATIENTS, DiceOnly())["rivals"]
    found = {(c["arm"], c["reference"]): (c["verdict"], c["best"]) for c in rivals}
    assert found == {
        ("gan", "copy-paste"): ("hurts", False), ("gan", "histogram-match"): ("hurts", True),
        ("standard+gan", "copy-paste"): ("helps", False), ("standard+gan", "histogram-match"): ("helps", True),
    }  # fmt: skip
