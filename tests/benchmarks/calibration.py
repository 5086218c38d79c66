"""How often verdicts are false where nothing is to be found, and how often they are right where something is.

Simulates evaluations as the product sums them up: every arm has its own network a seed (and fold), all are scored on
the same patients. The score of arm a on patient p with seed s is patient_p + (a, p) + (a, s) + (a, p, s), all normal,
so that a difference of two arms has the standard deviations of its regime. `make calibration` prints the table of
docs/benchmark.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from medaug.evaluation.intervals import SeedSpread
from medaug.evaluation.statistics import Comparison, compare, holm
from medaug.experiment.arms import pairs_of
from medaug.progress import track

EFFECT, SMALLEST_RELEVANT = 0.05, 0.01
PATIENTS_SD = 0.15
"""Of what all arms share; it cancels."""
RIVALS = {1: ["standard"], 3: ["standard", "copy-paste"], 7: ["standard", "strong", "copy-paste", "carvemix"]}
"""By the number of arms beside the reference: the rivals, each of which has its twin with a GAN."""
TWINS = {"standard": "standard+gan", "strong": "gan+strong", "copy-paste": "gan+copy-paste", "carvemix": "gan+carvemix"}
REGIMES = {"tumor": (0.12, 0.02, 0.10), "organ": (0.02, 0.02, 0.02)}
"""Standard deviations of a difference in the Dice of tumors or organs: between patients, seeds, and the rest."""
HEADINGS = ("interval excludes 0", "interval covers", "any false verdict", "effect found alone", "after Holm")


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    regime: str
    patients: int
    seeds: int
    arms: int
    folds: int = 1


class Rates(NamedTuple):
    """Shares of comparisons or evaluations.

    Attributes:
        excludes, misses: intervals beside the truth, without and with an effect.
        any_false: evaluations with any false verdict.
        alone, power: in how many the effect is found, before and after the correction for all others.
    """

    excludes: float
    misses: float
    any_false: float
    alone: float
    power: float


def family(setting: Setting, effect: float, rng: np.random.RandomState) -> list[Comparison]:
    """All comparisons of one simulated evaluation, in which every arm with a GAN is better by `effect`."""
    own, seed, rest = (sd / np.sqrt(2) for sd in REGIMES[setting.regime])
    rivals = RIVALS[setting.arms]
    arms = [*rivals, *(TWINS[rival] for rival in rivals)]
    patients = 0.6 + PATIENTS_SD * rng.normal(size=(setting.patients, 1))
    fold = np.arange(setting.patients) % setting.folds
    tables = {}
    for arm in arms:
        networks = seed * rng.normal(size=(setting.folds, setting.seeds))
        table = patients + own * rng.normal(size=patients.shape) + networks[fold]
        table = table + rest * rng.normal(size=(setting.patients, setting.seeds))
        tables[arm] = table + effect * ("gan" in arm)
    spread = SeedSpread.of(tables.values())
    to_standard, to_rivals = pairs_of(arms)
    options = {"metric": "dice", "higher_is_better": True, "smallest_relevant": SMALLEST_RELEVANT}
    return [
        compare(tables[arm], tables[other], spread=spread, arm=arm, reference=other, **options)
        for arm, other in [*to_standard, *to_rivals]
    ]


def rates(setting: Setting, families: int) -> Rates:
    """What so many simulated evaluations without an effect, and half as many with one, come to."""
    rng = np.random.RandomState(0)
    none = [family(setting, 0.0, rng) for _ in range(families)]
    some = [family(setting, EFFECT, rng) for _ in range(families // 2)]

    def truth(c: Comparison) -> float:
        return EFFECT * (("gan" in c.arm) - ("gan" in c.reference))

    gan = [next(n for n, c in enumerate(of) if c.arm == "standard+gan") for of in some]
    return Rates(
        float(np.mean([c.difference.excludes(0.0) for of in none for c in of])),
        float(np.mean([c.difference.excludes(truth(c)) for of in some for c in of])),
        float(np.mean([any(c.verdict in ("helps", "hurts") for c in holm(of)) for of in none])),
        float(np.mean([of[n].verdict == "helps" for of, n in zip(some, gan, strict=True)])),
        float(np.mean([holm(of)[n].verdict == "helps" for of, n in zip(some, gan, strict=True)])),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", type=int, default=300, help="simulated evaluations a row")
    asked = parser.parse_args()
    settings = [
        Setting(regime, patients, seeds, arms)
        for regime in REGIMES
        for arms in RIVALS
        for seeds in (2, 3, 5)
        for patients in (5, 10, 33, 100)
    ]
    settings += [Setting(regime, 46, seeds, 3, folds=5) for regime in REGIMES for seeds in (2, 3)]
    found = []
    with track("simulate", len(settings)) as tracker:
        for setting in settings:
            found.append(rates(setting, asked.families))
            tracker.advance()
    columns = ["scores", "patients", "seeds", "arms", *HEADINGS]
    print(f"{asked.families} evaluations a row, half as many with an effect of {EFFECT}; percent")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for s, r in zip(settings, found, strict=True):
        folds = f", {s.folds} folds" if s.folds > 1 else ""
        cells = [r.excludes, 1 - (r.excludes + r.misses) / 2, r.any_false, r.alone, r.power]
        shown = " | ".join(f"{100 * value:.1f}" for value in cells)
        print(f"| {s.regime}{folds} | {s.patients} | {s.seeds} | {s.arms} | {shown} |")


if __name__ == "__main__":
    main()
