"""Wrong sizes, contrasts and places are caught; honest draws of the same population are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaug.audits.measures.finding import against_halves, bootstrap_interval, halvings
from medaug.audits.measures.sets import CONTRAST, LOCATION, MEASURES, SIZE, distance, distribution_audit

from .population import Study, chosen, limits_of

finite = st.floats(-100, 100, width=32)
samples = arrays(np.float64, st.integers(1, 30), elements=finite)


def look(measure, study, made):
    return distribution_audit(measure, study.held_out, made, limits_of(measure.audit), seed=0)


@pytest.mark.parametrize(
    ("measure", "fault"),
    [(SIZE, {"larger": 1.7}), (SIZE, {"larger": 0.5}), (CONTRAST, {"fainter": 0.5}), (LOCATION, {"shift": 9.0})],
)
def test_a_wrong_distribution_fails_and_the_others_pass(study, measure, fault):
    found = {m.audit: look(m, study, study.drawn(**fault)) for m in MEASURES}
    assert found.pop(measure.audit).verdict == "fail"
    assert {finding.verdict for finding in found.values()} <= {"pass", "warn"}


def test_honest_draws_pass(honest):
    verdicts = [look(measure, study, made).verdict for study, made in honest for measure in MEASURES]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 8


def test_sizes_are_told_in_mm(study):
    made = study.drawn()
    finding = look(SIZE, study, made)
    assert finding.unit == "mm"
    assert finding.value == pytest.approx(distance(study.held_out.diameters_mm, made.diameters_mm))
    assert finding.low <= finding.high
    assert f"{np.median(made.diameters_mm):.1f} mm" in finding.sentence
    assert finding.details["standardised"] == pytest.approx(finding.value / study.held_out.diameters_mm.std())
    assert finding.n == {
        "real lesions": 48, "real patients": 12, "synthetic lesions": 48, "synthetic patients": 12,
    }  # fmt: skip


def test_limits_are_multiples_of_what_real_patients_show_among_themselves(study):
    finding = look(SIZE, study, study.drawn())
    assert finding.floor == pytest.approx(np.quantile(finding.details["floors"], 0.95), rel=1e-3)
    limits = limits_of("lesion_size")
    assert (finding.warn, finding.fail) == (limits.warn * finding.floor, limits.fail * finding.floor)


def test_the_interval_covers_the_distance_of_the_populations():
    """Two normal populations one standard deviation apart are at distance 1, whatever the patients."""
    rng = np.random.RandomState(0)
    patients = np.repeat(np.arange(20), 3)
    covered = 0
    for _ in range(20):
        first, second = (rng.normal(m, 1, 60) for m in (0, 1))
        low, high = bootstrap_interval(distance, (first, patients), (second, patients), rng)
        covered += low <= 1 <= high
    assert covered >= 17


def test_few_patients_are_no_answer(study):
    few = chosen(study.held_out, np.flatnonzero(np.isin(study.held_out.patients, ["h0", "h1", "h2"])))
    finding = distribution_audit(SIZE, few, study.drawn(), limits_of("lesion_size"), seed=0)
    assert finding.verdict == "skipped"
    assert "3 held-out patients" in finding.sentence


def test_the_same_seed_gives_the_same_finding(study):
    made = study.drawn()
    assert look(LOCATION, study, made) == look(LOCATION, study, made)


def test_few_training_patients_are_compared_with_as_few_real_ones():
    """LesionSet drawn after three patients cannot be as varied as those of many: the floor is of three patients too."""
    study = Study(2, training=3)
    finding = look(SIZE, study, study.copied())
    assert finding.details["group_patients"] == 3
    assert "groups of 3 and 9 real patients" in finding.sentence


def test_halves_never_share_a_patient():
    patients = np.repeat(list("abcdef"), 3)
    for rest, drawn in halvings(patients, 2, np.random.RandomState(0)):
        assert len(set(patients[drawn])) == 2
        assert not set(patients[drawn]) & set(patients[rest])


def test_floor_and_value_are_taken_at_the_same_size():
    sizes = set()

    def count(first, second):
        sizes.add((len(first), len(second)))
        return 0.0

    patients = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    halves = against_halves(count, np.zeros(21), np.zeros(50), patients, 3, np.random.RandomState(0))
    assert {second for _, second in sizes} == {halves.lesions}


@settings(max_examples=50, deadline=None)
@given(samples, samples, st.floats(0, 50))
def test_distance_is_zero_on_equal_sets_symmetric_and_grows_with_a_shift(first, second, shift):
    assert distance(first, first) == 0
    assert distance(first, second) == pytest.approx(distance(second, first))
    assert distance(first, first + shift) == pytest.approx(shift, abs=1e-6)
    assert distance(first, first + 2 * shift) >= distance(first, first + shift) - 1e-9


def test_distance_of_places_is_the_largest_along_an_axis():
    first = np.random.RandomState(0).normal(size=(20, 3))
    assert distance(first, first + [0.1, 0.4, 0.0]) == pytest.approx(0.4)
