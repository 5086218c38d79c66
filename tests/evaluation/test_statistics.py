"""The verdict: right if there is an effect, silent if there is none, repeatable; and how many patients would tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaug.errors import DataError
from medaug.evaluation.intervals import (
    Estimate,
    Interval,
    SeedSpread,
    logit_interval,
    mean_interval,
    rate_interval,
    share_interval,
)
from medaug.evaluation.statistics import compare, holm, lacking, least_patients, patients_needed


def scores(rng, patients, seeds, patient_sd, seed_sd, rest_sd, mean=0.0):
    """Crossed random effects (P, S) with skewed patients."""
    by_patient = patient_sd * (rng.gamma(2.0, size=(patients, 1)) - 2.0) / np.sqrt(2.0)
    return mean + by_patient + seed_sd * rng.normal(size=(1, seeds)) + rest_sd * rng.normal(size=(patients, seeds))


def verdict_of(differences, higher_is_better=True, **options):
    reference = np.full(differences.shape, 0.5)
    return compare(
        reference + differences,
        reference,
        metric="dice",
        higher_is_better=higher_is_better,
        spread=SeedSpread.of([differences / np.sqrt(2)]),
        **options,
    )


def test_a_clear_gain_helps_and_a_clear_loss_hurts():
    gain = scores(np.random.RandomState(0), 30, 3, 0.02, 0.002, 0.01, mean=0.05)
    assert verdict_of(gain).verdict == "helps"
    assert verdict_of(-gain).verdict == "hurts"


def test_for_a_distance_less_is_better():
    gain = scores(np.random.RandomState(0), 30, 3, 0.02, 0.002, 0.01, mean=0.05)
    assert verdict_of(gain, higher_is_better=False).verdict == "hurts"
    assert verdict_of(-gain, higher_is_better=False).verdict == "helps"


def test_a_gain_that_two_seeds_disagree_on_is_inconclusive():
    rng = np.random.RandomState(0)
    differences = np.array([[0.035, -0.013]]) + 0.02 * rng.normal(size=(50, 2))
    result = verdict_of(differences)
    assert result.verdict == "inconclusive"
    assert result.difference.low < 0 < result.difference.high


def test_identical_arms_are_inconclusive_with_p_one():
    result = verdict_of(np.zeros((10, 3)))
    assert (result.verdict, result.p_value, result.difference.mean) == ("inconclusive", 1.0, 0.0)


def test_the_same_seed_gives_the_same_comparison():
    differences = scores(np.random.RandomState(0), 20, 3, 0.05, 0.01, 0.02)
    assert verdict_of(differences) == verdict_of(differences)


def test_pairing_removes_what_patients_share():
    rng = np.random.RandomState(0)
    reference = scores(rng, 25, 3, 0.2, 0.0, 0.0, mean=0.6)
    arm = reference + 0.02 + 0.005 * rng.normal(size=reference.shape)
    result = compare(arm, reference, metric="dice", higher_is_better=True)
    alone = mean_interval(arm)
    assert result.verdict == "helps"
    assert result.difference.high - result.difference.low < 0.2 * (alone.high - alone.low)


def test_the_sentence_states_interval_counts_and_the_detectable_difference():
    differences = scores(np.random.RandomState(0), 30, 3, 0.02, 0.002, 0.01, mean=0.05)
    result = verdict_of(differences, arm="insertion", reference="copy-paste")
    for part in ("insertion helps dice against copy-paste", "95% interval", "30 patients", "3 seeds", "80% of repeats"):
        assert part in result.sentence
    assert f"{result.difference.low:+.3f}" in result.sentence
    assert f"{result.smallest_detectable:.3f}" in result.sentence
    assert "One seed" in verdict_of(differences[:, :1]).sentence


@pytest.mark.parametrize(
    ("patients", "seeds", "patient_sd", "seed_sd"), [(20, 3, 0.1, 0.01), (40, 3, 0.03, 0.02), (12, 5, 0.1, 0.0)]
)
def test_without_an_effect_false_verdicts_stay_near_five_percent(patients, seeds, patient_sd, seed_sd):
    rng = np.random.RandomState(1)
    draws = [scores(rng, patients, seeds, patient_sd, seed_sd, 0.04) for _ in range(400)]
    wrong = np.mean([mean_interval(d).excludes(0.0) for d in draws])
    assert wrong <= 0.085  # nominal 0.05, standard error of 400 draws 0.011, skewed patients


@pytest.mark.parametrize(
    ("patients", "seeds", "patient_sd", "seed_sd"), [(20, 3, 0.1, 0.01), (30, 5, 0.05, 0.02), (40, 1, 0.05, 0.0)]
)
def test_intervals_cover_the_true_difference_in_about_ninety_five_percent(patients, seeds, patient_sd, seed_sd):
    rng = np.random.RandomState(3)
    draws = [scores(rng, patients, seeds, patient_sd, seed_sd, 0.04, mean=0.03) for _ in range(300)]
    covered = np.mean([not mean_interval(d).excludes(0.03) for d in draws])
    assert covered == pytest.approx(0.95, abs=0.038)  # three standard errors of 300 draws


def test_five_arms_without_an_effect_seldom_give_a_verdict_though_seeds_vary():
    """Wilcoxon's p values take the seeds at hand for all there are: alone they let every fifth family through."""
    rng, families = np.random.RandomState(2), 80
    wrong = alone = 0
    for _ in range(families):
        arms = [verdict_of(scores(rng, 40, 5, 0.03, 0.02, 0.04)) for _ in range(5)]
        corrected = holm(arms)
        wrong += any(c.verdict != "inconclusive" for c in corrected)
        alone += any(c.p_adjusted <= 0.05 and c.difference.excludes(0.0) for c in corrected)
    assert wrong / families <= 0.125  # nominal 0.05 and three standard errors of 80 families
    assert alone > wrong


def test_the_p_value_of_the_interval_says_which_intervals_exclude_zero():
    rng = np.random.RandomState(4)
    for _ in range(20):
        estimate = Estimate.of(scores(rng, 15, 3, 0.05, 0.01, 0.03, mean=0.02))
        for alpha in (0.3, 0.1, 0.05, 0.002):
            assert estimate.interval(1 - alpha).excludes(0.0) == (estimate.p_value() <= alpha)
    assert 0 <= Estimate.of(scores(rng, 30, 3, 0.01, 0.0, 0.01, mean=0.2)).p_value() < 1e-4
    assert Estimate.of(np.zeros((5, 3))).p_value() == 1.0
    assert Estimate.of(np.full((5, 3), 0.1)).p_value() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("patients_freedom", "seeds_freedom"), [(4, 1), (32, 2), (99, 16)])
def test_an_interval_is_that_of_the_sum_of_two_t_variables(patients_freedom, seeds_freedom):
    rng, draws = np.random.RandomState(0), 400_000
    estimate = Estimate(0.1, 0.02, patients_freedom, 0.03, seeds_freedom)
    sums = np.abs(0.02 * rng.standard_t(patients_freedom, draws) + 0.03 * rng.standard_t(seeds_freedom, draws))
    assert estimate.half_width(0.95) == pytest.approx(np.quantile(sums, 0.95), rel=0.03)
    assert estimate.p_value() == pytest.approx(np.mean(sums >= 0.1), rel=0.05)


def test_seeds_that_vary_in_other_arms_count_where_they_agree_by_chance():
    rng = np.random.RandomState(0)
    arms = [0.6 + 0.03 * rng.normal(size=(1, 2)) + 0.01 * rng.normal(size=(30, 2)) for _ in range(7)]
    agreeing = [0.6 + 0.01 * rng.normal(size=(30, 2)) - np.array([[0.0, 0.0]]) for _ in range(2)]
    agreeing[1] += 0.02
    alone = compare(agreeing[1], agreeing[0], metric="dice", higher_is_better=True)
    pooled = SeedSpread.of([*arms, *agreeing])
    among = compare(agreeing[1], agreeing[0], metric="dice", higher_is_better=True, spread=pooled)
    assert (alone.verdict, among.verdict) == ("helps", "inconclusive")
    assert pooled.freedom == 9


def test_the_effect_size_is_the_share_of_ranks_above_zero_minus_the_share_below():
    assert verdict_of(np.array([[0.1], [0.2], [0.3]])).effect_size == pytest.approx(1.0)
    assert verdict_of(np.array([[-0.1], [-0.2], [-0.3]])).effect_size == pytest.approx(-1.0)
    assert verdict_of(np.array([[0.1], [-0.2], [0.3], [0.0]])).effect_size == pytest.approx((1 - 2 + 3) / 6)
    assert verdict_of(np.zeros((4, 2))).effect_size == 0.0


def test_an_effect_of_the_detectable_size_is_found_in_about_eighty_percent():
    rng = np.random.RandomState(2)
    null = scores(rng, 4000, 3, 0.05, 0.0, 0.02).reshape(100, 40, 3)
    effect = np.mean([verdict_of(d).smallest_detectable for d in null[:20]])
    found = np.mean([mean_interval(d + effect).low > 0 for d in null])
    assert 0.68 <= found <= 0.95


def test_holm_raises_p_values_in_order_and_withdraws_a_verdict_that_does_not_survive():
    rng = np.random.RandomState(0)
    weak = verdict_of(scores(rng, 20, 3, 0.05, 0.0, 0.01, mean=0.018))
    strong = verdict_of(scores(rng, 20, 3, 0.02, 0.0, 0.01, mean=0.1))
    none = verdict_of(scores(rng, 20, 3, 0.05, 0.0, 0.01))
    assert (weak.verdict, strong.verdict) == ("helps", "helps")
    assert 0.01 < weak.p_value < 0.05
    corrected = holm([weak, strong, none, none, none])
    assert corrected[1].p_adjusted == pytest.approx(5 * strong.p_value)
    assert corrected[0].p_adjusted == pytest.approx(4 * weak.p_value)
    assert [c.verdict for c in corrected[:3]] == ["inconclusive", "helps", "inconclusive"]
    assert "Holm" in corrected[0].sentence and corrected[0].sentence.startswith("Inconclusive")
    assert all(c.p_adjusted <= 1 for c in corrected)


def test_holm_of_a_single_comparison_changes_no_p_value():
    one = verdict_of(scores(np.random.RandomState(0), 20, 3, 0.02, 0.0, 0.01, mean=0.1))
    assert holm([one])[0].p_adjusted == one.p_value


def test_one_seed_is_too_few_for_a_verdict_however_clear():
    alone = verdict_of(np.full((30, 1), 0.2) + 0.001 * np.random.RandomState(0).rand(30, 1))
    for result in (alone, holm([alone])[0]):
        assert (result.verdict, result.smallest_detectable) == ("too few seeds", None)
        assert "Too few seeds" in result.sentence and "a verdict needs 2 seeds or more" in result.sentence


@pytest.mark.parametrize(
    ("patients", "comparisons", "verdict"),
    [
        (5, 1, "inconclusive"),
        (6, 1, "helps"),
        (6, 2, "inconclusive"),
        (7, 2, "helps"),
        (9, 6, "helps"),
        (8, 7, "inconclusive"),
    ],
)
def test_wilcoxons_floor_says_how_many_patients_a_verdict_takes(patients, comparisons, verdict):
    clear = verdict_of(scores(np.random.RandomState(0), patients, 3, 0.002, 0.0, 0.002, mean=0.3))
    result = holm([clear] * comparisons)[0]
    assert result.verdict == verdict
    assert (result.smallest_detectable is None) == (verdict == "inconclusive")
    assert ("Too few patients" in result.sentence) == (verdict == "inconclusive")


def test_more_comparisons_make_only_larger_differences_detectable():
    one = verdict_of(scores(np.random.RandomState(0), 30, 3, 0.05, 0.0, 0.02))
    found = [holm([one] * count)[0].smallest_detectable for count in (1, 3, 12)]
    assert found[0] == one.smallest_detectable and found[0] < found[1] < found[2]


def test_nan_too_few_patients_and_unequal_shapes_are_refused():
    good = np.zeros((5, 3))
    bad = good.copy()
    bad[2, 1] = np.nan
    options = {"metric": "dice", "higher_is_better": True}
    with pytest.raises(DataError, match="patient row 2, seed column 1"):
        compare(bad, good, **options)
    with pytest.raises(DataError, match="at least two patients"):
        compare(good[:1], good[:1], **options)
    with pytest.raises(DataError, match="same patients"):
        compare(good, good[:4], **options)


def drawn(patients, seeds, *, of_patients, of_seeds, rest, mean=0.0, state=0):
    rng = np.random.RandomState(state)
    return (
        mean + of_patients * rng.randn(patients, 1) + of_seeds * rng.randn(1, seeds) + rest * rng.randn(patients, seeds)
    )


def test_half_the_difference_takes_four_times_the_patients():
    assert patients_needed(20, 0.1, 0.1) == 20
    assert patients_needed(20, 0.1, 0.05) == 80


@given(st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0, 0.95))
def test_a_larger_difference_never_takes_more_patients(smaller, more, share):
    few, many = (patients_needed(30, 0.1, wanted, share) for wanted in (smaller + more, smaller))
    assert many is None or (few is not None and few <= many)


def test_what_seeds_vary_no_number_of_patients_lowers():
    assert patients_needed(20, 0.1, 0.05, share=0.5) is None
    assert patients_needed(20, 0.1, 0.08, share=0.5) > patients_needed(20, 0.1, 0.08)


def test_no_fewer_patients_are_named_than_the_corrected_test_can_decide_on():
    assert patients_needed(20, 0.1, 10.0) == least_patients() == 6
    assert patients_needed(20, 0.1, 10.0, n_comparisons=7) == least_patients(7) == 9
    assert lacking(9, 2, 7) == [] and len(lacking(8, 1, 7)) == 2


def test_no_difference_needs_more_patients_than_there_are():
    assert patients_needed(20, 0.1, 0.0) is None


def test_the_share_is_that_of_the_planted_spreads():
    def share(*sizes, **spreads):
        return Estimate.of(drawn(*sizes, **spreads)).seed_share

    assert share(200, 6, of_patients=0.1, of_seeds=0, rest=0) < 1e-9
    assert share(200, 6, of_patients=0, of_seeds=0.1, rest=0.001) > 0.99
    shares = [share(60, 4, of_patients=0.1, of_seeds=0.05, rest=0.05, state=i) for i in range(40)]
    # variances of the mean: seeds 0.05² / 4; patients 0.1² / 60; rest 0.05² / 240
    assert np.mean(shares) == pytest.approx(0.0025 / 4 / (0.0025 / 4 + 0.01 / 60 + 0.0025 / 240), abs=0.12)
    assert share(20, 1, of_patients=0.1, of_seeds=0.1, rest=0) == 0  # one seed says nothing


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [(0.05, "helps"), (-0.05, "hurts"), (0.004, "no relevant difference"), (-0.004, "no relevant difference")],
)
def test_a_difference_below_the_smallest_relevant_one_is_none(mean, verdict):
    precise = scores(np.random.RandomState(0), 40, 3, 0.004, 0.0005, 0.004, mean=mean)
    result = verdict_of(precise, smallest_relevant=0.01)
    assert result.verdict == verdict
    assert verdict_of(precise).verdict in ("helps", "hurts")
    assert ("within ±0.01" in result.sentence) == (verdict == "no relevant difference")
    vague = scores(np.random.RandomState(0), 40, 3, 0.1, 0.001, 0.01, mean=mean / 10)
    assert verdict_of(vague, smallest_relevant=0.01).verdict == "inconclusive"


def test_a_share_of_everything_or_nothing_still_has_an_interval():
    for mean, low, high in ((1.0, 0.025 ** (1 / 20), 1.0), (0.0, 0.0, 1 - 0.025 ** (1 / 20))):
        found = share_interval(Interval(mean, mean, mean, 0.95), 80, 20)
        assert (found.low, found.high) == pytest.approx((low, high))
    half = share_interval(Interval(0.5, 0.28, 0.72, 0.95), 80, 20)  # as wide as that of 20 trials
    assert (half.low, half.high) == pytest.approx((0.272, 0.728), abs=0.003)


def test_without_any_event_a_rate_has_the_bound_of_poisson():
    none = rate_interval(Interval(0.0, 0.0, 0.0, 0.95), 20)
    assert (none.low, none.high) == pytest.approx((0.0, -np.log(0.025) / 20))
    some = rate_interval(Interval(0.2, 0.2, 0.2, 0.95), 10)  # two events: Garwood's 0.242 to 7.225
    assert (some.low, some.high) == pytest.approx((0.0242, 0.7225), abs=1e-4)


@pytest.mark.parametrize(("rate", "scans"), [(0.05, 10), (0.05, 33), (0.5, 15)])
def test_intervals_of_rare_false_positives_cover_the_true_rate(rate, scans):
    rng, covered = np.random.RandomState(0), []
    for _ in range(300):
        events = rng.poisson(rate, size=(scans, 1)).repeat(2, axis=1)
        found = rate_interval(mean_interval(events.astype(float)), scans)
        covered.append(not found.excludes(rate))
    assert np.mean(covered) >= 0.93


def test_an_area_near_one_has_an_interval_below_one():
    near = logit_interval(Interval(0.97, 0.92, 1.02, 0.95), 12)
    assert 0.8 < near.low < 0.92 and 0.98 < near.high < 1
    assert logit_interval(Interval(1.0, 1.0, 1.0, 0.95), 12).low == pytest.approx(0.025 ** (1 / 12))


def test_so_many_patients_show_the_difference_in_about_four_of_five_repeats():
    def compared(patients, mean, state):
        scores = drawn(patients, 2, of_patients=0.1, of_seeds=0, rest=0.02, mean=mean, state=state)
        return compare(scores, np.zeros_like(scores), metric="dice", higher_is_better=True)

    detectable = np.mean([compared(20, 0.0, state).smallest_detectable for state in range(10)])
    needed = patients_needed(20, float(detectable), 0.04)
    shown = np.mean([compared(needed, 0.04, state).verdict == "helps" for state in range(60)])
    assert 0.65 < shown < 0.97
