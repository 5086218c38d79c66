"""No-op and collapse are seen and said; a healthy training gets no warning."""

import math

import pytest
import torch

from medaug.errors import TrainingError
from medaug.training.monitors import FiniteWatch, measure, read_figures, warnings_of

from .tiny import crop, tiny_translator


def batch() -> dict[str, torch.Tensor]:
    crops = [crop(i) for i in range(4)]
    return {key: torch.stack([c[key] for c in crops]) for key in crops[0]}


def measured(real: dict[str, torch.Tensor], fakes: dict[str, torch.Tensor]) -> dict[str, float]:
    """Of generators that start from the other domain's images."""
    return read_figures(measure(real, fakes, {"a": real["b"], "b": real["a"]}))


def test_generator_that_copies_its_input_has_no_strength_and_is_reported():
    real = batch()
    figures = measured(real, {"a": real["b"], "b": real["a"]})
    assert figures["strength_a"] == figures["strength_b"] == 0 and figures["variety_a"] > 0.5
    assert [w for w in warnings_of([figures] * 8) if "domain a" in w and "no-op" in w]
    assert len(warnings_of([figures] * 8)) == 2


def test_insertion_that_leaves_its_pasted_start_alone_is_reported():
    real, translator = batch(), tiny_translator(content="reference")
    starts = translator.starts(real)
    figures = read_figures(measure(real, {"a": real["a"], "b": starts["b"]}, starts))
    assert figures["strength_b"] == 0 and figures["strength_a"] > 0.1 and not torch.equal(starts["b"], real["a"])
    assert warnings_of([figures]) == ["The generator towards domain b leaves its input unchanged (no-op)."]


def test_generator_with_one_output_has_no_variety_and_is_reported():
    real = batch()
    figures = measured(real, {key: real[key][:1].expand(4, -1, -1, -1) for key in "ab"})
    assert figures["variety_a"] == figures["variety_b"] == 0 and figures["strength_a"] > 0.1
    assert warnings_of([figures] * 8) == [f"The fakes of domain {d} are all alike (mode collapse)." for d in "ab"]


def test_styles_that_all_give_the_same_tumor_are_reported():
    rows = [{"step": i, "diversity_b": 0.05 if i < 5 else 0.0005} for i in range(20)]
    assert warnings_of(rows) == ["Every style gives the same fake of domain b (the styles collapsed)."]
    assert warnings_of(rows[:5]) == [] == warnings_of([{"diversity_b": 0.03}, {"strength_b": 0.1}])


def test_healthy_training_gets_no_warning():
    real = batch()
    assert warnings_of([measured(real, {"a": real["a"].flip(0), "b": real["b"].flip(0)})]) == []
    assert warnings_of([]) == []


def test_warnings_are_about_the_end_of_the_training():
    real = batch()
    idle, busy = measured(real, {"a": real["b"], "b": real["a"]}), measured(real, {"a": real["a"], "b": real["b"]})
    assert warnings_of([idle] * 30 + [busy] * 10) == []
    assert len(warnings_of([busy] * 30 + [idle] * 10)) == 2


def test_masks_shown_to_discriminators_do_not_count():
    real = batch()
    plain = {"a": real["a"], "b": real["b"].flip(0)}
    shown = {key: torch.cat([value, real["mask_a"]], 1) for key, value in plain.items()}
    assert measured(real, plain) == measured(real, shown)


def test_one_sample_has_no_variety_to_measure():
    real = {key: value[:1] for key, value in batch().items()}
    assert set(measured(real, {"a": real["a"], "b": real["b"]})) == {"strength_a", "strength_b"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite_are_named_with_the_remedy(bad):
    good, watch = {name: torch.tensor(1.0) for name in ("cycle_a", "cycle_b", "adversarial")}, FiniteWatch()
    watch.add(good, 6)
    watch.check()
    watch.add(good | {"cycle_a": torch.tensor(bad), "adversarial": torch.tensor(bad)}, 7)
    watch.add(dict.fromkeys(good, torch.tensor(bad)), 8)  # of what step 7 spoiled
    with pytest.raises(TrainingError, match="step 7: cycle_a, adversarial not finite.*lower training.learning_rate"):
        watch.check()


def test_losses_that_nobody_asks_for_are_looked_at_before_long():
    watch = FiniteWatch()
    with pytest.raises(TrainingError, match="step 3: cycle not finite"):
        for step in range(1000):
            watch.add({"cycle": torch.tensor(math.nan if step >= 3 else 1.0)}, step)
    assert step < 600
