"""Image grids, read back from the PNG: orientation, windows, enlargement by whole factors, and the outlines."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from medaug.figures.pictures import Picture, before_after, picture_grid


def decoded(png: bytes) -> np.ndarray:
    """(rows, columns, 3) integers."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def tile_of(png: bytes, shape_xy: tuple[int, int], tile: int) -> np.ndarray:
    """The pixels of a one-picture grid without titles, one per voxel, indexed [x, y]: the lowest rows of the PNG."""
    factor = round(2 * tile / max(shape_xy))
    pixels = decoded(png)[-shape_xy[1] * factor :, : shape_xy[0] * factor]
    blocks = pixels.reshape(shape_xy[1], factor, shape_xy[0], factor, 3)
    assert (blocks == blocks[:, :1, :, :1]).all(), "an enlarged voxel is not one colour"
    return blocks[:, 0, :, 0].transpose(1, 0, 2)


def one(picture: Picture, tile: int = 40) -> np.ndarray:
    png = picture_grid([[picture]], column_titles=[""], tile=tile)
    return tile_of(png, np.shape(picture.image), tile)


def test_x_runs_to_the_right_and_y_downwards():
    image = np.zeros((8, 5))
    image[6, 1] = 1.0  # x = 6, y = 1
    shown = one(Picture(image, vmin=0, vmax=1))
    assert shown.shape == (8, 5, 3)
    assert shown[6, 1].tolist() == [255, 255, 255]
    assert shown.sum() == 3 * 255


def test_every_grey_level_is_shown_as_it_is():
    ramp = np.arange(256.0).reshape(16, 16)
    assert (one(Picture(ramp, vmin=0, vmax=255), tile=64) == ramp[..., None]).all()


def test_values_outside_the_window_are_clipped():
    shown = one(Picture(np.array([[-5.0, 0.0], [1.0, 9.0]]), vmin=0, vmax=1))
    assert shown[..., 0].tolist() == [[0, 0], [255, 255]]


def test_pictures_of_a_row_share_their_window():
    dark, bright = np.full((4, 4), 0.0), np.full((4, 4), 2.0)
    middle = np.full((4, 4), 1.0)
    png = picture_grid([[Picture(dark), Picture(middle), Picture(bright)]], column_titles=["", "", ""], tile=40)
    line = decoded(png)[-40, :, 0]  # through the tiles of 80 pixels with gaps of 20
    assert line[40] == 0
    assert line[140] == pytest.approx(128, abs=1)
    assert line[240] == 255


def test_difference_map_is_white_at_zero_red_above_and_blue_below():
    shown = one_of_difference(np.array([[-1.0, 0.0, 1.0]] * 3))
    blue, white, red = shown[1, 0], shown[1, 1], shown[1, 2]
    assert blue[2] > blue[0] + 50
    assert red[0] > red[2] + 50
    assert white.min() > 240


def one_of_difference(image: np.ndarray) -> np.ndarray:
    """A difference map has its colour bar below: 34 CSS pixels, 68 of the PNG."""
    png = picture_grid([[Picture(image, diverging=True)]], column_titles=[""], tile=60)
    factor = round(120 / max(image.shape))
    pixels = decoded(png)[:-68][-image.shape[1] * factor :, : image.shape[0] * factor]
    return pixels[factor // 2 :: factor, factor // 2 :: factor].transpose(1, 0, 2)


def test_difference_maps_of_a_column_share_one_range():
    weak, strong = np.full((4, 4), 0.5), np.full((4, 4), -1.0)
    both = picture_grid(
        [[Picture(weak, diverging=True)], [Picture(strong, diverging=True)]], column_titles=["d"], tile=40
    )
    alone = picture_grid([[Picture(weak, diverging=True)]], column_titles=["d"], tile=40)
    top = 2 * (12 + 15)
    assert decoded(alone)[top + 40, 40].tolist() != decoded(both)[top + 40, 40].tolist()


def test_contour_outlines_the_mask_and_leaves_its_inside_visible():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 8:12] = True  # x from 5 to 14, y from 8 to 11
    png = picture_grid([[Picture(np.zeros((20, 20)), 0, 1, contour=mask)]], column_titles=[""], tile=100)
    pixels = decoded(png)[-200:, :200]
    coloured = pixels.max(axis=-1) > 60  # rows are y, columns are x, ten pixels a voxel
    rows, columns = np.flatnonzero(coloured.any(axis=1)), np.flatnonzero(coloured.any(axis=0))
    assert (columns.min(), columns.max()) == (pytest.approx(50, abs=3), pytest.approx(149, abs=3))
    assert (rows.min(), rows.max()) == (pytest.approx(80, abs=3), pytest.approx(119, abs=3))
    assert not coloured[90:110, 60:140].any()


def test_parts_are_outlined_in_colours_of_their_own_and_all_borders_are_seen():
    parts = np.zeros((20, 20), np.uint8)
    parts[4:16, 4:16], parts[8:12, 8:12] = 2, 1
    png = picture_grid([[Picture(np.zeros((20, 20)), 0, 1, contour=parts)]], column_titles=[""], tile=100)
    red, _, blue = np.moveaxis(decoded(png)[-200:, :200], -1, 0)
    orange, sky = (np.argwhere((a > 120) & (b < 60)) for a, b in ((red, blue), (blue, red)))
    assert (orange.min(axis=0) >= 80).all() and (orange.max(axis=0) < 120).all(), "the inner part"
    assert (np.abs(sky - 100) > 40).any() and (np.abs(sky - 100) < 26).all(axis=1).any(), "its outer and inner border"


def test_sequences_stand_in_rows_of_their_own():
    mask = np.zeros((6, 6), np.uint8)
    mask[2:4, 2:4] = 4
    before = np.stack([np.eye(6), 1000 * np.eye(6)[::-1]])
    one, two = (
        decoded(before_after(before[:n], before[:n] * 0.5, mask, title="t", sequences=("flair", "t1")[:n]))
        for n in (1, 2)
    )
    assert two.shape[0] > 1.6 * one.shape[0] and two.shape[1] > one.shape[1], "a row more, and their names"


def test_contour_at_the_border_and_empty_contour_are_drawn():
    assert decoded(picture_grid([[Picture(np.zeros((6, 6)), contour=np.ones((6, 6)))]], column_titles=["a"])).size
    assert (one(Picture(np.zeros((6, 6)), contour=np.zeros((6, 6)))) == 0).all()


def test_voxels_that_are_not_finite_do_not_look_like_tissue():
    shown = one(Picture(np.array([[0.0, np.nan], [1.0, 0.5]]), vmin=0, vmax=1))
    assert shown[0, 1].tolist() == [204, 121, 167]


def test_constant_blank_image_is_black():
    assert (one(Picture(np.zeros((5, 5)))) == 0).all()


def test_large_slices_are_reduced_and_small_ones_enlarged_by_whole_factors():
    assert decoded(picture_grid([[Picture(np.zeros((512, 512)))]], column_titles=[""], tile=100)).shape[1] == 200
    assert decoded(picture_grid([[Picture(np.zeros((96, 96)))]], column_titles=[""], tile=160)).shape[1] == 288


def test_grid_takes_empty_places_mixed_sizes_and_titles():
    rows = [[Picture(np.eye(10)), None], [Picture(np.eye(6)), Picture(np.ones((4, 9)), diverging=True)]]
    png = picture_grid(
        rows, column_titles=["a", "b $x"], row_titles=["a long row title with_underscores", "2"], title="t"
    )
    assert decoded(png).size


def test_grid_is_the_same_every_time_and_takes_tensors():
    rows = [[Picture(torch.eye(8)), Picture(torch.eye(8), contour=torch.eye(8) > 0, diverging=True)]]
    assert picture_grid(rows, column_titles=["a", "b"]) == picture_grid(rows, column_titles=["a", "b"])


def test_inputs_are_not_changed():
    image, mask = np.random.RandomState(0).rand(6, 6), np.eye(6)
    copies = image.copy(), mask.copy()
    before_after(image[None], image[None], mask, title="t")
    assert (image == copies[0]).all()
    assert (mask == copies[1]).all()


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one \\(X, Y\\) slice; found shape \\(1, 4, 4\\)"):
        Picture(np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="contour has shape"):
        Picture(np.zeros((4, 4)), contour=np.zeros((4, 5)))
    with pytest.raises(ValueError, match="row 0 has 1 pictures, expected 2"):
        picture_grid([[Picture(np.eye(3))]], column_titles=["a", "b"])
    with pytest.raises(ValueError, match="2 row titles for 1 rows"):
        picture_grid([[Picture(np.eye(3))]], column_titles=["a"], row_titles=["a", "b"])
    with pytest.raises(ValueError, match="at least one picture"):
        picture_grid([], column_titles=[])
    with pytest.raises(ValueError, match="one shape"):
        before_after(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), np.zeros((5, 4)), title="t")


def test_before_after_shows_the_slice_with_the_most_mask_voxels():
    before = np.zeros((1, 6, 6, 5))
    mask = np.zeros((6, 6, 5), bool)
    mask[1:3, 1:3, 1] = True
    mask[1:5, 1:5, 3] = True
    volume = before_after(before, before + mask, mask, title="t (slice z = 3)")
    # The title of a volume names the slice, so a slice with that title in full gives the same picture.
    slice_ = before_after(before[..., 3], mask[None, ..., 3] * 1.0, mask[..., 3], title="t (slice z = 3) (slice z = 3)")
    assert volume == slice_


def test_before_after_of_an_empty_mask_shows_the_middle_slice():
    before = np.random.RandomState(0).rand(1, 5, 5, 7)
    empty = np.zeros((5, 5, 7))
    assert before_after(before, before, empty, title="t") == before_after(
        before[..., 3], before[..., 3], empty[..., 3], title="t (slice z = 3)"
    )
