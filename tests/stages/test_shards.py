"""Shares of the synthetic cases: made apart, killed, or at once, they end as what one process writes."""

import multiprocessing

import pytest
from typer.testing import CliRunner

import medaug
from medaug.cli import app
from medaug.data.atomic import read_json, write_json
from medaug.errors import ConfigError, RunError
from medaug.runs.folder import RunDir
from medaug.runs.markers import claimed, seconds_by_stage
from medaug.stages.pipeline import run_pipeline
from medaug.stages.synthesize import Shard


@pytest.fixture
def unsynthesized(copy_of_run, forget):
    """A run that has trained, and has no synthetic cases."""
    forget(copy_of_run, "synthesize")
    return copy_of_run


@pytest.mark.parametrize("total", [2, 4])
def test_shares_made_in_any_order_end_as_what_one_process_writes(unsynthesized, tiny_run, contents, total):
    results = [medaug.synthesize(unsynthesized.root, shard=f"{i}/{total}") for i in range(total, 0, -1)]
    assert contents(unsynthesized.synthetic) == contents(tiny_run.synthetic)
    assert [result.datalist is None for result in results] == [True] * (total - 1) + [False]
    assert results[-1].written == results[-1].total == 6


def test_the_run_goes_on_after_shares_without_making_a_case_again(unsynthesized, tiny_config, tiny_run):
    for share in ("1/2", "2/2"):
        medaug.synthesize(unsynthesized.root, shard=share)
    ran = {}
    run_pipeline(tiny_config(), unsynthesized.root, on_stage=lambda result: ran.update({result.name: result.ran}))
    assert not ran["synthesize"]
    assert seconds_by_stage(unsynthesized)["synthesize"] > 0
    assert (unsynthesized.evaluation / "summary.json").read_bytes() == (
        tiny_run.evaluation / "summary.json"
    ).read_bytes()


def test_the_run_makes_what_shares_left(unsynthesized, tiny_config, tiny_run, contents):
    assert medaug.synthesize(unsynthesized.root, shard="1/3").written == 2
    there = {p: p.stat().st_mtime_ns for p in (unsynthesized.synthetic / "records").iterdir()}
    run_pipeline(tiny_config(), unsynthesized.root, until="synthesize")
    assert contents(unsynthesized.synthetic) == contents(tiny_run.synthetic)
    assert all(path.stat().st_mtime_ns == when for path, when in there.items()), "a finished case was made again"


@pytest.mark.parametrize("moment", [2, 11])
def test_a_killed_share_goes_on_where_it_was(unsynthesized, tiny_run, killed_at, contents, moment):
    killed_at(moment, lambda: medaug.synthesize(unsynthesized.root, shard="2/2"))
    for share in ("1/2", "2/2"):
        medaug.synthesize(unsynthesized.root, shard=share)
    assert contents(unsynthesized.synthetic) == contents(tiny_run.synthetic)
    assert not list(unsynthesized.synthetic.rglob(".tmp-*")), "what was half-written is cleared away"


def test_two_processes_at_once_end_as_what_one_process_writes(unsynthesized, tiny_run, contents):
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=medaug.synthesize, args=(unsynthesized.root,), kwargs={"shard": share})
        for share in ("1/2", "2/2")
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(200)
    assert [process.exitcode for process in started] == [0, 0]
    assert (unsynthesized.synthetic / "datalist.json").exists()
    assert contents(unsynthesized.synthetic) == contents(tiny_run.synthetic)


def test_a_share_that_another_process_makes_is_refused(unsynthesized):
    medaug.synthesize(unsynthesized.root, shard="1/3")
    with claimed(unsynthesized, Shard(2, 3).claim), pytest.raises(RunError, match="makes share 2/3.*another share"):
        medaug.synthesize(unsynthesized.root, shard="2/3")
    assert medaug.synthesize(unsynthesized.root, shard="2/3").written == 4


def test_who_ends_while_another_share_is_at_work_leaves_the_datalist_to_it(unsynthesized):
    for share in ("1/3", "2/3"):
        medaug.synthesize(unsynthesized.root, shard=share)
    with claimed(unsynthesized, Shard(1, 2).claim):
        assert medaug.synthesize(unsynthesized.root, shard="3/3").datalist is None
    assert medaug.synthesize(unsynthesized.root, shard="1/2").datalist is not None


def test_the_stage_itself_is_refused_while_shares_are_at_work(unsynthesized, tiny_config):
    with claimed(unsynthesized, Shard(1, 2).claim), pytest.raises(RunError, match=r"--shard 1/2.*Wait"):
        run_pipeline(tiny_config(), unsynthesized.root, until="synthesize")


def test_cases_of_other_settings_are_not_taken_from_under_a_share(unsynthesized, edit_config):
    medaug.synthesize(unsynthesized.root, shard="1/2")
    edit_config(unsynthesized, "synthesis.seed=7")
    before = sorted((unsynthesized.synthetic / "records").iterdir())
    with claimed(unsynthesized, Shard(1, 2).claim), pytest.raises(RunError, match=r"--shard 1/2.*Wait"):
        medaug.synthesize(unsynthesized.root, shard="2/2")
    assert sorted((unsynthesized.synthetic / "records").iterdir()) == before
    assert medaug.synthesize(unsynthesized.root, shard="2/2").written == 3, "nobody is at work: they give way"


@pytest.fixture
def edit_config(tiny_config):
    """Writes other settings into a run's folder."""
    from medaug.config.files import dump_config

    return lambda run, *settings: run.config.write_text(dump_config(tiny_config(*settings)))


def test_shares_of_a_gated_synthesis_write_its_accept_rate(unsynthesized, tiny_config, edit_config, contents, tmp_path):
    gated = ("synthesis.gate=0.0", "segmenter.updates=2", "segmenter.channels=[4,8,8]")
    edit_config(unsynthesized, *gated)
    for share in ("1/2", "2/2"):
        medaug.synthesize(unsynthesized.root, shard=share)
    apart = contents(unsynthesized.synthetic)
    assert read_json(unsynthesized.synthetic / "datalist.json")["gate"]["drawn"] >= 4
    unsynthesized.done("synthesize").unlink()
    run_pipeline(tiny_config(*gated), unsynthesized.root, until="synthesize")
    assert contents(unsynthesized.synthetic) == apart


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_what_is_no_share_is_refused(unsynthesized, text):
    with pytest.raises(ConfigError, match="--shard: found .*; expected i/n with i from 1 to n"):
        medaug.synthesize(unsynthesized.root, shard=text)


def test_a_run_that_has_not_trained_is_refused(unsynthesized):
    (unsynthesized.weights / "model.json").unlink()
    with pytest.raises(RunError, match="synthesis needs a run that has trained"):
        medaug.synthesize(unsynthesized.root, shard="1/2")


def test_weights_that_saw_a_test_patient_are_refused(unsynthesized):
    path, test = unsynthesized.weights / "model.json", read_json(unsynthesized.split)["test"]
    facts = read_json(path)
    write_json(path, facts | {"training_patients": [*facts["training_patients"], test[0]]})
    result = CliRunner().invoke(app, ["synthesize", str(unsynthesized.root), "--shard", "1/2"])
    assert result.exit_code == 4 and test[0] in result.stderr


def test_the_command_says_how_far_the_run_is(unsynthesized):
    def made(share: str) -> str:
        return CliRunner().invoke(app, ["synthesize", str(unsynthesized.root), "--shard", share]).stdout.strip()

    assert made("1/2") == "3 of 6 cases are there"
    assert made("2/2") == str(RunDir(unsynthesized.root).synthetic / "datalist.json")
