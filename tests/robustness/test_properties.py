"""What must not matter does not: how a scan's axes run, what else is in a batch, how many threads compute."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from medaug.data.files import read_scan, write_scan
from medaug.models.methods import build_translator
from medaug.phantoms import phantoms
from medaug.transforms import InsertTumor
from medaug.volumes import Domain

PLAIN = ("cyclegan", "unit", "munit", "pix2pix")
SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}


@pytest.fixture(scope="module")
def head():
    """A head (1, X, Y, Z) and a ball in its middle."""
    drawn = next(iter(phantoms("head", 1, seed=9, shape=(32, 32, 8), spacing_mm=(6.0, 6.0, 10.0))))
    x, y, z = np.mgrid[:32, :32, :8]
    ball = (x - 14) ** 2 + (y - 17) ** 2 + 3 * (z - 4) ** 2 <= 10
    return [
        MetaTensor(torch.from_numpy(array.astype(np.float32))[None], affine=torch.from_numpy(drawn.affine))
        for array in (drawn.images["flair"], ball)
    ]


@pytest.mark.parametrize("axes", ["LPS", "RPS", "LAS", "RAI"])
def test_a_tumor_goes_to_the_same_place_in_the_body_however_the_axes_run(weights, head, axes):
    insert, turn = InsertTumor(weights, seed=3), Orientation(axcodes=axes)
    (image, mask), turned = head, [turn(part) for part in head]
    edited, label = insert(image, mask, torch.zeros_like(mask))
    edited_turned, label_turned = insert(*turned, torch.zeros_like(turned[1]))
    assert torch.equal(edited_turned.affine, turned[0].affine) and edited_turned.shape == turned[0].shape
    back = Orientation(axcodes="RAS")
    assert torch.equal(back(label_turned).as_tensor(), back(label).as_tensor())
    reach = torch.nn.functional.max_pool3d(back(mask).as_tensor(), (5, 5, 1), stride=1, padding=(2, 2, 0)) > 0
    for result, source in ((edited, image), (edited_turned, turned[0])):
        changed = back(result).as_tensor() != back(source).as_tensor()
        assert changed[back(mask).as_tensor() > 0].any() and not (changed & ~reach).any()


@pytest.mark.parametrize("axes", ["LPS", "ASR"])
def test_a_file_keeps_its_affine_and_its_values_however_its_axes_run(head, tmp_path, axes):
    turned = Orientation(axcodes=axes)(head[0])
    write_scan(tmp_path / "a.nii.gz", turned)
    again = read_scan(tmp_path / "a.nii.gz")
    assert torch.equal(again.as_tensor(), turned.as_tensor())
    np.testing.assert_allclose(again.affine, turned.affine, atol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", PLAIN)
def test_an_image_is_translated_in_a_batch_as_it_is_alone(method, dims):
    translator = build_translator(method, SMALL, Domain("a", "MR"), Domain("b", "MR"), dims).eval()
    chance = torch.Generator().manual_seed(0)
    batch = torch.rand(3, 1, *(16,) * dims, generator=chance) * 2 - 1
    styles = torch.randn(3, translator.style_dim, generator=chance) if translator.style_dim else None
    with torch.no_grad():
        together = translator.translate(batch, "a2b", style=styles)
        for index in range(3):
            style = None if styles is None else styles[index : index + 1]
            alone = translator.translate(batch[index : index + 1], "a2b", style=style)
            torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


def test_the_number_of_threads_changes_nothing_that_can_be_seen(weights, head):
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(InsertTumor(weights, seed=3)(*head, torch.zeros_like(head[1]))[0])
    finally:
        torch.set_num_threads(threads)
    one, two = results
    scale = float(one.max() - one.min())
    torch.testing.assert_close(one.as_tensor(), two.as_tensor(), rtol=0, atol=1e-5 * scale)
