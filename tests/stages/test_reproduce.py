"""A run again: identical tables on one machine, and whatever was changed found and named; a page drawn again."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from medaug.benchmarks.reproduce import compared
from medaug.cli import app
from medaug.data.atomic import read_json
from medaug.runs.finished import finished_run
from medaug.runs.folder import RunDir


def command(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def again(tiny_run, tmp_path_factory):
    """(what was printed, the exit code, the new run) of a real reproduction."""
    out = tmp_path_factory.mktemp("again") / "run"
    result = command("reproduce", tiny_run.root, "--out", out)
    return result, RunDir(out)


@pytest.fixture
def edited(tiny_run, again, tmp_path):
    """`edited(change)`: what is found once `change` has been made to the files of the old run."""

    def edited(change):
        old = RunDir(tmp_path / "old")
        shutil.copytree(tiny_run.root, old.root)
        change(old)
        return compared(finished_run(old.root), finished_run(again[1].root))

    return edited


def test_a_run_is_reproduced_digit_by_digit(tiny_run, again):
    result, run = again
    assert result.exit_code == 0, result.output
    assert "identical: " in result.stdout and "NOT" not in result.stdout
    assert (run.evaluation / "scores.csv").read_bytes() == (tiny_run.evaluation / "scores.csv").read_bytes()
    assert read_json(run.weights / "model.json")["sha256"] == read_json(tiny_run.weights / "model.json")["sha256"]
    noted = read_json(run.root / "reproduced.json")
    assert noted["identical"] and noted["differences"] == [] and noted["scores"] > 0 and noted["verdicts"] > 0


def test_an_edited_score_is_named(edited):
    def change(old):
        path = old.evaluation / "scores.csv"
        header, first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([header, ",".join([*first.split(",")[:3], "0.9", *first.split(",")[4:]]), *rest]))

    found = edited(change)
    (difference,) = found.differences
    assert not found.identical and difference.kind == "scores"
    assert "scores.csv: dice in 1 of " in difference.where and difference.before == "0.9"
    assert "NOT identical" in found.text() and difference.where.split(",")[0] in found.text()


def test_a_difference_below_the_tables_digits_is_found_in_the_cells(edited, edit_json):
    def change(old):
        path = old.evaluation / "cells" / "standard-seed0.json"
        patient = next(iter(read_json(path)["scores"]))
        edit_json(path, lambda cell: cell["scores"][patient].update(dice=cell["scores"][patient]["dice"] + 1e-9))

    (difference,) = edited(change).differences
    assert difference.kind == "scores" and difference.where.startswith("cells: dice in 1 of ")


def test_an_edited_verdict_is_named(edited, edit_json):
    def change(old):
        edit_json(old.evaluation / "summary.json", lambda summary: summary["comparisons"][0].update(verdict="hurts"))

    found = edited(change)
    (difference,) = found.differences
    assert (difference.kind, difference.before) == ("verdict", "hurts") and not found.identical
    assert difference.where == "standard+gan against standard, dice"


def test_another_seed_split_weights_and_version_are_named(edited, edit_json):
    def change(old):
        old.config.write_text(old.config.read_text().replace("steps: 3", "steps: 4"))
        edit_json(old.split, lambda split: split.update(hash="0" * 64, test=split["test"][1:]))
        edit_json(old.weights / "model.json", lambda facts: facts.update(sha256="f" * 64))
        edit_json(old.environment, lambda made: made["packages"].update(torch="1.0"))

    found = edited(change)
    assert {(d.kind, d.where.split(":")[0]) for d in found.differences} == {
        ("settings", "training.steps"), ("split", "patients"), ("weights", "translator"), ("environment", "torch"),
    }  # fmt: skip
    assert found.identical  # the scores are: what they were made with is only said


def test_a_missing_row_is_named(edited):
    def change(old):
        path = old.evaluation / "scores.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:-1]))

    (difference,) = edited(change).differences
    assert "new rows: arm " in difference.where and (difference.before, difference.again) == ("0", "1")


def test_the_command_ends_with_3_where_scores_differ(tiny_run, again, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(tiny_run.root, old)
    path = old / "evaluation" / "scores.csv"
    path.write_text(path.read_text().replace("standard,0,", "standard,0,x", 1))
    result = command("reproduce", old, "--out", again[1].root)  # nothing of it is run again
    assert result.exit_code == 8
    assert "NOT identical" in result.stdout and "missing rows" in result.stdout


def test_changed_data_are_refused_before_training(copy_of_run, tmp_path, edit_json):
    edit_json(copy_of_run.datalist, lambda found: found["cases"][0].update(content="0" * 16))
    result = command("reproduce", copy_of_run.root, "--out", tmp_path / "again")
    assert result.exit_code == 3
    assert "1 changed (" in result.output and not (tmp_path / "again" / "train").exists()


def test_an_unfinished_run_is_not_begun_again(copy_of_run, tmp_path):
    (copy_of_run.evaluation / "summary.json").unlink()
    result = command("reproduce", copy_of_run.root, "--out", tmp_path / "again")
    assert result.exit_code == 6 and "missing: evaluation/summary.json" in result.output
    assert not (tmp_path / "again").exists()


def test_a_run_is_not_reproduced_into_itself(tiny_run):
    result = command("reproduce", tiny_run.root, "--out", tiny_run.root)
    assert result.exit_code == 2 and "expected another folder" in result.output


def test_the_page_is_drawn_again_from_the_folder(copy_of_run):
    before = copy_of_run.report.read_text()
    summary = copy_of_run.evaluation / "summary.json"
    values = json.loads(summary.read_text())
    values["comparisons"][0]["sentence"] = "A sentence of the summary."
    summary.write_text(json.dumps(values))
    result = command("report", copy_of_run.root)
    assert result.exit_code == 0 and result.stdout.strip() == str(copy_of_run.report)
    assert "A sentence of the summary." in copy_of_run.report.read_text() and "A sentence" not in before


def test_a_page_is_not_drawn_of_an_unfinished_run(copy_of_run):
    copy_of_run.done("audit").unlink()
    result = command("report", copy_of_run.root)
    assert result.exit_code == 6 and "missing: copy: audit" in result.output
