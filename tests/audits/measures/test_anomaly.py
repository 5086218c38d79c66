"""Pseudo-healthy images and anomaly maps, with stub translators whose fills are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from medaug.audits.measures.anomaly import CropScorer, RemovalScorer, Tiling, level_scores
from medaug.errors import ConfigError, DataError

SPACING = (2.0, 2.0)


class Stub(nn.Module):
    """Fills by `fill(crops, mask)`; records what it was shown."""

    stride = 4

    def __init__(self, fill, spatial_dims=2):
        super().__init__()
        self.fill, self.spatial_dims, self.seen = fill, spatial_dims, []
        self.one = nn.Parameter(torch.zeros(1))

    def translate(self, x, direction, *, mask=None, style=None, generator=None):
        assert direction == "b2a"
        self.seen.append(tuple(x.shape))
        return self.fill(x, mask)


def surroundings(x, mask):
    """Each crop's median of tissue outside its tile: what a perfect inpainting of flat tissue gives."""
    outside = torch.where((mask > 0) | (x < -0.99), torch.nan, x).flatten(1).nanmedian(1).values.nan_to_num()
    return torch.where(mask > 0, outside.reshape(-1, 1, *[1] * (x.ndim - 2)), x)


def stub_weights(fill, *, crop_size=(16, 16), spacing_mm=SPACING, sequences=("flair",), n_parts=1):
    prior = SimpleNamespace(crop_size=crop_size, spacing_mm=spacing_mm, diameters_mm=np.array([6.0, 8.0]))
    translator = Stub(fill, len(crop_size))
    facts = {"sequences": sequences, "n_parts": n_parts, "spacing_mm": spacing_mm}
    return SimpleNamespace(translator=translator, translate=translator.translate, lesion_prior=prior, **facts)


@pytest.fixture
def scan():
    """(1, X, Y), organ, lesion: flat tissue 0 in a disc, air around it, a bright lesion of 8 mm at (20, 26)."""
    x, y = np.mgrid[:48, :48]
    organ = np.hypot(x - 24, y - 24) < 18
    lesion = np.hypot(x - 20, y - 26) <= 2
    image = np.where(organ, 0.0, -1.0) + 0.8 * lesion
    return image.astype(np.float32)[None], organ, lesion


def test_the_map_is_zero_where_removal_changes_nothing(scan):
    image, organ, _ = scan
    found = RemovalScorer(stub_weights(lambda x, mask: x))(image, organ, SPACING)
    assert not found.residual.any()
    np.testing.assert_array_equal(found.healthy, image)


def test_a_planted_lesion_stands_out_and_is_gone_from_the_pseudo_healthy_image(scan):
    image, organ, lesion = scan
    found = RemovalScorer(stub_weights(surroundings), tile_mm=16.0, smoothing_mm=2.0)(image, organ, SPACING)
    assert np.unravel_index(found.residual.argmax(), organ.shape) == (20, 26)
    assert found.residual[lesion].min() > 0.2 > 10 * np.median(found.residual[organ])
    assert np.abs(found.healthy[:, lesion]).max() < 0.05
    assert not found.residual[~organ].any()


def test_a_lesion_wider_than_a_tile_fades_with_the_passes(scan):
    image, organ, lesion = scan
    left = [
        RemovalScorer(stub_weights(lambda x, m: (x + surroundings(x, m)) / 2), tile_mm=8.0, passes=passes)(
            image, organ, SPACING
        ).healthy[:, lesion].mean()
        for passes in (1, 3)
    ]  # fmt: skip
    assert left[1] < 0.5 * left[0]


def test_a_dark_spot_counts_unless_only_brighter_is_asked_for(scan):
    image, organ, lesion = scan
    image = np.where(lesion, -0.8, image).astype(np.float32)
    both, brighter = (
        RemovalScorer(stub_weights(surroundings), tile_mm=16.0, only_brighter=only)(image, organ, SPACING).residual
        for only in (False, True)
    )
    assert both[lesion].mean() > 0.15 > 0.01 > brighter[lesion].mean()


def test_overlapping_tiles_cover_the_whole_organ_and_nothing_else(scan):
    image, organ, _ = scan
    for tile_mm in (4.0, 9.0, 16.0):
        tiling = Tiling(tile_mm, (16, 16), SPACING)
        covered = np.zeros(organ.shape, int)
        for boxes, crops, regions in tiling.crops(image, organ):
            assert crops.shape == regions.shape == (len(boxes), 1, 16, 16)
            for box, region in zip(boxes, regions[:, 0].numpy(), strict=True):
                inside, part = box.overlap(organ.shape)
                assert region.any() and not region[~tiling.tile].any()
                covered[inside] += region[part].astype(int)
        assert covered[organ].min() >= 1 and covered.max() <= 16 and not covered[~organ].any()


def test_a_finer_scan_is_looked_at_on_the_weights_grid(scan):
    image, organ, lesion = scan
    fine = [np.kron(array, np.ones((2, 2), array.dtype)) for array in (image[0], organ, lesion)]
    weights = stub_weights(surroundings)
    coarse = RemovalScorer(weights, tile_mm=16.0)(image, organ, SPACING)
    found = RemovalScorer(weights, tile_mm=16.0)(fine[0][None], fine[1], (1.0, 1.0))
    assert {shape[2:] for shape in weights.translator.seen} == {(16, 16)}
    assert found.residual.shape == (96, 96) and found.residual[fine[2]].min() > 0.1
    assert found.residual[fine[2]].mean() == pytest.approx(coarse.residual[lesion].mean(), rel=0.25)


def test_flat_weights_score_a_volume_slice_by_slice_and_solid_ones_as_a_whole(scan):
    image, organ, lesion = (np.stack([array] * 3, -1) for array in scan)
    image[0, ..., 0] = np.where(organ[..., 0], 0.0, -1.0)
    found = RemovalScorer(stub_weights(surroundings), tile_mm=16.0)(image, organ, (2.0, 2.0, 5.0))
    scores = level_scores(found.residual, organ, 100)
    assert scores[0] == pytest.approx(0.0, abs=1e-6) and scores[1] == scores[2] > 0.1
    solid = stub_weights(surroundings, crop_size=(16, 16, 12), spacing_mm=(2.0, 2.0, 5.0))
    assert RemovalScorer(solid)(image, organ, (2.0, 2.0, 5.0)).healthy.shape == image.shape
    with pytest.raises(DataError, match="the weights are 3-D"):
        RemovalScorer(solid)(image[..., 0], organ[..., 0], SPACING)


def test_the_same_seed_gives_the_same_map_and_another_seed_another(weights, scan):
    image, organ, _ = scan
    maps = [RemovalScorer(weights, seed=seed)(image, organ, weights.spacing_mm).residual for seed in (1, 1, 2)]
    assert np.array_equal(maps[0], maps[1]) and not np.array_equal(maps[0], maps[2])
    assert maps[0].any() and np.isfinite(maps[0]).all()


def test_sequences_are_filled_at_once_and_their_changes_averaged_whatever_the_parts(scan):
    image, organ, lesion = scan
    flat = np.where(organ, 0.0, -1.0).astype(np.float32)
    both = stub_weights(
        lambda x, mask: surroundings(x, mask[:, :1]) if mask.shape[1] == 3 and not mask[:, 1:].any() else x,
        sequences=("flair", "t1"),
        n_parts=3,
    )
    found = RemovalScorer(both, tile_mm=16.0)(np.stack([image[0], flat]), organ, SPACING)
    alone = RemovalScorer(stub_weights(surroundings), tile_mm=16.0)(image, organ, SPACING)
    assert {shape[1] for shape in both.translator.seen} == {2} and found.healthy.shape == (2, *organ.shape)
    assert found.residual[lesion].min() > 0.3 * alone.residual[lesion].min()
    assert found.residual.max() < alone.residual.max(), "the other sequence shows nothing"
    with pytest.raises(DataError, match="found 1 channels; the weights' 2"):
        RemovalScorer(both, tile_mm=16.0)(image, organ, SPACING)


def test_any_score_of_crops_plugs_in(scan):
    image, organ, lesion = scan

    def brightness(crops):
        return crops.amax(dim=(1, 2, 3)).clamp(min=0).numpy()

    found = CropScorer(brightness, (12, 12), SPACING, 4.0)(image, organ, SPACING)
    assert found.healthy is None and not found.residual[~organ].any()
    assert found.residual[lesion].min() == pytest.approx(0.8)
    assert np.median(found.residual[organ]) == 0


def test_a_tile_that_leaves_no_surroundings_is_refused_naming_the_largest():
    with pytest.raises(ConfigError, match="found 20; expected at most 16"):
        RemovalScorer(stub_weights(surroundings), tile_mm=20.0)


def test_a_slice_without_organ_has_no_score():
    organ = np.zeros((4, 4, 2), bool)
    organ[:2, :, 1] = True
    values = np.arange(32.0).reshape(4, 4, 2)
    scores = level_scores(values, organ, 100)
    assert np.isnan(scores[0]) and scores[1] == 15
