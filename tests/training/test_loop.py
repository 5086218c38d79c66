"""One step of the loop is the paper's: generators against frozen discriminators, then discriminators on old fakes."""

import math

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medaug.errors import TrainingError
from medaug.models.methods import CycleGAN, CycleGANConfig
from medaug.training import TrainingConfig, fit
from medaug.training.loop import _State
from medaug.training.monitors import read_metrics

from .tiny import DOMAIN, SETTINGS, Crops, assert_same_state, crop, states, tiny_config, tiny_translator


def batch_of(step: int, size: int = 2) -> dict[str, torch.Tensor]:
    crops = [crop(i) for i in range(step * size, (step + 1) * size)]
    return {key: torch.stack([c[key] for c in crops]) for key in crops[0]}


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(first.parameters(), second.parameters(), strict=True))


def with_bad_loss(step: int) -> Crops:
    class Bad(Crops):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample | {"b": sample["b"] * math.nan} if index == 2 * step else sample

    return Bad()


def test_loop_equals_a_hand_written_one(tmp_path):
    config = tiny_config(steps=4, pool_size=0, ema_decay=0.8)
    translator = tiny_translator()
    optimizers = [
        torch.optim.Adam(parameters, config.learning_rate, (0.5, 0.99), fused=True)
        for parameters in (translator.generators.parameters(), translator.discriminators.parameters())
    ]
    ema = AveragedModel(translator.generators, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    for step in range(4):
        batch = batch_of(step)
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = config.learning_rate_at(step)
        losses, fakes = translator.generator_losses(batch)
        optimizers[0].zero_grad()
        sum(losses.values()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        sum(translator.discriminator_losses(batch, fakes).values()).backward()
        optimizers[1].step()
        ema.update_parameters(translator.generators)
    trained = fit(tiny_translator(), Crops(), config, tmp_path)
    assert same(trained.discriminators, translator.discriminators)
    assert same(trained.generators, ema.module) and not same(trained.generators, translator.generators)
    assert not trained.training


def test_without_averaging_the_last_generators_are_kept(tmp_path):
    trained = fit(tiny_translator(), Crops(), tiny_config(steps=3, ema_decay=0.0), tmp_path)
    saved = {k.removeprefix("/translator/"): v for k, v in states(tmp_path).items() if k.startswith("/translator/")}
    assert all(torch.equal(value, saved[name]) for name, value in trained.state_dict().items())


def test_learning_rate_is_constant_then_falls_linearly_to_zero():
    config = TrainingConfig(steps=100, learning_rate=2.0, decay_from=0.5)
    assert {config.learning_rate_at(step) for step in range(51)} == {2.0}
    assert config.learning_rate_at(75) == pytest.approx(1.0) and config.learning_rate_at(99) == pytest.approx(0.04)
    assert TrainingConfig(steps=10, decay_from=1.0).learning_rate_at(9) == 3e-4
    assert TrainingConfig(steps=10, decay_from=0.0, learning_rate=1.0).learning_rate_at(5) == pytest.approx(0.5)


def test_optimizers_follow_the_schedule_and_the_papers_betas(tmp_path):
    config = tiny_config(steps=4, decay_from=0.5)
    fit(tiny_translator(), Crops(), config, tmp_path)
    state = states(tmp_path)
    for optimizer in (0, 1):
        group = f"/optimizers/{optimizer}/param_groups/0"
        assert float(state[f"{group}/lr"]) == pytest.approx(config.learning_rate_at(3), rel=1e-6)
        assert [float(state[f"{group}/betas/{i}"]) for i in (0, 1)] == pytest.approx([0.5, 0.99])


def test_log_has_every_loss_and_monitor_at_the_asked_steps(tmp_path):
    fit(tiny_translator(), Crops(), tiny_config(steps=7, log_every=3), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 7]
    losses, _ = tiny_translator().generator_losses(batch_of(0))
    expected = {"step", "discriminator_a", "discriminator_b", *losses}
    assert set(rows[0]) == expected | {f"{name}_{d}" for name in ("strength", "variety") for d in "ab"}


def test_preview_sees_the_averaged_generators_at_its_steps(tmp_path):
    seen = {}

    def preview(translator, step):
        seen[step] = translator

    trained = fit(tiny_translator(), Crops(), tiny_config(steps=5, preview_every=2), tmp_path, preview=preview)
    assert list(seen) == [2, 4, 5] and same(seen[5].generators, trained.generators) and not seen[4].training
    assert not same(seen[4].generators, trained.generators)


def test_loss_that_is_not_finite_stops_and_the_good_checkpoint_resumes(tmp_path):
    with pytest.raises(TrainingError, match="step 7: .*adversarial_b2a.* not finite. The last checkpoint is kept"):
        fit(tiny_translator(), with_bad_loss(7), tiny_config(), tmp_path / "broken")
    kept = states(tmp_path / "broken")
    assert int(kept["/step"]) == 6 and all(torch.isfinite(value.float()).all() for value in kept.values())
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path / "broken")
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path / "whole")
    assert_same_state(tmp_path / "broken", tmp_path / "whole")


class SpoilsAt(CycleGAN):
    """A finite loss whose gradient is not: the square root at zero, from the third pass on."""

    passes = 0

    def generator_losses(self, batch):
        losses, fakes = super().generator_losses(batch)
        self.passes += 1
        if self.passes == 3:
            losses["root"] = sum(p.sum() * 0 for p in self.generators.parameters()).sqrt()
        return losses, fakes


def test_weights_spoiled_by_a_gradient_never_replace_a_good_checkpoint(tmp_path):
    translator = SpoilsAt(CycleGANConfig(**SETTINGS), DOMAIN, DOMAIN, 2)
    with pytest.raises(TrainingError, match="step 3: weights of generators not finite"):
        fit(translator, Crops(), tiny_config(checkpoint_every=1), tmp_path)
    kept = states(tmp_path)
    assert int(kept["/step"]) == 2 and all(torch.isfinite(value.float()).all() for value in kept.values())


def test_mixed_precision_trains_float32_weights(tmp_path):
    trained = fit(tiny_translator(), Crops(), tiny_config(steps=2, precision="bf16-mixed"), tmp_path / "mixed")
    exact = fit(tiny_translator(), Crops(), tiny_config(steps=2), tmp_path / "exact")
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trained.parameters())
    assert not same(trained, exact)


def test_loss_scale_of_half_precision_is_part_of_the_checkpoint(tmp_path):
    scalers = []
    for _ in range(2):
        fabric = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu"))
        state = _State(fabric, tiny_translator(), tiny_config(), tmp_path)
        scalers.append(fabric.strategy.precision.scaler)
        if len(scalers) == 1:
            scalers[0].load_state_dict(scalers[0].state_dict() | {"scale": 128.0, "_growth_tracker": 7})
            state.save()
    assert scalers[1].state_dict() == scalers[0].state_dict() and scalers[1].get_scale() == 128


def test_interrupted_training_flushes_its_tensorboard_log(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")

    def stop(index):
        if index == 6:
            raise MemoryError

    with pytest.raises(MemoryError):
        fit(tiny_translator(), Crops(stop), tiny_config(), tmp_path)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert {event.step for event in loader.EventFileLoader(str(events)).Load() if event.step} == {1, 2, 3}
