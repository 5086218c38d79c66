"""Settings that spare time or memory change no result; what the machine lacks is told in words."""

import pytest
import torch

from medaug.errors import ConfigError, TrainingError
from medaug.models.base import with_noise
from medaug.models.insertion.cyclegan import MaskGuidedCycleGAN
from medaug.models.methods import TRANSLATORS, build_translator
from medaug.models.networks.layers import checkpoint_blocks
from medaug.processes import cores
from medaug.training import TrainingConfig, fit

from ..models.conformance import HEALTHY, TUMOR, make_batch, small
from .tiny import Crops, assert_same_state, states, tiny_config, tiny_translator


def test_samples_are_prepared_by_as_many_processes_as_there_are_cores_beside_the_training():
    derived = TrainingConfig().sample_workers
    assert derived == max(1, min(8, cores() - 1))
    assert TrainingConfig(devices=1024).sample_workers == 1
    assert [TrainingConfig(workers=count).sample_workers for count in (0, 3)] == [0, 3]


@pytest.mark.parametrize("method", TRANSLATORS)
def test_checkpointing_keeps_half_of_the_memory_and_every_bit_of_the_gradient(method):
    batch, found = make_batch(3, count=1, size=16), []
    for again in (False, True):
        translator = build_translator(method, small(method), HEALTHY, TUMOR, 3)
        if again:
            checkpoint_blocks(translator.generators)
        kept: dict[int, int] = {}

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses, _ = translator.generator_losses(batch)
        sum(losses.values()).backward()
        found.append((sum(kept.values()), [p.grad for p in translator.generators.parameters()]))
    (whole, gradients), (less, again_gradients) = found
    assert less < 0.5 * whole
    assert all(torch.equal(one, other) for one, other in zip(gradients, again_gradients, strict=True))


class FullAtTheEighth(MaskGuidedCycleGAN):
    passes = 0

    def generator_losses(self, batch):
        self.passes += 1
        return self.allocate() if self.passes == 8 else super().generator_losses(batch)


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total of 8 GiB.")


@pytest.mark.parametrize(
    ("allocate", "reason"),
    [(gpu_is_full, "Tried to allocate 2.50 GiB"), (lambda: torch.empty(10**15), "can't allocate memory")],
)
def test_too_little_memory_is_told_with_what_takes_less_and_the_training_goes_on_with_it(tmp_path, allocate, reason):
    translator = FullAtTheEighth(*tiny_translator().made_of)
    translator.load_state_dict(tiny_translator().state_dict())
    translator.allocate = allocate
    with pytest.raises(TrainingError) as told:
        fit(translator, Crops(), tiny_config(), tmp_path / "full")
    for part in (
        "cpu: found too little memory for a step on 2 crop(s) of 16 × 16 voxels", reason, "training.batch_size=1",
        "crop.size=[10,10]", "training.checkpointing=true", "bf16-mixed", "The last checkpoint is kept",
    ):  # fmt: skip
        assert part in str(told.value)
    assert int(states(tmp_path / "full")["/step"]) == 6
    fit(tiny_translator(), Crops(), tiny_config(checkpointing=True), tmp_path / "full")
    fit(tiny_translator(), Crops(), tiny_config(), tmp_path / "whole")
    assert_same_state(tmp_path / "full", tmp_path / "whole")


@pytest.mark.parametrize("method", ["mask-guided-cyclegan", "pix2pix"])
def test_losses_are_traced_as_one_graph_that_gives_the_same(method):
    """By torch's tracer alone: the kernels that a compiler then makes take a minute."""
    translator, batch = build_translator(method, small(method) | {"depth": 1}, HEALTHY, TUMOR, 2).eval(), make_batch(2)
    batch = with_noise(batch, translator.noise_shapes(batch))
    traced = (
        torch.compile(losses, backend="eager", fullgraph=True)
        for losses in (translator.generator_losses, translator.discriminator_losses)
    )
    losses, fakes = next(traced)(batch)
    judged = next(traced)(batch, fakes)
    expected, _ = translator.generator_losses(batch)
    expected |= translator.discriminator_losses(batch, fakes)
    assert losses | judged == expected


def test_compiling_without_a_compiler_is_refused_with_the_remedy(tmp_path):
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "fx_graph_cache": False}),
        pytest.raises(ConfigError, match="training.compile: found no compiler .* for cpu .*; expected a C.* compiler"),
    ):
        fit(tiny_translator(), Crops(), tiny_config(compile=True), tmp_path)
