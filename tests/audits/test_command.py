"""`medaug audit`: what it prints, writes and keeps, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from medaug.audits.findings import asked_audits
from medaug.audits.insertion_audits import AUDITS
from medaug.cli import app
from medaug.config.evaluation import LimitsConfig
from medaug.config.files import load_config
from medaug.data.atomic import read_json
from medaug.errors import ConfigError, LeakageError, RunError
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline
from medaug.stages.tasks import task_of

QUICK = ("--only", "outside", "--only", "unchanged", "--only", "seams")


@pytest.fixture(scope="module")
def cli():
    runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, ["audit", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def audited(tmp_path_factory, tiny_run, cli):
    """The tiny run with all of its audits asked, and what was printed."""
    root = tmp_path_factory.mktemp("audited") / "run"
    shutil.copytree(tiny_run.root, root)
    result = cli(root, "--json", "--set", "segmenter.updates=2", "--set", "segmenter.channels=[4,8,8]")
    assert result.exit_code in (0, 8), result.output
    return RunDir(root), result


def test_every_audit_answers_and_the_exit_code_says_whether_one_fails(audited):
    run, result = audited
    printed = json.loads(result.stdout)
    assert [finding["name"] for finding in printed] == list(AUDITS)
    assert result.exit_code == (8 if any(finding["verdict"] == "fail" for finding in printed) else 0)
    kept = read_json(run.audit / "findings.json")["findings"]
    assert [{**finding} for finding in printed] == [{k: v for k, v in row.items() if k != "made_of"} for row in kept]
    for finding in printed:
        assert finding["question"].endswith("?") and finding["sentence"]
        picture = run.audit / f"{finding['name']}.png"
        assert picture.exists() == (finding["verdict"] != "skipped")


def test_an_untrained_mask_guided_generator_changes_nothing_outside_the_mask(audited):
    outside = json.loads(audited[1].stdout)[0]
    assert outside["name"] == "outside" and outside["value"] == 0 and outside["verdict"] == "pass"


def test_the_page_shows_the_audits_once_they_were_asked(audited, tiny_run):
    assert "Does the fake hide its source?" in audited[0].report.read_text()
    assert "Does the fake hide its source?" not in tiny_run.report.read_text()


def test_the_probe_of_the_page_is_the_audit_of_the_shortcut(copy_of_run, tiny_config, forget):
    """One measurement: the same insertions, features and folds."""
    forget(copy_of_run, "audit")
    run_pipeline(tiny_config(), copy_of_run.root, until="audit")
    realism = read_json(copy_of_run.audit / "realism.json")
    (shortcut,) = asked_audits(*task_of(tiny_config()).audits(copy_of_run), ["shortcut"])
    assert realism["n"] == shortcut.n["pairs"] > 4
    assert [realism["probe"][key] for key in ("auc", "low", "high")] == [shortcut.value, shortcut.low, shortcut.high]


def test_the_audit_of_realism_stays_where_it_was(audited, tiny_run):
    for name in ("realism.json", "pictures.png"):
        assert (audited[0].audit / name).read_bytes() == (tiny_run.audit / name).read_bytes()


@pytest.fixture
def pageless(copy_of_run):
    """A run without a page to refresh."""
    copy_of_run.report.unlink()
    return copy_of_run


def test_a_known_answer_is_not_worked_out_again_and_another_limit_asks_one_audit_only(cli, pageless):
    assert cli(pageless.root, *QUICK).exit_code == 0
    when = {path.name: path.stat().st_mtime_ns for path in pageless.audit.glob("*.png")}
    assert cli(pageless.root, *QUICK).exit_code == 0
    assert when == {path.name: path.stat().st_mtime_ns for path in pageless.audit.glob("*.png")}
    result = cli(pageless.root, *QUICK, "--set", "audit.limits.unchanged.fail=-1", "--set",
                 "audit.limits.unchanged.warn=-1")  # fmt: skip
    assert result.exit_code == 8 and "unchanged" in result.stdout and "│ fail" in result.stdout
    again = {path.name: path.stat().st_mtime_ns for path in pageless.audit.glob("*.png")}
    assert [name for name in when if again[name] != when[name]] == ["unchanged.png"]


def test_a_killed_audit_goes_on_with_the_next_question(pageless, cli, killed_at, contents):
    assert cli(pageless.root, *QUICK).exit_code == 0
    whole = contents(pageless.audit)
    for path in (*(pageless.audit / f"{name}.png" for name in QUICK[1::2]), pageless.audit / "findings.json"):
        path.unlink()
    killed_at(4, lambda: cli(pageless.root, *QUICK))
    names = [row["name"] for row in read_json(pageless.audit / "findings.json")["findings"]]
    assert names == ["outside"]
    assert cli(pageless.root, *QUICK).exit_code == 0
    assert contents(pageless.audit) == whole


def test_an_audit_that_there_is_not_is_refused_with_the_list(cli, tiny_run):
    result = cli(tiny_run.root, "--only", "colour")
    assert result.exit_code == ConfigError.exit_code and "colour" in result.stderr and "steganography" in result.stderr


def test_a_folder_without_weights_is_refused(cli, tmp_path):
    result = cli(tmp_path)
    assert result.exit_code == RunError.exit_code and "needs a run that has trained" in result.stderr


def test_weights_that_saw_a_held_out_patient_are_refused(cli, copy_of_run, edit_json):
    leaked = read_json(copy_of_run.split)["test"][0]
    edit_json(copy_of_run.weights / "model.json", lambda facts: facts["training_patients"].append(leaked))
    result = cli(copy_of_run.root, "--only", "outside")
    assert result.exit_code == LeakageError.exit_code and leaked in result.stderr


def test_every_audit_has_limits_and_one_given_alone_leaves_the_other():
    assert set(AUDITS) <= set(LimitsConfig.model_fields)
    limits = load_config(None, ["audit.limits.seams.fail=9"]).audit.limits
    assert (limits.seams.warn, limits.seams.fail) == (LimitsConfig().seams.warn, 9)
    with pytest.raises(ConfigError, match="did you mean 'audit.limits.seams'"):
        load_config(None, ["audit.limits.seam.fail=9"])
