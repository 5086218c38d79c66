"""A real tiny benchmark through the doors: its page, its supplement, and itself again, digit by digit."""

import re
from html import unescape

import pytest
from typer.testing import CliRunner

from medaug.benchmarks.plan import blocks_of
from medaug.benchmarks.results import cell_files, read_results
from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.experiment.cells import failures_path, read_failures
from medaug.runs.folder import RunDir


def command(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def again(benchmarked, tmp_path_factory):
    """(what was printed, the new folder) of a real reproduction."""
    out = tmp_path_factory.mktemp("again") / "benchmark"
    return command("reproduce", benchmarked.root, "--out", out), RunDir(out)


def test_a_benchmark_is_reproduced_digit_by_digit(benchmarked, again):
    result, run = again
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("identical: ")
    for name in ("cells.csv", "summary.json"):
        assert (run.results / name).read_bytes() == (benchmarked.results / name).read_bytes()
    assert read_json(run.root / "reproduced.json")["differences"] == []


def test_an_edited_cell_of_a_benchmark_is_named(copied, again):
    table = copied.results / "cells.csv"
    header, first, *rest = table.read_text().splitlines()
    names, values = header.split(","), first.split(",")
    values[names.index("dice")] = "0.987"
    table.write_text("\n".join([header, ",".join(values), *rest]) + "\n")
    result = command("reproduce", copied.root, "--out", again[1].root)
    assert result.exit_code == 8
    assert "0.987" in result.stdout and "dice in 1 of" in result.stdout and "NOT identical" in result.stdout


def test_its_page_has_the_answer_the_curve_and_the_worst_patients(benchmarked):
    html = unescape(benchmarked.report.read_text())
    titles = re.findall(r"<h3>(.*?)</h3>", html)
    assert "; standard+gan " in re.search(r'<h2 id="verdict">(.*?)</h2>', html)[1]
    assert "Dice by number of labelled patients" in titles and "Worst patients of standard+gan" in titles


def test_every_cell_keeps_its_worst_patients(benchmarked):
    results = read_results(benchmarked)
    cells = cell_files(blocks_of(load_config(benchmarked.config, []), benchmarked), results)
    assert len(cells) == 8 and {cell.labelled for cell in cells} == {2, 4}
    for cell in cells:
        worst = read_failures(failures_path(cell.path))
        scores = {name: values["dice"] for name, values in read_json(cell.path)["scores"].items()}
        assert {failure.patient: failure.score for failure in worst} == scores  # three test patients are all kept


def test_its_page_is_drawn_again_without_training(copied):
    drawn = copied.report.read_bytes()
    copied.report.unlink()
    result = command("report", copied.root)
    assert result.exit_code == 0 and copied.report.read_bytes() == drawn


def test_its_supplement_says_nothing_of_the_machine(benchmarked, tmp_path):
    result = command("export-results", benchmarked.root, tmp_path / "out")
    assert result.exit_code == 0, result.output
    held = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in held} >= {"cells.csv", "labelled-2.json", "labelled-all.json", "weights.json"}
    assert not [path for path in held if b"/tmp" in path.read_bytes() or str(benchmarked.root).encode() in
                path.read_bytes()]  # fmt: skip


def test_a_benchmark_whose_settings_grew_is_unfinished(copied, tmp_path):
    copied.config.write_text(copied.config.read_text().replace("labelled: [2, all]", "labelled: [1, 2, all]"))
    result = command("export-results", copied.root, tmp_path / "out")
    assert result.exit_code == 6 and "1 of 3 settings" in result.output
