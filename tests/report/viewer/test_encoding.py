"""Cases as text: the same voxels at the same places, within a limit."""

import base64
import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from medaug.report.viewer import Shown, ViewerCase, encode, read_cases, write_cases
from medaug.volumes import Window


def volume(encoded, key) -> nibabel.Nifti1Image:
    name = encoded.facts[key] if key == "label" else encoded.facts[key]["volume"]
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(encoded.volumes[name])))


def bordered(case: ViewerCase, width: int) -> ViewerCase:
    """The same case in a wide field of air."""
    sides = [(width, width)] * 2 + [(0, 0)] * (case.before.image.ndim - 2)
    (before, after), *others = (
        tuple(replace(shown, image=np.pad(shown.image, sides, constant_values=-1000)) for shown in pair)
        for pair in case.channels
    )
    return replace(case, label=np.pad(case.label, sides), before=before, after=after, others=tuple(others))


@pytest.mark.parametrize("shape", [(24, 20, 6), (24, 20)])
def test_whole_numbers_and_labels_come_back_as_they_were(ball, shape):
    case = ball("a", shape)
    encoded = encode(case)
    for key, array in (("before", case.before.image), ("after", case.after.image), ("label", case.label)):
        found = np.asarray(volume(encoded, key).dataobj).reshape(shape)
        np.testing.assert_array_equal(found, array)
    np.testing.assert_allclose(volume(encoded, "before").affine, case.affine)


def test_every_channel_has_its_images_window_and_unit_on_the_one_grid(ball):
    case = bordered(ball("a", sequences=("ct", "pet")), 30)
    first, second = encode(case).facts["channels"]
    assert [first["name"], first["unit"], second["name"], second["unit"]] == ["ct", "HU", "pet", "au"]
    assert (second["after"]["low"], second["after"]["high"]) == (0, 4000) and second["difference"] > 1000
    assert encode(case).facts["before"] == first["before"], "what is shown at first"
    images = [
        nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(encode(case).volumes[side["volume"]])))
        for channel in (first, second)
        for side in (channel["before"], channel["after"])
    ]
    assert len({image.shape for image in images}) == 1 and len({image.affine.tobytes() for image in images}) == 1
    assert np.asarray(images[2].dataobj).max() == 10 * np.asarray(images[0].dataobj).max()
    assert "channels" not in encode(ball("a")).facts
    assert "difference" in encode(case).alt and encode(case).alt.endswith("of ct, pet")


def test_channels_together_stay_below_the_limit_of_a_case(ball):
    one, two = (encode(ball("a", (64, 64, 60), sequences=s), 300_000) for s in ((("",), ("ct", "pet"))))
    assert one.size <= 300_000 and two.size <= 300_000
    assert volume(two, "before").shape[2] < 0.7 * volume(one, "before").shape[2]


def test_other_numbers_come_back_within_half_a_step_and_equal_ones_stay_equal(ball):
    case = ball("a", dtype=np.float32)
    encoded = encode(case)
    before, after = (np.asarray(volume(encoded, key).dataobj) for key in ("before", "after"))
    step = np.ptp(np.stack([case.before.image, case.after.image])) / 4095
    assert np.abs(before - case.before.image).max() <= 0.51 * step
    assert np.abs(after - case.after.image).max() <= 0.51 * step
    np.testing.assert_array_equal(before[~case.label], after[~case.label])


def test_air_around_the_body_is_cut_off_and_every_voxel_keeps_its_place(ball):
    case = bordered(ball("a"), 30)
    found = volume(encode(case), "after")
    array = np.asarray(found.dataobj)
    assert array.shape == (32, 28, 6), "four voxels of margin"
    for voxel in np.argwhere(array == array[array > 0].min())[:5]:
        place = np.linalg.solve(case.affine, found.affine @ [*voxel, 1])[:3].round().astype(int)
        assert case.after.image[tuple(place)] == array[tuple(voxel)]


def test_a_picture_runs_downwards_whatever_its_affine(ball):
    found = volume(encode(ball("a", (24, 20), oriented=False)), "before")
    np.testing.assert_allclose(found.affine, np.diag([2, -2, 4, 1]))


def test_the_view_starts_in_the_middle_of_the_label(ball):
    case = ball("a")
    case.label[..., [0, 1, 2, 4, 5]] = False
    x, y, z = np.linalg.solve(case.affine, [*encode(case).facts["start_mm"], 1])[:3]
    assert (round(x), round(y), round(z)) == (12, 10, 3)


def test_a_large_case_keeps_slices_around_its_label_and_says_so(ball):
    case = ball("a", (64, 64, 60))
    case.label[..., :40] = False
    whole, part = encode(case), encode(case, limit_bytes=200_000)
    assert not whole.facts["note"] and part.size <= 200_000 < whole.size
    kept = volume(part, "before")
    depth = kept.shape[2]
    first = round((kept.affine[2, 3] - case.affine[2, 3]) / 4)
    assert 1 < depth < 60 and part.facts["note"].startswith(f"Slices {first + 1} to {first + depth} of 60")
    np.testing.assert_array_equal(np.asarray(kept.dataobj), case.before.image[..., first : first + depth])
    assert np.asarray(volume(part, "label").dataobj).any()


def test_images_in_two_units_have_no_difference(ball):
    case = replace(ball("a"), comparable=False)
    assert encode(case).facts["difference"] is None
    assert encode(ball("a")).facts["difference"] == pytest.approx(150)


def test_equal_cases_give_equal_text_and_come_back_from_a_file(ball, tmp_path):
    cases = [encode(ball("a")), encode(ball("b", (24, 20)))]
    write_cases(tmp_path / "viewer.json", cases)
    assert read_cases(tmp_path / "viewer.json") == cases == [encode(ball("a")), encode(ball("b", (24, 20)))]
    assert read_cases(tmp_path / "none.json") == []


def test_images_that_cannot_be_shown_are_refused(ball):
    window = Window(0, 1)
    with pytest.raises(ValueError, match=r"found shape \(2, 2, 2, 2\)"):
        Shown("four", np.zeros((2, 2, 2, 2)), window)
    with pytest.raises(ValueError, match="NaN or infinity"):
        Shown("nan", np.full((2, 2), np.nan), window)
    with pytest.raises(ValueError, match="need one shape"):
        replace(ball("a"), label=np.zeros((3, 3), dtype=bool))
