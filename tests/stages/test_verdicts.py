"""What a run's page and the screen say: which arms were judged, what no verdict can be had of, and what went wrong."""

import json
import re
from html import unescape

import numpy as np
import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config
from medaug.experiment.records import Cell
from medaug.experiment.summary import summarized

from ..benchmark.planted import DICE, PATIENTS, write

WORDS = re.compile(r"\b(helps|hurts|inconclusive)\b", re.IGNORECASE)


@pytest.fixture
def cli(tmp_path, tiny_config):
    """`cli("run", "training.steps=3", ...)`: a command on the tiny pipeline, with settings and options."""
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

    def cli(command, *settings, options=()):
        (tmp_path / "tiny.yaml").write_text(dump_config(tiny_config(*settings)))
        return runner.invoke(app, [command, str(tmp_path / "tiny.yaml"), *map(str, options)])

    return cli


def text_of(page):
    return re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", unescape(page.read_text()), flags=re.DOTALL)


def test_a_page_says_which_two_arms_it_judges(copy_of_run):
    rng, cells = np.random.RandomState(0), {}
    gains = {"standard": 0.3, "copy-paste": 0.5, "standard+gan": 0.6, "gan+copy-paste": 0.4}
    for arm, gain in gains.items():
        for seed in (0, 1):
            scores = {patient: {"dice": gain + rng.normal(0, 0.01)} for patient in PATIENTS}
            cells.setdefault(arm, []).append(Cell(arm=arm, seed=seed, scores=scores))
            write(copy_of_run.evaluation / "cells" / f"{arm}-seed{seed}.json", cells[arm][-1].to_json())
    write(copy_of_run.evaluation / "summary.json", summarized(cells, PATIENTS, DICE).to_json())
    assert CliRunner().invoke(app, ["report", str(copy_of_run.root)]).exit_code == 0
    page = copy_of_run.report.read_text()
    assert re.search('<h2 id="verdict">copy-paste is the best rival .*; gan.copy-paste hurts against it: -', page)


def test_the_page_of_a_run_with_one_seed_has_no_verdict_word(tiny_run):
    shown = text_of(tiny_run.report)
    assert not WORDS.search(shown) and "a verdict needs 2 seeds or more" in shown
    assert re.search(
        r"standard is the only rival \(Dice \S+\); standard\+gan has too few seeds for a verdict against it", shown
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["evaluation.seeds=[0]", "data.phantoms.patients=20"], ["One seed", "To mend it: set more evaluation.seeds."]),
        (["evaluation.seeds=[0,1]"], ["with 3, Wilcoxon's p value is 0.25 at the least; a verdict needs 6 patients"]),
        (["evaluation.seeds=[0,1]", "data.phantoms.patients=11"], []),
        (["evaluation.seeds=[0,1]", "data.phantoms.patients=11", "evaluation.arms=[standard, copy-paste, gan]"],
         ["a verdict needs 7 patients or more after Holm's correction for 3 comparisons"]),
        (["evaluation.seeds=[0,1]", "data.phantoms.patients=6", "split.folds=2", "split.train=0.6"], []),
    ],
)  # fmt: skip
def test_a_dry_run_says_when_no_verdict_will_be_possible(cli, settings, words):
    for command in ("run", "benchmark"):
        result = cli(command, *settings, options=["--dry-run"])
        assert result.exit_code == 0, result.output
        said = "no verdict will be possible" in result.output
        assert said == bool(words) and all(word in result.output for word in words)


def test_every_setting_of_a_benchmark_counts(cli):
    settings = "evaluation.seeds=[0,1]", "data.phantoms.patients=11", "benchmark.labelled=[2,4]"
    said = cli("benchmark", *settings, options=["--dry-run"]).output
    assert "a verdict needs 7 patients or more after Holm's correction for 2 comparisons" in said


def test_a_metric_that_there_is_not_is_refused_before_anything_is_made(cli, tmp_path):
    asked = "evaluation.primary={arm: standard+gan, against: standard, metric: dise}"
    result = cli("run", asked, options=["--out", tmp_path / "run"])
    assert result.exit_code == 2 and not (tmp_path / "run").exists()
    assert "evaluation.primary.metric: found dise; expected one of: dice," in result.stderr


def test_a_run_says_so_before_it_trains(cli, tmp_path):
    result = cli("run", "evaluation.seeds=[0,1]", "crop.min_diameter_mm=500", options=["--out", tmp_path / "run"])
    assert "no usable lesion" in result.stderr and not (tmp_path / "run" / "train" / "weights").exists()
    assert result.stderr.index("prepare: done") < result.stderr.index("warning: no verdict will be possible. Too few")


def test_what_the_log_warns_of_reaches_the_screen_and_the_head_of_the_page_of_a_resumed_run(cli, copy_of_run, sealed):
    log = copy_of_run.train / "metrics.jsonl"
    rows = [
        {"step": step, "strength_b": 1e-5, "diversity_b": 1e-4, "discriminator_b": 0.001, "cycle_a": 9.0 - step}
        for step in range(8)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sealed(copy_of_run, "train", log)
    result = cli("run", options=["--out", copy_of_run.root])
    assert result.exit_code == 0 and "train: unchanged" in result.stderr
    page = text_of(copy_of_run.report)
    assert re.search(r"report: done\n(standard is the only rival .*)\.\n", result.stderr)[1] in page
    for words in ("domain b leaves its input unchanged (no-op)", "the styles collapsed", "domain b tells every fake",
                  "cycle_a together still fell by 44%"):  # fmt: skip
        assert re.search(rf"warning: .*{re.escape(words)}", result.stderr)
        assert page.index("Warnings") < page.index(words) < page.index("What was run")
