"""A whole benchmark on phantoms: what it writes, what it trains again, and what all arms share."""

import csv
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from medaug.benchmarks import work
from medaug.benchmarks.plan import blocks_of
from medaug.benchmarks.work import run_benchmark
from medaug.cli import app
from medaug.config.files import dump_config
from medaug.data.atomic import read_json
from medaug.data.prepared import View
from medaug.errors import ConfigError, RunError
from medaug.experiment import downstream
from medaug.experiment.cells import keep_cell
from medaug.experiment.records import Cell
from medaug.stages.evaluate import evaluate

from .conftest import cells, identity


@pytest.fixture
def cli(tmp_path, benchmark_config):
    (tmp_path / "tiny.yaml").write_text(dump_config(benchmark_config()))
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return lambda *arguments: runner.invoke(app, ["benchmark", str(tmp_path / "tiny.yaml"), *map(str, arguments)])


def rows_of(run):
    return list(csv.DictReader((run.results / "cells.csv").open()))


def test_results_have_a_group_for_each_number_of_labelled_patients(benchmarked):
    summary = read_json(benchmarked.results / "summary.json")
    assert summary["task"] == "segmentation" and list(summary["metrics"]) == ["dice", "hd95_mm", "nsd"]
    assert [(group["labelled"], group["ratio"]) for group in summary["groups"]] == [(2, 0.5), (4, 0.5)]
    for group in summary["groups"]:
        assert list(group["arms"]) == ["standard", "standard+gan"] and group["seeds"] == [0, 1]
        (comparison,) = [c for c in group["comparisons"] if c["metric"] == "dice"]
        assert comparison["verdict"] in ("helps", "hurts", "inconclusive") and comparison["n_seeds"] == 2
        assert comparison["p_adjusted"] is not None


def test_the_table_of_cells_has_a_row_a_scored_patient(benchmarked):
    rows, test = rows_of(benchmarked), read_json(benchmarked.labelled(2).split)["test"]
    assert len(rows) == 2 * 2 * 2 * len(test)
    assert {row["ratio"] for row in rows if row["arm"] == "standard"} == {""}
    assert {row["ratio"] for row in rows if row["arm"] == "standard+gan"} == {"0.5"}
    cell = read_json(benchmarked.labelled(2).evaluation / "cells" / "standard+gan-seed1-ratio0.5.json")
    assert cell["ratio"] == 0.5 and cell["seconds"] > 0
    row = next(
        r for r in rows if (r["labelled"], r["arm"], r["seed"], r["patient"]) == ("2", "standard+gan", "1", test[0])
    )
    assert float(row["dice"]) == pytest.approx(cell["scores"][test[0]]["dice"], abs=1e-5)


def test_the_page_shows_synthetic_cases_of_every_translator(benchmarked):
    page = benchmarked.report.read_text()
    blocks = [folder.name for folder in benchmarked.root.glob("labelled-*")]
    assert len(blocks) == 2
    assert all(f'<optgroup label="{block}: Synthetic set, tumors inserted">' in page for block in blocks)


def test_subsets_of_labelled_patients_are_nested_and_nobody_else_is_seen(benchmarked):
    few, all_ = (read_json(benchmarked.labelled(number).split) for number in (2, "all"))
    assert len(few["train"]) == 2 and set(few["train"]) < set(all_["train"])
    assert few["unused"] == sorted(set(all_["train"]) - set(few["train"])) and all_["unused"] == []
    assert all(few[part] == all_[part] for part in ("validation", "test"))
    run = benchmarked.labelled(2)
    assert read_json(run.weights / "model.json")["training_patients"] == few["train"]
    for record in read_json(run.synthetic / "datalist.json")["training"]:
        assert record["parent"]["patient"] in few["train"]
        assert {lesion["patient"] for lesion in record["lesions"]} <= set(few["train"])


def test_a_cell_is_the_one_that_an_evaluation_of_its_run_folder_trains(copied, benchmark_config):
    block = blocks_of(benchmark_config(), copied)[0]
    kept = {path.name: read_json(path) for path in cells(copied) if path.is_relative_to(block.run.root)}
    evaluate(block.config, block.run)
    for seed in (0, 1):
        for arm, ratio in (("standard", ""), ("standard+gan", "-ratio0.5")):
            again = read_json(block.run.evaluation / "cells" / f"{arm}-seed{seed}.json")
            of_benchmark = kept[f"{arm}-seed{seed}{ratio}.json"]
            assert (again["scores"], again["losses"]) == (of_benchmark["scores"], of_benchmark["losses"])


def test_the_command_prints_a_table_and_the_page_and_trains_nothing_again(cli, copied):
    before = identity([*cells(copied), *copied.results.iterdir()])
    result = cli("--out", copied.root)
    assert result.exit_code == 0, result.output
    assert "2 labelled patients, synthetic ratio 0.5" in result.stdout and "inconclusive" in result.stdout
    assert result.stdout.splitlines()[-1] == str(copied.report)
    assert "4 labelled patients" in copied.report.read_text()
    assert identity(list(before)) == before


def test_a_dry_run_says_what_is_missing_and_how_long_it_may_take(cli, copied, contents):
    first, *others = cells(copied)
    for path in others:
        cell = read_json(path)
        keep_cell(path, cell["made_of"], replace(Cell.from_json(cell), seconds=100.0))
    first.unlink()
    before = contents(copied.root)
    result = cli("--out", copied.root, "--jobs", "2", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("│ done") == 7 and result.stdout.count("│ missing") == 1
    assert "ETA: 0:00:50 with 2 processes" in result.stdout
    assert contents(copied.root) == before


def test_a_dry_run_of_a_new_benchmark_writes_nothing(cli, tmp_path):
    result = cli("--out", tmp_path / "new", "--dry-run")
    assert result.stdout.count("│ missing") == 8 and "ETA: unknown" in result.stdout
    assert not (tmp_path / "new").exists()


def test_more_seeds_and_ratios_train_the_new_cells_only(copied, benchmark_config):
    before = identity(cells(copied))
    config = benchmark_config("benchmark.labelled=[2]", "benchmark.ratios=[0.25,0.5]", "evaluation.seeds=[0,1,2]")
    run_benchmark(config, copied.root)
    assert identity(list(before)) == before
    new = {path.stem for path in set(cells(copied)) - set(before)}
    assert new == {
        "standard-seed2", "standard+gan-seed2-ratio0.5", *(f"standard+gan-seed{s}-ratio0.25" for s in (0, 1, 2)),
    }  # fmt: skip
    quarter, half = read_json(copied.results / "summary.json")["groups"]
    assert (quarter["ratio"], half["ratio"], quarter["seeds"]) == (0.25, 0.5, [0, 1, 2])
    dice = [group["arms"]["standard"]["dice"]["mean"] for group in (quarter, half)]
    assert dice[0] == dice[1]
    assert quarter["arms"]["standard+gan"] != half["arms"]["standard+gan"]


def test_other_settings_train_the_cells_that_they_decide_and_no_others(copied, benchmark_config):
    before = identity(cells(copied))
    run_benchmark(benchmark_config("synthesis.seed=3", "benchmark.labelled=[2]"), copied.root)
    changed = {path.stem for path, when in identity(list(before)).items() if before[path] != when}
    assert changed == {"standard+gan-seed0-ratio0.5", "standard+gan-seed1-ratio0.5"}


def test_a_failing_cell_is_named_and_the_others_go_on(prepared, benchmark_config, monkeypatch):
    train, trained, config = work.evaluated_cell, [], benchmark_config("benchmark.labelled=[2]")

    def failing(downstream, arm, seed, path):
        trained.append((arm, seed))
        if (arm, seed) == ("standard", 1):
            raise RuntimeError("out of memory")
        return train(downstream, arm, seed, path)

    with monkeypatch.context() as patch:
        patch.setattr(work, "evaluated_cell", failing)
        with pytest.raises(RunError, match=r"1 job\(s\) failed.*labelled-2/standard-seed1 \(RuntimeError: out of mem"):
            run_benchmark(config, prepared.root)
    assert len(trained) == 4 and not prepared.results.exists()
    before = identity(cells(prepared))
    run_benchmark(config, prepared.root)
    assert identity(list(before)) == before
    assert [path.stem for path in set(cells(prepared)) - set(before)] == ["standard-seed1"]


def test_synthetic_cases_of_a_test_patient_fail_their_cells_alone(copied, benchmark_config, edit_json, sealed):
    leaked, cell = read_json(copied.labelled(2).split)["test"][0], "labelled-2/standard.gan-seed0-ratio0.5"
    datalist = copied.labelled(2).synthetic / "datalist.json"
    edit_json(datalist, lambda content: content["training"][0]["parent"].update(patient=leaked))
    sealed(copied.labelled(2), "synthesize", datalist)
    with pytest.raises(RunError, match=rf"2 job\(s\) failed.*{cell} \(LeakageError: .*{leaked}"):
        run_benchmark(benchmark_config(), copied.root)


def test_every_arm_gets_the_same_updates_initial_weights_and_batches(copied, benchmark_config, monkeypatch):
    train, normalized, calls, read = downstream.train_network, View.normalized, [], []

    def spy(samples, config, *, seed, **options):
        network = train(samples, replace(config, learning_rate=1e-12), seed=seed, workers=0)
        initial = torch.cat([p.detach().flatten() for p in network.parameters()])
        read.clear()
        _ = [samples[index] for index in range(len(samples))]
        calls.append((len(samples), config, seed, initial, list(read)))
        return network

    def reading(view, folder):
        read.append((view.case.case, view.level))
        return normalized(view, folder)

    monkeypatch.setattr(downstream, "train_network", spy)
    monkeypatch.setattr(View, "normalized", reading)
    arms = "evaluation.arms=[none, standard, strong, standard+gan]"
    run_benchmark(benchmark_config("benchmark.labelled=[2]", "evaluation.seeds=[7]", arms), copied.root)
    assert len(calls) == 4
    for length, config, seed, initial, _ in calls:
        assert (length, config, seed) == calls[0][:3] and torch.allclose(initial, calls[0][3], atol=1e-9)
    orders = [order for *_, order in calls]
    assert orders[0] == orders[1] == orders[2] and len(set(orders[0])) > 1


def test_folds_are_pooled_and_arms_without_a_gan_train_none(tmp_path, benchmark_config):
    folds = ("split.folds=2", "split.train=0.6", "benchmark.labelled=[2]", "evaluation.seeds=[0]")
    run = run_benchmark(benchmark_config(*folds, "evaluation.arms=[standard, copy-paste]"), tmp_path / "run")
    splits = [read_json(run.labelled(2).fold(number).split) for number in (0, 1)]
    everyone = sorted(patient for split in splits for patient in split["test"])
    (group,) = read_json(run.results / "summary.json")["groups"]
    assert group["patients"] == everyone and len(everyone) == 8 and group["labelled"] == 2
    assert [sorted({r["patient"] for r in rows_of(run) if r["fold"] == str(k)}) for k in (0, 1)] == [
        split["test"] for split in splits
    ]
    assert not list(run.root.rglob("train")) and not list(run.root.rglob("synthetic"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("benchmark.labelled=[2, 2]", r"benchmark.labelled: found \[2, 2\]; expected every value once"),
        ("benchmark.labelled=[0]", "benchmark.labelled.0"),
        ("benchmark.ratios=[0]", "benchmark.ratios.0"),
        ("evaluation.arms=[standard, magic]", "found magic; expected some of: none"),
        ("evaluation.seeds=[1, 1]", "evaluation.seeds"),
        ("split.labelled=2", "a benchmark sets it itself"),
    ],
)
def test_settings_that_make_no_benchmark_are_refused(tmp_path, benchmark_config, change, message):
    with pytest.raises(ConfigError, match=message):
        run_benchmark(benchmark_config(change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_patients_may_not_be_asked_for_twice(tmp_path, benchmark_config):
    alone = ("evaluation.arms=[standard]", "evaluation.seeds=[0]")
    config = benchmark_config("benchmark.labelled=[4, all]", *alone)
    with pytest.raises(RunError, match="labelled-4/prepare .*found 4 and all, which is the same"):
        run_benchmark(config, tmp_path / "run")
    config = benchmark_config("benchmark.labelled=[5]", *alone)
    with pytest.raises(RunError, match="labelled-5/prepare .*found 4 training patient.*Lower split.labelled"):
        run_benchmark(config, tmp_path / "run")


def test_a_folder_with_another_benchmark_is_refused(copied, benchmark_config):
    before = copied.config.read_bytes()
    with pytest.raises(RunError, match="holds a different run .*training.steps is 3 there and 4 here"):
        run_benchmark(benchmark_config("training.steps=4"), copied.root)
    assert copied.config.read_bytes() == before
