"""Sequences edited independently are caught; sequences that show one lesion are not."""

from dataclasses import replace

import numpy as np
import pytest

from medaug.audits.measures.consistency import consistency_audit, edge_agreement, mutual_information
from medaug.audits.measures.lesions import LesionSet

from .population import CROP, Patient, Study, limits_of, view

NAMES = ("flair", "t1")


def two_sequences(study, *, of_one: bool = True, largest: float = 1.0) -> LesionSet:
    """Lesions of new patients: t1 is dark where flair is bright, and its texture that of flair or of another lesion."""
    rng, views = study.rng, []
    for host in (host for host in study.rest for _ in range(study.count)):
        lesion, other = Patient.of("m", rng).lesion(rng, larger=largest), Patient.of("m", rng).lesion(rng)
        texture = lesion.texture if of_one else other.texture.copy()
        texture[0, 0] = lesion.texture[0, 0]  # which the outline follows
        tissue = rng.randint(2**31)
        flair, t1 = (
            view(host, seen, np.random.RandomState(tissue)) for seen in (lesion, replace(lesion, texture=texture))
        )
        noise = 0.02 * rng.normal(size=flair.image.shape)
        images = np.concatenate([flair.image, np.clip(-0.6 * t1.image + noise, -1, 1)]).astype(np.float32)
        views.append(replace(flair, image=images))
    return LesionSet.of(views, CROP)


@pytest.fixture(scope="module")
def real():
    study = Study(0)
    return study, two_sequences(study)


def look(real, made):
    return consistency_audit(real, made, limits_of("consistency"), NAMES, seed=0)


def test_a_texture_of_another_lesion_in_one_sequence_fails(real):
    study, lesions = real
    finding = look(lesions, two_sequences(study, of_one=False))
    assert finding.verdict == "fail" and finding.value > finding.fail == pytest.approx(1.5 * finding.floor)
    assert list(finding.each) == ["flair–t1"] and finding.each["flair–t1"] == finding.value
    assert finding.sentence.startswith("flair–t1: ")
    assert max(finding.details[name]["flair–t1"] for name in ("mutual information", "edge agreement")) == finding.value


def test_sequences_of_one_lesion_pass_whatever_its_size(real):
    study, lesions = real
    assert look(lesions, two_sequences(study)).verdict == "pass"
    assert look(lesions, two_sequences(study, largest=0.8)).verdict in ("pass", "warn")


def test_one_sequence_alone_and_few_lesions_are_skipped(real, untouched):
    one = consistency_audit(untouched.held_out, untouched.training, limits_of("consistency"), ("flair",), seed=0)
    assert one.verdict == "skipped" and "one sequence" in one.sentence
    few = replace(real[1], patients=np.repeat("h0", len(real[1])))
    assert look(few, real[1]).verdict == "skipped"


def test_mutual_information_is_that_of_the_bins_and_near_zero_for_independent_values():
    values = np.random.RandomState(0).normal(size=(2, 400))
    assert mutual_information(values[0], -np.exp(values[0])) == pytest.approx(np.log(4), abs=0.02)
    assert abs(mutual_information(*values)) < 0.05
    small = [abs(mutual_information(*v)) for v in np.random.RandomState(1).normal(size=(20, 2, 60))]
    assert np.mean(small) < 0.06  # without what is taken off for chance it would be 0.08


def test_edges_agree_where_they_run_alike_whichever_side_is_brighter():
    first = np.random.RandomState(0).normal(size=(2, 5000))
    turned = np.stack([-first[1], first[0]])
    assert edge_agreement(first, -3 * first) == pytest.approx(1.0)
    assert edge_agreement(first, turned) == pytest.approx(0.0)
    assert edge_agreement(first, np.random.RandomState(1).normal(size=(2, 5000))) == pytest.approx(0.5, abs=0.03)
    assert edge_agreement(first, np.zeros_like(first)) == 0
