"""The probe's two questions, on lesions whose answer is known."""

import numpy as np
import pytest

from medaug.audits.measures.finding import Limits
from medaug.audits.measures.probe import null_shortcut, shortcut

LIMITS = Limits(0.75, 0.9)
ONE = ("flair",)
pytestmark = pytest.mark.usefixtures("quick_probe")


def test_lesions_made_as_the_real_ones_are_not_told_apart(views):
    finding = shortcut(*views(), (24, 24), LIMITS, ONE, seed=0)
    assert finding.verdict == "pass" and finding.low <= 0.6, finding.sentence
    assert finding.n == {"pairs": 24, "patients": 6}


def test_grey_discs_are_told_from_real_lesions(views):
    real, made = views(lambda image, mask, rng: np.where(mask, 0.3, image))
    finding = shortcut(real, made, (24, 24), LIMITS, ONE, seed=0)
    assert finding.verdict == "fail" and finding.value > finding.floor + 0.2 and finding.details["top_features"]


def test_null_insertions_that_only_smooth_are_told_from_untouched_crops(views):
    _, made = views(lambda image, mask, rng: np.where(mask, image[mask].mean(), image))
    assert null_shortcut(made, (24, 24), LIMITS, ONE, seed=0).verdict == "fail"


def test_a_probe_with_too_few_patients_is_skipped(views):
    finding = shortcut(*views(patients=3), (24, 24), LIMITS, ONE, seed=0)
    assert finding.verdict == "skipped" and "3 held-out patients" in finding.sentence and finding.value is None
