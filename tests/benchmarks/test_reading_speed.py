"""Preparing scans against bare decoding, what a second epoch reads, and how finding cases grows with their number."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.data.cache import prepare_cases
from medaug.data.layouts import find_cases
from medaug.data.prepared import View, views_of
from medaug.phantoms import head_phantom
from medaug.volumes import Window

SCANS, SHAPE = 6, (192, 192, 96)


@pytest.fixture(scope="module")
def folder(scratch: Path) -> Path:
    """Pairs as MONAI and nnU-Net users have them: gzip of int16, as scanners give it."""
    root = scratch / "scans"
    phantom = head_phantom(0, shape=SHAPE, spacing_mm=(1.2, 1.2, 1.5))
    image = (phantom.images["flair"] * 10).astype(np.int16)
    for kind, array in (("images", image), ("labels", (phantom.label > 0).astype(np.uint8))):
        (root / kind).mkdir(parents=True)
        for number in range(SCANS):
            rolled = np.roll(array, number, axis=0)  # no two alike
            nib.Nifti1Image(rolled, phantom.affine).to_filename(root / kind / f"p{number}.nii.gz")
    return root


def test_the_first_epoch_against_bare_decoding(benchmark, folder, tmp_path, seconds_in_turns, tell):
    cases, folders = find_cases(folder), iter(range(1000))

    def decode() -> None:
        for case in cases:
            for key in ("image", "label"):
                np.asanyarray(nib.load(case[key]).dataobj)

    def prepare(workers: int) -> None:
        prepare_cases(cases, tmp_path / f"{next(folders)}", workers=workers, spatial_dims=2)

    functions = {"decode": decode, "prepare": lambda: prepare(1), "two threads": lambda: prepare(2)}
    seconds = seconds_in_turns(functions, rounds=3)
    benchmark.extra_info["ratio_to_decoding"] = {k: v / seconds["decode"] for k, v in seconds.items()}
    benchmark.pedantic(prepare, (2,), rounds=1)
    tell(
        f"{SCANS} scans of {SHAPE}: decoding by nibabel {seconds['decode']:.2f} s; prepared (checked, "
        f"stored) {seconds['prepare']:.2f} s in one thread, {seconds['two threads']:.2f} s in two: "
        f"{seconds['prepare'] / seconds['decode']:.2f} and {seconds['two threads'] / seconds['decode']:.2f}"
    )


def test_a_second_epoch_never_decodes_gzip(benchmark, folder, tmp_path, monkeypatch, tell):
    prepared = tmp_path / "prepared"
    entries, _ = prepare_cases(find_cases(folder), prepared, spatial_dims=2)
    entries = [replace(entry, windows=(Window(0.0, 1000.0),)) for entry in entries]
    views = views_of(entries, 2)
    decode = min(_timed(lambda: np.asanyarray(nib.load(entries[0].image).dataobj)) for _ in range(3))

    def refused(*arguments: object, **options: object) -> None:
        raise AssertionError("a gzip file was opened")

    monkeypatch.setattr(gzip, "open", refused)
    monkeypatch.setattr(nib, "load", refused)
    prepare_cases(find_cases(folder), prepared, spatial_dims=2)
    benchmark(read_all, views[:50], prepared)
    each = benchmark.stats.stats.median / 50
    tell(f"a slice of a prepared scan: {1e3 * each:.2f} ms; decoding its scan: {1e3 * decode:.0f} ms")


@pytest.mark.parametrize("cases", [250, 1000, 4000])
def test_finding_cases_grows_with_their_number(benchmark, tmp_path, cases, tell):
    """Names alone are looked at; files are opened when they are prepared."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for number in range(cases):
            (tmp_path / kind / f"patient-{number:05d}.nii.gz").touch()
    assert len(benchmark.pedantic(find_cases, (tmp_path,), rounds=3)) == cases
    tell(f"{cases} cases found in {benchmark.stats.stats.min:.2f} s")


def read_all(views: list[View], folder: Path) -> None:
    for view in views:
        view.read(folder)


def _timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
