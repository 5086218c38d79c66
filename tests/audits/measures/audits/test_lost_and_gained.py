"""LesionSet lost and gained, as a segmenter sees them that takes for tumor what is bright."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medaug.audits.measures.finding import Limits
from medaug.audits.measures.lost_and_gained import Segmented, gained, lost

from .conftest import PLACE, REAL, disc, with_lesion

LIMITS = Limits(0.2, 0.5)


def found(made, threshold=0.0):
    return [
        Segmented(*(ndimage.gaussian_filter(image, 1) > threshold for image in (i.before[0], i.image[0]))) for i in made
    ]


def asked(views, generator=with_lesion, threshold=0.0):
    _, made = views(generator)
    seen = found(made, threshold)
    return lost(made, seen, LIMITS, seed=0), gained(made, seen, Limits(0.1, 0.3), seed=0)


def test_lesions_as_bright_as_real_ones_are_found_and_nothing_else(views):
    missing, new = asked(views)
    assert missing.verdict == new.verdict == "pass"
    assert missing.value == missing.floor == new.value == 0 and missing.n["inserted"] == 24


def test_lesions_that_are_too_faint_are_lost(views):
    missing, _ = asked(views, lambda image, mask, rng: with_lesion(image, mask, rng, contrast=0.1))
    assert missing.verdict == "fail" and missing.value == 1 and (missing.warn, missing.fail) == (0.2, 0.5)


def test_a_bright_spot_beside_the_mask_is_gained_and_the_lesion_is_not(views):
    _, new = asked(views, lambda image, mask, rng: with_lesion(with_lesion(image, mask, rng), disc((8, 40), 4), rng))
    assert new.verdict == "fail" and new.value == 1 and new.details["by_view"] == [1] * 24


def test_what_was_found_before_the_edit_is_neither_found_nor_gained(views):
    def early(image, mask, rng):
        return image

    _, made = views(early)
    everything = [Segmented(np.ones_like(i.mask), np.ones_like(i.mask)) for i in made]
    assert gained(made, everything, LIMITS, seed=0).value == 0
    assert lost(made, found(made), LIMITS, seed=0).value == 1


def test_a_segmenter_that_marks_everything_or_nothing_is_no_judge(views):
    for threshold, reason in ((-2, "marks 100 %"), (2, "misses 100 %")):
        missing, _ = asked(views, threshold=threshold)
        assert missing.verdict == "skipped" and reason in missing.sentence


@pytest.mark.parametrize(("radius", "verdict"), [(4, "skipped"), (7, "pass")])
def test_a_segmenter_that_sees_nothing_small_judges_large_lesions_only(views, radius, verdict):
    parts = disc(PLACE, radius).astype(np.uint8)
    made = [replace(i, parts=parts, label=disc(REAL, 4 if k % 2 else 7)) for k, i in enumerate(views()[1])]
    before = [i.label & (i.label.sum() > 100) for i in made]
    seen = [Segmented(old, old | (i.mask & (i.mask.sum() > 100))) for i, old in zip(made, before, strict=True)]
    missing = lost(made, seen, LIMITS, seed=0)
    assert missing.verdict == verdict, missing.sentence
    assert "misses 100 % of the real lesions of these sizes" in missing.sentence or missing.floor == missing.value == 0
