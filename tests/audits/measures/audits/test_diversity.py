"""A collapsed generator is caught, over the set and in one place; an honest one is as varied as real lesions."""

import pytest

from medaug.audits.measures.sets import diversity_audit, mean_distance, one_place_audit

from .population import limits_of


def look(study, made):
    return diversity_audit(study.held_out, made, limits_of("diversity"), seed=0)


def in_one_place(study, *, same):
    places = [study.one_place(host, same=same) for host in range(3)]
    return one_place_audit(study.held_out, places, limits_of("diversity_in_one_place"), seed=0)


def test_one_lesion_everywhere_fails(study):
    finding = look(study, study.collapsed())
    assert finding.verdict == "fail"
    assert finding.value < 0.6 * finding.floor
    assert not finding.higher_is_worse


def test_honest_draws_pass(honest):
    assert [look(study, made).verdict for study, made in honest] == ["pass"] * 3


def test_a_set_is_as_varied_as_itself(study):
    finding = look(study, study.held_out)
    assert finding.value == pytest.approx(1.0)
    assert finding.low < 1.0


def test_seeds_that_change_nothing_in_one_place_fail(study):
    finding = in_one_place(study, same=True)
    assert (finding.verdict, finding.value) == ("fail", 0.0)


def test_seeds_that_give_other_textures_in_one_place_pass(study):
    finding = in_one_place(study, same=False)
    assert finding.verdict == "pass"
    assert finding.n["places"] == 3


def test_a_single_place_is_no_answer(study):
    limits = limits_of("diversity_in_one_place")
    assert one_place_audit(study.held_out, [study.one_place(0, same=True)], limits, seed=0).verdict == "skipped"


def test_one_lesion_alone_differs_from_nothing(study):
    assert mean_distance(study.held_out.features[:1]) == 0
