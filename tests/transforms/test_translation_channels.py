"""Translations between domains of several sequences: MR and non-contrast CT to contrast CT, and back."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medaug.errors import DataError, WeightsError
from medaug.models.facts import TranslatorFacts
from medaug.models.methods import build_translator
from medaug.models.weights import Weights
from medaug.phantoms import phantoms
from medaug.transforms import RandTranslateDomain, SynthesizeCT, TranslateDomain, TranslateDomaind
from medaug.volumes import Domain, Window

NARROW, WIDE = Window(-160, 240, "HU"), Window(-1000, 1000, "HU")
BOTH = Domain("mr+noncontrast", "MR", others=(Domain("noncontrast", "CT", WIDE),))
CT = Domain("contrast", "CT", NARROW)


def weights_of(source, target, *, dims=2, patch_size=None, method="cyclegan"):
    settings = {"width": 2, "depth": 2, "discriminator_width": 2, "discriminator_layers": 1}
    translator = build_translator(method, settings, source, target, dims, seed=1)
    facts = {"domain": "ct", "spacing_mm": [8.0, 8.0, 16.0][:dims], "patch_size": patch_size}
    facts |= {"sequences": ["mr", "noncontrast"], "target_sequence": "contrast"}
    return Weights(translator.eval().requires_grad_(False), None, TranslatorFacts.model_validate(facts))


@pytest.fixture(scope="module")
def scan():
    """MR and non-contrast CT of one abdomen, (2, X, Y, Z)."""
    (phantom,) = phantoms("abdomen", 1, seed=0, shape=(48, 48, 12), spacing_mm=(8.0, 8.0, 16.0))
    image = np.stack([phantom.images[name].astype(np.float32) for name in ("mr", "noncontrast")])
    return MetaTensor(torch.from_numpy(image), affine=torch.from_numpy(phantom.affine))


@pytest.mark.parametrize(("dims", "patch_size"), [(2, None), (2, (16, 16)), (3, (16, 16, 8))])
@pytest.mark.parametrize("method", ["cyclegan", "unit", "munit", "pix2pix"])
def test_several_sequences_become_one_in_hounsfield_units(scan, method, dims, patch_size):
    weights = weights_of(BOTH, CT, dims=dims, patch_size=patch_size, method=method)
    translate, before = SynthesizeCT(weights), scan.clone()
    made = translate(scan)
    assert made.shape == (1, *scan.shape[1:]) and made.dtype == torch.int16
    torch.testing.assert_close(made.affine, scan.affine)
    outside = ~translate.body
    assert (made.numpy()[0][outside] == -1024).all() and made.numpy()[0][~outside].min() >= -160
    assert len(np.unique(made.numpy()[0][~outside])) > 10 and torch.equal(scan, before)
    assert translate.windows_of_result([NARROW, WIDE]) == (NARROW,)
    rand = RandTranslateDomain(weights, 1.0).set_random_state(seed=0)
    if weights.translator.style_dim == 0:
        assert torch.equal(rand(scan), made)
        assert torch.equal(TranslateDomaind("image", weights)({"image": scan})["image"], made)


def test_every_source_channel_is_read_in_its_own_window(scan):
    translate = TranslateDomain(weights_of(BOTH, CT))
    made = translate(scan)
    for channel in range(2):
        other = scan.clone()
        other[channel] = other[channel].flip(0)
        assert not torch.equal(translate(other, body=translate.body[None]), made)
    louder = scan.clone()
    louder[0] *= 3  # MR has a window of its own, by percentiles
    torch.testing.assert_close(translate(louder).float(), made.float(), rtol=0, atol=1)


def test_one_sequence_becomes_several(scan):
    back = TranslateDomain(weights_of(BOTH, CT), "b2a")
    made = back(scan[1:])
    assert made.shape == scan.shape and made.dtype == torch.float32
    assert back.sequences == ("contrast",) and back.windows_of_result([NARROW]) == (Window(0, 1), WIDE)
    mr, ct = made.numpy()
    assert mr.min() >= 0 and mr.max() <= 1 and (ct[~back.body] == -1024).all() and ct[back.body].min() >= -1000


def test_between_domains_alike_in_all_channels_what_nothing_changes_keeps_its_bits(scan):
    pair = Domain("late+noncontrast", "CT", WIDE, others=(Domain("noncontrast", "CT", WIDE),))
    source = Domain("contrast+noncontrast", "CT", WIDE, others=pair.others)
    weights, both = weights_of(source, pair), scan[[1, 1]]
    translate = TranslateDomain(weights)
    made = translate(both)
    assert translate.shares_unit and made.shape == both.shape and made.dtype == torch.int16
    outside = ~translate.body
    assert np.array_equal(made.numpy()[:, outside], both.numpy()[:, outside])
    assert (made.numpy() != both.numpy()).any(axis=(1, 2, 3)).all()


def test_an_image_with_other_channels_is_refused_by_the_names_of_the_sequences(scan):
    with pytest.raises(DataError, match=r"expected \(2, X, Y\).*sequences mr, noncontrast in this order"):
        TranslateDomain(weights_of(BOTH, CT))(scan[:1])
    with pytest.raises(DataError, match=r"expected \(1, X, Y\)"):
        TranslateDomain(weights_of(BOTH, CT), "b2a")(scan)
    with pytest.raises(WeightsError, match="expected CT on one side"):
        SynthesizeCT(weights_of(BOTH, Domain("pet", "PET")))
