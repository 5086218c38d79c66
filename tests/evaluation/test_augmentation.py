"""The standard augmentation is nnU-Net's list: how often, how much, and what moves together."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medaug.evaluation.augmentation import RandTurnScaleMirror, standard_augmentation


def sample(size=(40, 36), channels=1, seed=0):
    rng = np.random.RandomState(seed)
    image = rng.normal(0.2, 0.3, (channels, *size)).astype(np.float32)
    label = rng.randint(0, 3, (1, *size)).astype(np.float32)
    return {"image": MetaTensor(torch.from_numpy(image)), "label": MetaTensor(torch.from_numpy(label))}


def augmented(given, augment, seed):
    augment.set_random_state(seed=seed)
    return augment(given)


def test_the_same_seed_gives_the_same_sample_and_the_input_stays_as_it_is():
    given, augment = sample(), standard_augmentation((40, 36))
    kept = given["image"].clone()
    first, again, other = (augmented(given, augment, seed) for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["image"], other["image"])
    assert torch.equal(given["image"], kept)


@pytest.mark.parametrize("size", [(32, 24), (16, 24, 8)])
def test_a_sample_with_a_margin_is_cut_to_its_middle_and_classes_stay_classes(size):
    augment = standard_augmentation(size)
    given = sample(tuple(n + 6 for n in size), channels=2)
    for seed in range(12):
        found = augmented(given, augment, seed)
        assert found["image"].shape == (2, *size) and found["label"].shape == (1, *size)
        assert set(np.unique(found["label"])) <= {0.0, 1.0, 2.0}
        assert torch.isfinite(found["image"]).all()


def test_a_third_is_turned_or_scaled_and_the_label_goes_with_the_image():
    turn, moved = RandTurnScaleMirror((41, 41)), 0
    image = torch.zeros(1, 41, 41)
    image[:, 10:20, 14:32] = 1
    given = {"image": MetaTensor(image), "label": MetaTensor(image.clone())}
    for seed in range(300):
        found = augmented(given, turn, seed)
        moved += turn.angles is not None or turn.factor is not None
        assert turn.angles or turn.factor or torch.equal(found["image"], image.flip(turn.mirrored))
        assert (found["label"] == (found["image"] > 0.5)).float().mean() > 0.99
    assert moved / 300 == pytest.approx(1 - 0.8 * 0.8, abs=0.08)


def test_long_samples_and_thick_slices_are_turned_less():
    def angles(size):
        turn = RandTurnScaleMirror(size, prob=1.0)
        found = []
        for seed in range(60):
            turn.set_random_state(seed=seed)
            turn.randomize()
            found.append(np.abs(turn.angles))
        return np.degrees(np.max(found, axis=0))

    assert angles((64, 64))[0] > 150 and angles((64, 32))[0] <= 15
    assert (angles((64, 64, 48)) <= 30).all()
    thick = angles((64, 64, 12))
    assert (thick[:2] == 0).all() and thick[2] > 150


def test_intensities_change_channel_by_channel_in_units_of_each_channel():
    """A channel in other units changes as much of its own spread; whether a change is made is drawn once."""
    augment = standard_augmentation((24, 24))
    one = sample((24, 24))["image"]
    label = MetaTensor(torch.zeros(1, 24, 24))
    apart = together = 0
    for seed in range(60):
        both = augmented({"image": torch.cat([one, one]), "label": label}, augment, seed)["image"]
        apart, together = apart + (not torch.equal(both[0], both[1])), together + torch.equal(both[0], both[1])
        small = augmented({"image": 0.01 * one, "label": label}, augment, seed)["image"]
        large = augmented({"image": one, "label": label}, augment, seed)["image"]
        torch.testing.assert_close(100 * small, large, rtol=1e-3, atol=1e-3)
    assert apart > 20 and together > 5


def test_gamma_keeps_mean_and_spread_and_contrast_the_range():
    """So `standard` neither darkens a scan nor leaves what its window shows."""
    augment, given = standard_augmentation((24, 24)), sample((24, 24))
    means = [float(augmented(given, augment, seed)["image"].mean()) for seed in range(200)]
    spread = [float(augmented(given, augment, seed)["image"].std()) for seed in range(200)]
    assert np.mean(means) == pytest.approx(float(given["image"].mean()), abs=0.02)
    assert 0.6 < np.median(spread) / float(given["image"].std()) < 1.1
