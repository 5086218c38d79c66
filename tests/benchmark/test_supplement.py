"""What is passed on of a run: complete, small, without images and paths; refused while the run is unfinished."""

import csv
import json
import zipfile

import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config

from .planted import planted_benchmark

FACTS = {"README.txt", "config.yaml", "environment.json", "summary.json", "weights.json"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory, tiny_config):
    folder = tmp_path_factory.mktemp("home") / "Jane Doe"
    config = tiny_config(f"data.root={folder}/my scans")
    return planted_benchmark(folder / "benchmark", config, labelled=(2, 5))


@pytest.fixture(scope="module")
def supplement(planted, tmp_path_factory):
    """Of the planted benchmark, as a folder."""
    out = tmp_path_factory.mktemp("supplement") / "out"
    result = exported(planted.root, out)
    assert result.exit_code == 0, result.output
    return out


def exported(source, out):
    return CliRunner().invoke(app, ["export-results", str(source), str(out)])


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_benchmark_is_exported_whole(planted, supplement):
    plots = {f"figures/{name}.{ending}" for name in ("differences", "rivals", "patients", "labelled")
             for ending in ("png", "svg")}  # fmt: skip
    splits = {"splits/labelled-2.json", "splits/labelled-5.json"}
    assert files(supplement) == FACTS | splits | plots | {"cells.csv"}
    readme = (supplement / "README.txt").read_text()
    assert all(name in readme for name in files(supplement))
    assert "medaug benchmark config.yaml --set data.root=<folder> --out again" in readme
    assert (supplement / "cells.csv").read_bytes() == (planted.results / "cells.csv").read_bytes()


def test_nothing_of_it_says_where_it_lay(planted, supplement):
    for name in files(supplement):
        content = (supplement / name).read_bytes()
        for path in (b"Jane", b"my scans", str(planted.root.parents[1]).encode(), str(supplement.parent).encode()):
            assert path not in content, name


def test_the_exported_settings_run_with_the_data_named_again(planted, supplement):
    held = load_config(planted.config, ["data.root=elsewhere"])
    assert load_config(supplement / "config.yaml", ["data.root=elsewhere"]) == held


def test_a_zip_holds_the_same_bytes_each_time(planted, supplement, tmp_path):
    assert exported(planted.root, tmp_path / "out.zip").exit_code == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        held = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert held == {name: (supplement / name).read_bytes() for name in files(supplement)}


def test_a_single_run_is_exported_without_pictures_of_patients(tiny_run, tmp_path):
    result = exported(tiny_run.root, tmp_path / "out")
    assert result.exit_code == 0, result.output
    plots = {f"figures/{name}.{ending}" for name in ("differences", "patients") for ending in ("png", "svg")}
    assert files(tmp_path / "out") == FACTS | plots | {"scores.csv", "split.json"}
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    with (tmp_path / "out" / "scores.csv").open() as stream:
        assert {row["patient"] for row in csv.DictReader(stream)} == set(split["test"])
    for name in files(tmp_path / "out"):
        assert str(tiny_run.root.parents[1]).encode() not in (tmp_path / "out" / name).read_bytes(), name


@pytest.mark.parametrize("lost", ["split.json", "evaluation/summary.json", "evaluation/scores.csv", "environment.json"])
def test_an_unfinished_run_is_refused_by_what_is_missing(copy_of_run, tmp_path, lost):
    (copy_of_run.root / lost).unlink()
    result = exported(copy_of_run.root, tmp_path / "out.zip")
    assert result.exit_code == 6
    assert "unfinished" in result.output and lost.replace("scores.csv", "scores*.csv") in result.output
    assert not (tmp_path / "out.zip").exists()


def test_a_run_that_was_asked_for_more_since_is_unfinished(copy_of_run, tmp_path):
    copy_of_run.config.write_text(copy_of_run.config.read_text().replace("seeds: [0]", "seeds: [0, 1]"))
    result = exported(copy_of_run.root, tmp_path / "out.zip")
    assert result.exit_code == 6 and "standard+gan, seed 1" in result.output


def test_nothing_is_written_over(tiny_run, tmp_path):
    (tmp_path / "out.zip").write_text("mine")
    result = exported(tiny_run.root, tmp_path / "out.zip")
    assert result.exit_code == 6 and "exists already" in result.output
    assert (tmp_path / "out.zip").read_text() == "mine"


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = exported(tmp_path, tmp_path / "out.zip")
    assert result.exit_code == 6 and "found no config.yaml" in result.output
