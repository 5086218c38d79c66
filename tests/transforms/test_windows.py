"""Plain weights on what is larger than they were trained on: windows, slices and stacks join without a trace."""

import numpy as np
import pytest
import torch

from medaug.errors import DataError
from medaug.models.facts import TranslatorFacts
from medaug.models.methods import build_translator
from medaug.models.weights import Weights
from medaug.transforms import RandTranslateDomaind, TranslateDomain
from medaug.transforms.windows import change_of
from medaug.volumes import Domain

SETTINGS = {"generator": "unet", "width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}


def weights_of(do, dims: int = 3, patch_size=(16, 16, 8), slices: int = 1, style_dim: int = 0, **facts) -> Weights:
    """Plain weights whose translator does `do(x, style)` and notes what it saw."""
    domains = Domain("t2", "MR"), Domain("flair", "MR")
    translator = build_translator("cyclegan", SETTINGS | {"channels": slices}, *domains, dims)

    class Stub(type(translator)):
        def translate(self, x, direction, *, mask=None, style=None, generator=None):
            self.check_input(x, mask)
            self.seen.append((x.clone(), style))
            return do(x, style)

    Stub.style_dim = property(lambda self: style_dim)
    translator.__class__, translator.seen = Stub, []
    known = TranslatorFacts(spacing_mm=[1.0] * dims, patch_size=patch_size, slices=slices, **facts)
    return Weights(translator, None, known)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


@pytest.mark.parametrize(
    ("dims", "patch_size", "slices"),
    [(3, (16, 16, 8), 1), (2, (16, 16), 1), (2, None, 1), (2, None, 3), (2, (16, 16), 5)],
)
def test_an_identity_returns_the_scan_bit_for_bit(dims, patch_size, slices):
    weights = weights_of(lambda x, style: x.clone(), dims, patch_size, slices)
    scan = (noise(1, 37, 30, 11).numpy() + 1) * 173.3
    np.testing.assert_array_equal(TranslateDomain(weights)(scan), scan)
    assert weights.translator.seen


def changed(volume, weights, seed=0):
    """What `change_of` gives of the one channel of a volume."""
    return change_of(volume[None], weights, "a2b", seed=seed)[0]


def test_windows_of_a_pointwise_translator_equal_the_whole_image():
    volume, weights = noise(37, 30, 11), weights_of(lambda x, style: torch.sin(2 * x))
    change = changed(volume, weights)
    torch.testing.assert_close(change, torch.sin(2 * volume) - volume, atol=2e-6, rtol=0)
    assert len(weights.translator.seen) > 1 and all(x.shape[2:] == (16, 16, 8) for x, _ in weights.translator.seen)


def test_windows_of_other_brightness_leave_no_seam():
    """Each window is brighter or darker by 0.1 in turn: side by side that is a step of 0.2."""

    def flickering():
        counter = iter(range(10_000))
        return lambda x, style: x + torch.tensor([0.1 * (-1) ** next(counter) for _ in x]).view(-1, 1, 1, 1, 1)

    steps = {}
    for overlap in (0.0, 0.5):
        change = changed(torch.zeros(48, 48, 24), weights_of(flickering(), overlap=overlap))
        steps[overlap] = max(float(change.diff(dim=axis).abs().max()) for axis in range(3))
    assert steps[0.0] > 0.15
    assert steps[0.5] < 0.06


def test_a_volume_has_one_style_in_all_its_slices_and_windows():
    for dims, patch_size in ((2, None), (2, (16, 16)), (3, (16, 16, 8))):
        weights = weights_of(lambda x, style: x + style.sum(), dims, patch_size, style_dim=4)
        volume, styles = noise(20, 20, 12), []
        for seed in (1, 1, 2):
            weights.translator.seen.clear()
            changed(volume, weights, seed)
            rows = torch.cat([style for _, style in weights.translator.seen])
            assert rows.shape[1] == 4 and torch.equal(rows, rows[:1].expand_as(rows))
            styles.append(rows[0])
        assert torch.equal(styles[0], styles[1]) and not torch.equal(styles[0], styles[2])


def test_overlapping_stacks_are_averaged_slice_by_slice():
    """Channel k is raised by k: inside, a slice is raised by the mean of 0, 1, 2; at the ends by what reaches it."""
    weights = weights_of(lambda x, style: x + torch.arange(3.0).view(1, 3, 1, 1), 2, None, 3)
    change = changed(noise(8, 8, 5), weights)
    torch.testing.assert_close(change[0, 0], torch.tensor([0.5, 1.0, 1.0, 1.0, 1.5]), atol=1e-5, rtol=0)
    first, last = weights.translator.seen[0][0][0], weights.translator.seen[-1][0][0]
    assert torch.equal(first[0], first[1]) and torch.equal(last[1], last[2]) and not torch.equal(last[0], last[1])


def test_windows_of_background_are_not_computed():
    volume = torch.full((64, 16, 8), -1.0)
    volume[:8] = noise(8, 16, 8)
    weights = weights_of(lambda x, style: x + 0.5)
    change = changed(volume, weights)
    assert sum(len(x) for x, _ in weights.translator.seen) == 1
    assert not change[16:].any() and change[:4].min() > 0.49


def test_what_is_smaller_than_the_window_is_translated_too():
    change = changed(noise(10, 10, 5), weights_of(lambda x, style: x + 0.25))
    torch.testing.assert_close(change, torch.full((10, 10, 5), 0.25), atol=1e-6, rtol=0)


def test_single_slices_are_refused_where_the_weights_read_volumes_or_several_slices():
    picture = np.zeros((1, 16, 16), np.float32)
    picture[0, 4] = 1
    with pytest.raises(DataError, match="3-D weights"):
        TranslateDomain(weights_of(lambda x, style: x))(picture)
    with pytest.raises(DataError, match="3 neighbouring slices; give the whole volume"):
        TranslateDomain(weights_of(lambda x, style: x, 2, None, 3), window=(0, 1))(picture)


def test_the_dictionary_transform_takes_volumes_to_windows():
    weights = weights_of(lambda x, style: (x + 0.5).clamp(-1, 1), window=None)
    scan = {"image": noise(1, 20, 20, 12).numpy(), "label": np.zeros((1, 20, 20, 12), np.uint8)}
    edited = RandTranslateDomaind("image", weights=weights, label_keys="label", prob=1.0, window=(-1, 1))(scan)
    assert edited["image"].mean() > scan["image"].mean() + 0.3 and edited["label"] is scan["label"]


@pytest.mark.parametrize(("patch_size", "slices"), [(None, 1), ((16, 16), 1), (None, 3)])
def test_slices_that_go_through_together_come_out_as_one_by_one(patch_size, slices):
    weights = weights_of(lambda x, style: x * x.mean(dim=(1, 2, 3), keepdim=True), 2, patch_size, slices)
    volume = noise(1, 24, 20, 11)
    alone, together = (change_of(volume, weights, "a2b", seed=0, at_once=n) for n in (1, 4))
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert max(len(x) for x, _ in weights.translator.seen) > 1
