"""Copies of training lesions are caught, by whatever path; lesions that are only smooth or pasted by design are not."""

from dataclasses import replace

import numpy as np
import pytest

from medaug.audits.measures.memorisation import aligned, correlation_distances, memorisation_audit

from .population import Study, chosen, limits_of


def look(study, made):
    return memorisation_audit(study.training, study.held_out, made, limits_of("memorisation"), seed=0)[0]


def test_a_generator_that_copies_training_lesions_fails(study):
    finding = look(study, study.copied())
    assert finding.verdict == "fail"
    assert finding.value > 0.9
    assert finding.floor <= 0.05


def test_some_copies_among_new_lesions_fail_too(study):
    finding = look(study, study.copied(share=0.6))
    assert finding.verdict == "fail"
    assert finding.low < 0.6 < finding.high + 0.15


def test_honest_draws_pass(honest):
    verdicts = [look(study, made).verdict for study, made in honest]
    assert "fail" not in verdicts
    assert verdicts.count("pass") >= 2


def test_blurred_lesions_are_no_copies(study):
    assert look(study, study.drawn(grain=2.5)).verdict == "pass"


def test_lesions_pasted_by_design_are_judged_without_their_own_patients(study):
    finding = look(study, study.copied(pasted=True))
    assert finding.verdict == "pass"
    assert "pasted from by design are not counted" in finding.sentence
    assert finding.details["aligned crops"]["copied_with_own_source"] > 0.9


def test_copies_of_another_patient_than_the_one_pasted_are_caught(study):
    made = study.copied(pasted=True)
    names = sorted(set(made.sources))
    moved = {name: names[(i + 1) % len(names)] for i, name in enumerate(names)}
    blamed = replace(made, sources=tuple(moved[source] for source in made.sources))
    assert look(study, blamed).verdict == "fail"


def test_the_neighbour_that_is_shown_is_the_lesion_that_was_copied(study):
    made = study.copied()
    _, worst = memorisation_audit(study.training, study.held_out, made, limits_of("memorisation"), seed=0)
    owners = study.training.patients[worst.synthetic.nearest]
    assert (owners == np.array(made.sources)).mean() > 0.9


def test_one_training_patient_leaves_nothing_to_compare_pasted_lesions_with():
    study = Study(0, training=1)
    finding = look(study, study.copied(pasted=True))
    assert finding.verdict == "skipped"
    assert "only training patient" in finding.sentence


def test_aligned_crops_know_a_lesion_again_when_it_is_mirrored_and_brighter(study):
    lesions = chosen(study.training, np.arange(4))
    moved = replace(lesions, images=0.8 * lesions.images[:, :, ::-1] + 0.1, parts=lesions.parts[:, ::-1])
    distances = correlation_distances(lesions, moved)
    assert np.diag(distances) == pytest.approx(0.0, abs=0.02)
    assert distances[~np.eye(4, dtype=bool)].min() > np.diag(distances).max()


def test_correlation_is_pearsons_over_both_masks(study):
    first, second = chosen(study.training, np.array([0])), chosen(study.training, np.array([5]))
    ((x,),), (a,) = aligned(first)
    ((y,),), (b,) = aligned(second)
    flips = [np.s_[:, :], np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1]]
    expected = max(np.corrcoef(x[a | b[f]], y[f][a | b[f]])[0, 1] for f in flips)
    assert correlation_distances(first, second)[0, 0] == pytest.approx(1 - expected)
