"""Patch, batch, levels and updates follow from the images and the budget; what a pipeline says stands."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.errors import ConfigError
from medaug.evaluation.networks import SegmentationConfig
from medaug.evaluation.plan import BUDGETS, Wishes, check_memory, plan_of

NOTHING = Wishes()


def test_small_slices_are_trained_on_whole_and_large_ones_in_patches():
    small = plan_of("small", [(96, 96)], [(1.0, 1.0)], NOTHING)
    assert small.patch_size is None and small.window_size == (96, 96)
    assert small.channels == (16, 32, 64, 128, 128) and small.strides == ((2, 2),) * 4
    large = plan_of("small", [(512, 512)], [(0.7, 0.7)], NOTHING)
    assert large.patch_size == (128, 128)
    assert plan_of("medium", [(512, 512)], [(0.7, 0.7)], NOTHING).patch_size == (256, 256)


def test_a_volume_with_thick_slices_gets_a_flat_patch_halved_in_plane_first():
    plan = plan_of("full", [(320, 320, 20)], [(0.6, 0.6, 4.0)], NOTHING)
    assert plan.patch_size[2] <= 24 < plan.patch_size[0]
    assert plan.strides[0] == (2, 2, 1) and plan.strides[1] == (2, 2, 1)


def test_brats_at_full_is_what_nnunet_plans():
    plan = plan_of("full", [(240, 240, 155)] * 3, [(1.0, 1.0, 1.0)] * 3, NOTHING)
    assert plan.patch_size == (128, 128, 128) and plan.batch_size == 2 and plan.updates == 250_000
    assert plan.channels == (32, 64, 128, 256, 320, 320) and plan.mirror_axes == (0, 1, 2)


def test_what_a_pipeline_says_stands():
    wishes = Wishes(patch_size=(40, 24), batch_size=3, updates=7, channels=(4, 8, 8), learning_rate=0.5)
    plan = plan_of("small", [(96, 96)], [(1.0, 1.0)], wishes)
    assert (plan.patch_size, plan.batch_size, plan.updates, plan.channels) == ((40, 24), 3, 7, (4, 8, 8))
    assert plan.learning_rate == 0.5 and len(plan.strides) == 2
    assert json.loads(plan.text())["patch_size"] == [40, 24]


@settings(max_examples=60, deadline=None)
@given(
    budget=st.sampled_from(["small", "medium", "full"]),
    shape=st.lists(st.integers(5, 300), min_size=2, max_size=3),
    data=st.data(),
)
def test_every_plan_keeps_its_budget_and_can_be_built(budget, shape, data):
    spacing_mm = data.draw(st.lists(st.floats(0.3, 6.0), min_size=len(shape), max_size=len(shape)))
    plan = plan_of(budget, [tuple(shape)], [tuple(spacing_mm)], NOTHING)
    total = [math.prod(steps) for steps in zip(*plan.strides, strict=True)]
    assert all(n % step == 0 and n >= 2 * step for n, step in zip(plan.window_size, total, strict=True))
    most = BUDGETS[budget, len(shape)].voxels * math.prod(
        1 + 2 * step / n for step, n in zip(total, plan.window_size, strict=True)
    )
    assert math.prod(plan.window_size) <= max(most, math.prod(2 * step for step in total))
    assert len(plan.channels) == len(plan.strides) + 1 >= 3
    SegmentationConfig(
        spatial_dims=len(shape), channels=plan.channels, strides=plan.strides, patch_size=plan.window_size
    )


def test_a_plan_too_large_for_the_memory_names_the_settings():
    plan = plan_of("full", [(4000, 4000, 4000)], [(1.0,) * 3], Wishes(batch_size=5000))
    with pytest.raises(ConfigError, match=r"GiB in training.*evaluation\.batch_size.*evaluation\.budget=small"):
        check_memory(plan, torch.device("cpu"))
    check_memory(plan_of("small", [(64, 64)], [(1.0, 1.0)], NOTHING), torch.device("cpu"))
