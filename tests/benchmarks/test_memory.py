"""How much memory one large scan takes, by the command line: 512 × 512 × 300 voxels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.phantoms import abdomen_phantom, head_phantom

SHAPE = (512, 512, 300)
LIMIT_GB = 4.0
MEASURED = (
    "import sys; from medaug.cli import app\n"
    "try: app(sys.argv[1:])\n"
    "finally: print('peak', open('/proc/self/status').read().partition('VmHWM:')[2].split()[0], file=sys.stderr)"
)


def large(image: np.ndarray, path: Path) -> Path:
    """The phantom's voxels repeated up to the size, int16."""
    for axis, (size, wanted) in enumerate(zip(image.shape, SHAPE, strict=True)):
        image = np.repeat(image, wanted // size, axis=axis)
    nib.Nifti1Image(image.astype(np.int16), np.diag([0.5, 0.5, 1.0, 1.0])).to_filename(path)
    return path


def peak_gb(*arguments: object) -> float:
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stderr.rsplit("peak", 1)[1]) * 1024 / 1e9


@pytest.mark.timeout(3000)
def test_inserting_into_a_large_scan_stays_within_the_limit(trained_folder, tmp_path, tell):
    scan = large(
        head_phantom(0, shape=(128, 128, 100), spacing_mm=(2, 2, 3)).images["flair"] * 10, tmp_path / "s.nii.gz"
    )
    weights = trained_folder("data.spatial_dims=3", "crop.size=[40,40,24]")
    peak = peak_gb("insert", scan, "--weights", weights, "--out", tmp_path / "out", "--size-mm", 10, 20)
    tell(f"medaug insert, 3-D, {SHAPE}: {peak:.2f} GB at its peak")
    assert peak < LIMIT_GB


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("dims", ["slices", "windows"])
def test_translating_a_large_scan_stays_within_the_limit(trained_folder, ct_to_ct, tmp_path, dims, tell):
    """Narrow networks: their width costs time, and memory of a few windows at once only."""
    image = abdomen_phantom(0, shape=(128, 128, 50), spacing_mm=(2, 2, 6)).images["contrast"]
    scan = large(image, tmp_path / "s.nii.gz")
    volumes = ("data.spatial_dims=3", "crop.size=[64,64,48]", "data.phantoms.shape=[96,96,48]")
    weights = trained_folder(
        *ct_to_ct, "translator.generator=unet", "translator.width=4", "translator.depth=3", "crop.overlap=0.25",
        *(volumes if dims == "windows" else ()),
    )  # fmt: skip
    peak = peak_gb("synth-ct", scan, "--weights", weights, "--out", tmp_path / "out", "--direction", "a2b")
    tell(f"medaug synth-ct by {dims}, {SHAPE}: {peak:.2f} GB at its peak")
    assert peak < LIMIT_GB
