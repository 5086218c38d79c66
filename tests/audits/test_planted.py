"""Every fault that is planted in a generator is caught by its audit, and an honest generator passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from . import planted

GUIDED = ("outside", "unchanged", "lost", "gained", "null_shortcut", "fingerprint", "steganography", "seams",
          "checkerboard")  # fmt: skip
"""All but `shortcut`: references were interpolated, and a probe tells that (measures/audits/test_shortcut.py)."""


@pytest.fixture(scope="module")
def copy_paste(finer_weights):
    return planted.guided(finer_weights, planted.honest)


@pytest.mark.parametrize("name", GUIDED)
def test_an_honest_generator_passes(ask, copy_paste, name):
    finding = ask(name, copy_paste)
    assert finding.verdict == "pass", finding.sentence
    assert finding.n["patients"] >= 4


@pytest.mark.parametrize("paint", [planted.outside, planted.beside])
def test_what_a_generator_paints_outside_the_mask_never_reaches_the_scan(ask, finer_weights, paint):
    weights = planted.guided(finer_weights, paint)
    assert ask("outside", weights).value == 0 and ask("gained", weights).verdict == "pass"


def test_a_generator_that_does_nothing_is_caught(ask, finer_weights):
    nothing = planted.guided(finer_weights, planted.honest, planted.unpasted)
    assert ask("unchanged", nothing).verdict == "fail" and ask("lost", nothing).verdict == "fail"
    assert ask("unchanged", nothing).value == 1 and ask("outside", nothing).verdict == "pass"


def test_lesions_that_a_segmenter_does_not_see_are_caught(ask, finer_weights):
    finding = ask("lost", planted.guided(finer_weights, planted.dark))
    assert finding.verdict == "fail" and finding.value > finding.floor + 0.5


def test_a_fingerprint_without_a_tumor_is_caught(ask, finer_weights):
    finding = ask("null_shortcut", planted.guided(finer_weights, planted.grainy))
    assert finding.verdict == "fail" and finding.value > 0.9


@pytest.mark.parametrize(
    ("size", "period", "verdict"), [(0.02, 0, "warn"), (0.1, 0, "fail"), (0.05, 4, "fail"), (0.05, 8, "fail")]
)
def test_a_pattern_at_fixed_places_is_caught(ask, finer_weights, size, period, verdict):
    finding = ask("fingerprint", planted.guided(finer_weights, planted.watermarked(size, period)))
    assert finding.verdict == verdict, finding.sentence


def test_lesions_that_are_all_of_one_grey_are_caught(ask, finer_weights):
    assert ask("shortcut", planted.guided(finer_weights, planted.flat)).verdict == "fail"


def test_a_fake_that_hides_its_source_is_caught(ask, finer_weights):
    hiding = planted.guided(finer_weights, planted.hidden, planted.unpasted, planted.found_again)
    finding = ask("steganography", hiding)
    assert finding.verdict == "fail" and finding.details["error"] < 0.15 < finding.details["error_with_noise"]


def test_a_checkerboard_is_caught(ask, finer_weights):
    assert ask("checkerboard", planted.guided(finer_weights, planted.checkered)).verdict == "fail"


def test_a_step_at_the_border_of_the_edit_is_caught(ask, finer_weights):
    finding = ask("seams", planted.guided(finer_weights, planted.framed))
    assert finding.verdict == "fail" and "at the mask's edge" in finding.sentence


def test_what_does_not_apply_is_skipped_and_not_passed(ask, finer_weights):
    free = planted.guided(finer_weights, planted.honest)
    free.translator.config = replace(free.translator.config, content="free")
    assert ask("null_shortcut", free).verdict == "skipped"


def test_a_removal_that_leaves_one_grey_is_caught(ask, copy_paste):
    finding = ask("removal", copy_paste)
    assert finding.verdict == "fail" and finding.details["fills"]["removed"]["fine_texture"]["mean"] < 0.5
