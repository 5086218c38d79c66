"""What machines read of the command line: JSON, exit codes, and completion."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from medaug import errors
from medaug.benchmarks.reproduce import Reproduction
from medaug.cli import app, complete
from medaug.cli.command import CHECK_FAILED, EXIT_CODES
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.data.files import write_scan
from medaug.data.layouts import LAYOUTS
from medaug.data.writers import WRITERS
from medaug.exports.datasets import FORMATS
from medaug.models.methods import TRANSLATORS

from .benchmark.planted import planted_benchmark
from .stored import array_of

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"


@pytest.fixture(scope="module")
def as_json():
    """The strict JSON that a command prints, alone, on stdout."""
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

    def as_json(*arguments):
        result = runner.invoke(app, [*map(str, arguments), "--json"])
        assert result.exit_code in (0, CHECK_FAILED), result.output
        return json.loads(result.stdout, parse_constant=pytest.fail)

    return as_json


@pytest.fixture
def tiny_yaml(tmp_path, tiny_config):
    (tmp_path / "tiny.yaml").write_text(dump_config(tiny_config()))
    return tmp_path / "tiny.yaml"


@pytest.fixture
def scan(tiny_run, tmp_path):
    entry = read_json(tiny_run.datalist)["cases"][0]
    image = array_of(tiny_run.prepared, entry, "image")
    write_scan(tmp_path / "scan.nii.gz", image[None], entry["affine"])
    return tmp_path / "scan.nii.gz"


def test_compare_prints_json(as_json, scan):
    assert as_json("compare", scan, scan)["scores"]["mae"] == 0


def test_audit_prints_json(as_json, copy_of_run):
    assert [row["name"] for row in as_json("audit", copy_of_run.root, "--only", "outside")] == ["outside"]


def test_anomaly_prints_json(as_json, scan, weights_folder, tmp_path):
    found = as_json("anomaly", scan, "--weights", weights_folder, "--out", tmp_path / "out")
    assert found["summary"]["score"] >= 0 and all(Path(path).exists() for path in found["files"])


def test_a_plan_of_a_benchmark_prints_json(as_json, tiny_yaml, tmp_path):
    plan = as_json("benchmark", tiny_yaml, "--out", tmp_path / "out", "--dry-run")
    assert len(plan["cells"]) == 2 and not any(cell["done"] for cell in plan["cells"])


def test_a_benchmark_prints_json(as_json, tiny_yaml, tiny_config, tmp_path, monkeypatch):
    run = planted_benchmark(tmp_path / "out", tiny_config())
    monkeypatch.setattr("medaug.benchmarks.work.run_benchmark", lambda *arguments, **options: run)
    groups = read_json(run.results / "summary.json")["groups"]
    assert as_json("benchmark", tiny_yaml) == {"groups": groups, "report": str(run.report)}


def test_reproduce_prints_json(as_json, tmp_path, monkeypatch):
    found = Reproduction("a", "b", 3, 1, [])
    monkeypatch.setattr("medaug.benchmarks.reproduce.reproduce", lambda *arguments, **options: found)
    assert as_json("reproduce", tmp_path)["identical"] is True


def test_compare_runs_prints_json(as_json, tiny_run, copy_of_run):
    found = as_json("compare-runs", tiny_run.root, copy_of_run.root)
    assert {d["arm"] for d in found["differences"]} == {"standard", "standard+gan"}
    assert {d["comparison"]["difference"]["mean"] for d in found["differences"]} == {0}


def test_every_command_with_a_table_has_the_option():
    commands = typer.main.get_command(app).commands
    having = {name for name, command in commands.items() if any(p.name == "json" for p in command.params)}
    assert having == {"audit", "anomaly", "benchmark", "compare", "compare-runs", "doctor", "reproduce"}


def test_the_documented_exit_codes_are_those_of_the_errors():
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", DOCS.read_text(), flags=re.MULTILINE))
    classes = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MedaugError)
    ]
    codes = {kind.exit_code for kind in classes}
    assert {int(code) for code in rows} == codes - {1}
    assert all(getattr(errors, name).exit_code == int(code) for code, name in rows.items())
    assert f"| {CHECK_FAILED} | a check failed" in DOCS.read_text()
    assert all(re.search(rf"\b{code} ", EXIT_CODES) for code in codes)


def completed(words, cwd=None):
    """What bash is offered after `medaug <words>`; the last word is being typed."""
    environment = {
        **os.environ,
        "_MEDAUG_COMPLETE": "complete_bash",
        "COMP_WORDS": f"medaug {words}",
        "COMP_CWORD": str(len(f"medaug {words}".split(" ")) - 1),
    }
    script = (
        "import sys; sys.argv = ['medaug']; from medaug.cli import app\n"
        "try: app(prog_name='medaug')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        cwd=cwd,
    )
    assert "Error" not in done.stderr, done.stderr
    return done.stdout.split()


def test_bash_is_offered_commands_and_values(tmp_path):
    assert completed("tra") == ["train-cycle", "train-gan"]
    assert completed("train-cycle --model u") == ["unit"]
    assert completed("audit out --only fi") == ["fingerprint"]
    assert completed("doctor x --layout p") == ["paired-folders"]
    assert completed("train-cycle --set training.st") == ["training.steps="]
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "mine.yaml").touch()
    assert completed("run ", tmp_path)[0] == "pipelines/mine.yaml"


def test_what_is_offered_is_what_there_is():
    assert set(complete.METHODS) == {name.removeprefix("mask-guided-") for name in TRANSLATORS}
    assert set(complete.written_layouts("")) == set(WRITERS)
    assert sorted(complete.formats("")) == sorted(FORMATS)
    assert [name for name, _ in complete.layouts("")] == ["auto", *LAYOUTS]


def test_every_offered_key_is_a_setting():
    keys = [key for key, _ in complete.settings("")]
    assert "split.labelled=" in keys and "data.root=" in keys and len(keys) > 80
    for key in keys:
        try:
            load_config(None, [f"{key}null"])
        except errors.ConfigError as refused:
            assert "unknown key" not in str(refused)
