"""Structure losses: what they are indifferent to, what they notice, and that they lead somewhere."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medaug.models import losses as structure
from medaug.models.losses import gradient_difference, mutual_information, segmentation_consistency

DIMS = pytest.mark.parametrize("dims", [2, 3])


def image(seed: int, dims: int = 2, size: int | None = None) -> torch.Tensor:
    """A smooth random image (2, 1, *S) that fills [-1, 1]."""
    rng = np.random.RandomState(seed)
    shape = [size or {2: 64, 3: 20}[dims]] * dims
    smooth = np.stack([gaussian_filter(rng.normal(size=shape), 1.5)[None] for _ in range(2)])
    return torch.from_numpy(smooth / np.abs(smooth).max()).float()


@DIMS
def test_gradient_difference_ignores_a_constant_and_an_inversion(dims):
    x = image(0, dims)
    assert gradient_difference(x, x) == 0
    assert float(gradient_difference(x, x + 0.25)) < 1e-6 and float(gradient_difference(x, -x)) < 1e-6


@DIMS
def test_gradient_difference_notices_blur_and_shift(dims):
    x = image(0, dims)
    blurred = torch.from_numpy(gaussian_filter(x.numpy(), [0, 0] + [2] * dims))
    assert float(gradient_difference(x, blurred)) > 0.01 and float(gradient_difference(x, x.roll(3, -1))) > 0.01


def test_gradient_difference_is_the_mean_over_axes():
    x, y = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    y[..., 1:, :] = 0.6  # one step along the first axis: 3 of 6 differences are 0.6
    assert float(gradient_difference(x, y)) == pytest.approx(0.5 * (0.3 + 0.0))


@DIMS
def test_mutual_information_is_largest_with_the_image_itself(dims):
    x = image(1, dims)
    own = float(mutual_information(x, x))
    rivals = [image(2, dims), x.roll(2, -1), x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))]
    assert all(own > 1.3 * float(mutual_information(x, rival)) for rival in rivals)


@DIMS
def test_mutual_information_hardly_feels_a_monotone_remap(dims):
    x = image(1, dims)
    own = float(mutual_information(x, x))
    for remapped in (-x, torch.sin(1.2 * x), 0.8 * x + 0.2 * x**3):
        assert float(mutual_information(x, remapped)) == pytest.approx(own, rel=0.15)


def test_mutual_information_of_independent_noise_is_about_zero():
    x, y = torch.rand(2, 2, 1, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert 0 <= float(mutual_information(x, y)) < 0.03


def test_mutual_information_of_a_gaussian_pair_is_that_of_the_formula():
    first, second = torch.randn(2, 1, 1, 256, 256, generator=torch.Generator().manual_seed(0)).double() / 4
    mixed = 0.8 * first + 0.6 * second
    smoothing = (2 / 31) ** 2  # the variance that windows one bin wide add to both
    correlation = 0.8 * (1 / 16) / (1 / 16 + smoothing)
    assert float(mutual_information(first, mixed)) == pytest.approx(-0.5 * np.log(1 - correlation**2), rel=0.03)


def test_mutual_information_counts_weighted_voxels_only():
    x, weight = image(3), torch.zeros(2, 1, 64, 64)
    weight[..., :32] = 1
    y = x.clone()
    y[..., 32:] = image(4)[..., 32:]
    inside = float(mutual_information(x, y, weight))
    assert inside == pytest.approx(float(mutual_information(x[..., :32], x[..., :32])), rel=1e-4)
    assert float(mutual_information(x, y)) < 0.9 * inside
    assert mutual_information(x, y, torch.zeros_like(weight)) == 0


def test_mutual_information_is_the_same_in_one_piece_and_in_many(monkeypatch):
    results = []
    for voxels in (2**15, 1000):
        monkeypatch.setattr(structure, "CHUNK_VOXELS", voxels)
        x = image(5).requires_grad_()
        value = mutual_information(x, image(6))
        value.backward()
        results.append((value.detach(), x.grad))
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-7)


def test_mutual_information_keeps_no_windows_for_the_backward_pass():
    saved = []
    x = torch.rand(1, 1, 40, 40, 40, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        mutual_information(x, x.detach())
    assert sum(saved) < 4 * x.numel()  # the windows alone would be 64 times the image


@DIMS
@pytest.mark.parametrize("loss", [gradient_difference, mutual_information])
def test_gradients_are_finite_even_on_constant_images(dims, loss):
    for x in (image(7, dims), torch.zeros_like(image(7, dims)), torch.full_like(image(7, dims), -1.0)):
        x = x.clone().requires_grad_()
        loss(x, image(8, dims)).backward()
        assert torch.isfinite(x.grad).all()


def test_following_mutual_information_aligns_unrelated_images():
    target, x = image(9), (0.1 * image(10)).requires_grad_()
    optimizer = torch.optim.Adam([x], 0.02)
    start = float(mutual_information(x, target).detach())
    for _ in range(15):
        optimizer.zero_grad()
        (-mutual_information(x, target)).backward()
        optimizer.step()
    assert float(mutual_information(x, target).detach()) > start + 0.2


def bright(x: torch.Tensor) -> torch.Tensor:
    """A stand-in for a network: logits that are positive where the image is bright."""
    return 20 * (x - 0.2)


@DIMS
def test_segmentation_consistency_asks_for_the_same_regions(dims):
    source = image(11, dims)
    kept, moved = (float(segmentation_consistency(bright, fake, source)) for fake in (source, source.roll(4, -1)))
    assert kept < 0.2 < 1 < moved


def test_segmentation_consistency_prefers_the_label():
    source = image(12)
    label = (image(13) > 0.2).float()
    wrong, right = (float(segmentation_consistency(bright, fake, source, label)) for fake in (source, 2 * label - 1))
    assert right < 0.1 < 1 < wrong


def test_segmentation_consistency_leads_the_image_only():
    network = torch.nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)
    source, fake = image(14), image(15).requires_grad_()
    segmentation_consistency(network, fake, source).backward()
    assert torch.isfinite(fake.grad).all() and fake.grad.any() and network.weight.grad is None
