"""Styles of tumors: drawn, given or taken from a scan; one for all slices; refused where the method knows none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan, write_scan
from medaug.errors import ConfigError, DataError, WeightsError
from medaug.models.methods import build_translator
from medaug.models.weights import Weights, load_weights, save_translator
from medaug.transforms import GrowTumor, InsertTumor, RandInsertTumor
from medaug.transforms.styles import style_of

SMALL = {"width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1, "style_dim": 3}
METHODS = pytest.mark.parametrize("styled", ["munit", "unit"], indirect=True)


@pytest.fixture
def styled(request, weights, tmp_path) -> Weights:
    """Weights of a method with styles, with the prior of the tiny run."""
    method, translator = getattr(request, "param", "munit"), weights.translator
    built = build_translator(
        f"mask-guided-{method}", SMALL, translator.domain_a, translator.domain_b, translator.spatial_dims, seed=3
    )
    facts = weights.facts.model_dump(include={"spacing_mm", "training_patients", "split_hash"})
    save_translator(tmp_path / "styled", built, weights.prior, facts)
    return load_weights(tmp_path / "styled")


@METHODS
def test_each_style_gives_another_tumor_and_the_same_style_the_same(styled, head):
    image, mask = head.image[None], head.label[None]
    styles = ([1, 0, 0], [1, 0, 0], [-9, 9, 4])
    first, again, other = (InsertTumor(styled, 5, style=style)(image, mask)[0] for style in styles)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert (first != other)[mask > 0].any()


def test_a_drawn_style_is_kept_with_the_lesion_and_makes_it_again(styled, head):
    image = head.image[None]
    drawn = RandInsertTumor(styled, prob=1.0).set_random_state(seed=4)
    edited, _ = drawn(image)
    assert len(drawn.lesions[0]["style"]) == 3
    given = RandInsertTumor(styled, prob=1.0, style=drawn.lesions[0]["style"]).set_random_state(seed=4)
    np.testing.assert_allclose(given(image)[0], edited, atol=1e-3)
    other = RandInsertTumor(styled, prob=1.0, style=[8, -8, 8]).set_random_state(seed=4)
    assert not np.allclose(other(image)[0], edited, atol=1e-3)


@pytest.mark.parametrize("transform", [InsertTumor, RandInsertTumor, GrowTumor])
def test_one_style_serves_all_slices_of_a_volume(styled, head, transform, monkeypatch):
    seen = []
    monkeypatch.setattr(
        type(styled.translator), "translate",
        lambda self, x, direction, *, mask=None, style=None, generator=None: seen.append(style) or x,
    )  # fmt: skip
    image = MetaTensor(torch.from_numpy(head.image[None]), affine=torch.from_numpy(head.affine))
    mask = head.label[None]
    if transform is InsertTumor:
        transform(styled)(image, mask)
    else:
        extra = {"prob": 1.0, "size_mm": (36, 42)} if transform is RandInsertTumor else {"start_mm": 20.0, "steps": 2}
        transform(styled, **extra).set_random_state(seed=1)(image)
    assert len(seen) > 1 and all(torch.equal(style, seen[0]) for style in seen) and seen[0].abs().sum() > 0


def test_the_style_of_a_tumor_in_a_scan_is_what_the_encoder_says_of_its_largest_part(styled, head):
    image, mask = head.image[None], head.label
    windows = [styled.translator.domain_a.window_of(head.image)]
    style = style_of(image, mask > 0, windows, styled)
    assert len(style) == 3 and np.isfinite(style).all()
    assert style_of(np.clip(image * 0.5, 0, None), mask > 0, windows, styled) != style
    with pytest.raises(DataError, match="style mask is empty"):
        style_of(image, mask < 0, windows, styled)


def test_methods_without_styles_and_styles_that_do_not_fit_are_refused(weights, styled):
    with pytest.raises(WeightsError, match="'mask-guided-cyclegan' know no styles; train with --model munit"):
        InsertTumor(weights, style=[0.0, 1.0, 2.0])
    for style in ([1.0], [1.0, float("nan"), 0.0]):
        with pytest.raises(ConfigError, match="expected 3 finite numbers"):
            RandInsertTumor(styled, style=style)


@METHODS
def test_a_tumors_style_is_transplanted_by_the_command(styled, head, tmp_path):
    image, mask = (torch.from_numpy(array[None]) for array in (head.image, head.label))
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("scan", "mask", "reference")}
    write_scan(paths["scan"], image, head.affine, "int16")
    write_scan(paths["reference"], image + 100 * mask, head.affine, "int16")
    write_scan(paths["mask"], mask, head.affine, "uint8")
    base = ["insert", paths["scan"], "--mask", paths["mask"], "--weights", tmp_path / "styled", "--out"]
    results = []
    for name, extra in (("own", []), ("given", ["--style-from", paths["reference"], "--style-mask", paths["mask"]])):
        done = CliRunner().invoke(app, [str(a) for a in [*base, tmp_path / name, *extra]])
        assert done.exit_code == 0, done.output
        edited, label, _, manifest, _ = map(Path, done.stdout.split())
        np.testing.assert_array_equal(read_label(label), read_label(paths["mask"]))
        results.append((read_scan(edited).as_tensor().numpy(), read_json(manifest)["lesions"][0]))
    assert "style" not in results[0][1] and len(results[1][1]["style"]) == 3
    assert not np.array_equal(results[0][0], results[1][0])


@METHODS
def test_the_command_fills_one_mask_in_many_styles(styled, head, tmp_path):
    write_scan(tmp_path / "scan.nii.gz", torch.from_numpy(head.image[None]), head.affine, "int16")
    write_scan(tmp_path / "mask.nii.gz", torch.from_numpy(head.label[None]), head.affine, "uint8")
    options = ["--mask", "mask.nii.gz", "--weights", "styled", "--out", "out"]
    paths = [str(tmp_path / x) if x[0] != "-" else x for x in ["scan.nii.gz", *options]]
    done = CliRunner().invoke(app, ["styles", *paths, "--count", "3"])
    assert done.exit_code == 0, done.output
    *images, picture, manifest, page = map(Path, done.stdout.split())
    scans = [read_scan(image).as_tensor().numpy()[0] for image in images]
    before, region = read_scan(tmp_path / "scan.nii.gz").as_tensor().numpy()[0], head.label > 0
    for i, scan in enumerate(scans):
        assert (scan[~region] == before[~region]).all() and (scan[region] != before[region]).any()
        assert all((scan[region] != other[region]).any() for other in scans[:i])
    assert len(images) == 3 and picture.read_bytes()[:4] == b"\x89PNG" and page.read_text().count("<option") == 3
    assert read_json(manifest)["images"] == [image.name for image in images]
