"""`medaug grow`: what it writes, the same again with the same seed, and how it ends when the series does not fit."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from typer.testing import CliRunner

from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.data.files import read_label, read_scan, write_scan

from ..stored import array_of

PLAN = ("--steps", "3", "--start-mm", "20", "--doubling-days", "30")


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def head(tiny_run, tmp_path_factory):
    """A test patient's folder with `head.nii.gz` (int16), `organ.nii.gz` and `head.png` of one slice."""
    patient, folder = read_json(tiny_run.split)["test"][0], tmp_path_factory.mktemp("head")
    entry = next(e for e in read_json(tiny_run.datalist)["cases"] if e["patient"] == patient)
    image, organ = (array_of(tiny_run.prepared, entry, k).astype(float) for k in ("image", "organ"))
    image = np.rint(200 * image / image.max())
    for name, array, dtype in (("head", image, "int16"), ("organ", organ, "uint8")):
        tensor = MetaTensor(torch.from_numpy(array)[None], affine=torch.tensor(entry["affine"]))
        write_scan(folder / f"{name}.nii.gz", tensor, dtype=dtype)
    write_scan(folder / "head.png", np.kron(image[..., 4], np.ones((4, 4)))[None], dtype="uint8")
    return folder


def test_a_series_is_written_with_manifest_animation_and_page(cli, head, weights_folder, tmp_path):
    scan, options = head / "head.nii.gz", ("--organ-mask", head / "organ.nii.gz", "--mass-effect", "0.5", *PLAN)
    done = cli("grow", scan, "-w", weights_folder, "-o", tmp_path, "--seed", "3", *options)
    assert done.exit_code == 0, done.output
    listed = done.stdout.split()
    assert sorted(listed) == sorted(str(path) for path in tmp_path.iterdir()) and len(listed) == 9
    facts = read_json(tmp_path / "head_growth.json")
    assert facts["seed"] == 3 and facts["weights"] == read_json(weights_folder / "model.json")["sha256"]
    assert [row["days"] for row in facts["steps_made"]] == [0, 30, 60]
    source, before = read_scan(scan), None
    for row in facts["steps_made"]:
        image, label = read_scan(tmp_path / row["image"]), read_label(tmp_path / row["label"]).as_tensor().numpy() > 0
        assert image.shape == source.shape and image.meta["dtype"] == "int16"
        np.testing.assert_allclose(image.affine, source.affine, atol=1e-4)
        assert row["volume_ml"] == pytest.approx(label.sum() * 0.36)
        assert (image != source).as_tensor().numpy()[label].any()
        assert before is None or (not (before & ~label).any() and label.sum() > before.sum())
        before = label
    with Image.open(tmp_path / "head_growth.gif") as animation:
        assert animation.n_frames == 3
    page = (tmp_path / "head_growth.html").read_text()
    assert "://" not in page and page.count('src="data:image/png;base64,') == 3 + 3  # figures and steps
    assert all(row["label"] in page for row in facts["steps_made"])
    assert 'class="verdict' not in page


def test_the_same_seed_writes_the_same_files_and_another_seed_others(cli, head, weights_folder, tmp_path):
    def grown(name, seed):
        out = tmp_path / name
        done = cli("grow", head / "head.nii.gz", "-w", weights_folder, "-o", out, "--seed", seed, *PLAN)
        assert done.exit_code == 0, done.output
        return {path.name: path.read_bytes() for path in out.iterdir()}

    first, again, other = grown("a", 1), grown("b", 1), grown("c", 2)
    assert first == again
    assert first["head_grown_02.nii.gz"] != other["head_grown_02.nii.gz"]


def test_a_picture_is_measured_in_area(cli, head, weights_folder, tmp_path):
    done = cli("grow", head / "head.png", "-w", weights_folder, "-o", tmp_path, "--steps", "2", "--start-mm", "14")
    assert done.exit_code == 0, done.output
    rows = read_json(tmp_path / "head_growth.json")["steps_made"]
    assert rows[1]["area_mm2"] > rows[0]["area_mm2"] and "volume_ml" not in rows[0]
    assert read_scan(tmp_path / rows[1]["image"]).meta["dtype"] == "uint8"


def test_a_series_that_cannot_fit_ends_with_3_and_the_largest_size(cli, head, weights_folder, tmp_path):
    options = ("--organ-mask", head / "organ.nii.gz", "--steps", "9", "--start-mm", "100", "--doubling-days", "60")
    done = cli("grow", head / "head.nii.gz", "-w", weights_folder, "-o", tmp_path / "out", *options)
    assert done.exit_code == 3
    assert "expected at most" in done.stderr and "mm, the largest size that fits" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("setting", [("--steps", "1"), ("--mass-effect", "2"), ("--doubling-days", "0")])
def test_settings_that_make_no_sense_end_with_2(cli, head, weights_folder, tmp_path, setting):
    done = cli("grow", head / "head.nii.gz", "-w", weights_folder, "-o", tmp_path / "out", *setting)
    assert done.exit_code == 2 and ": found" in done.stderr
