"""Folds and blocks share one prepared copy of their scans, which depends on no split."""

import multiprocessing
import shutil

import pytest
from typer.testing import CliRunner

from medaug.benchmarks.plan import blocks_of
from medaug.benchmarks.work import prepare_block
from medaug.cli import app
from medaug.config.files import dump_config, load_config
from medaug.data.atomic import read_json
from medaug.data.cache import open_array
from medaug.data.records import prepared_cases
from medaug.errors import DataError
from medaug.runs.folder import RunDir, open_run
from medaug.stages.pipeline import run_pipeline
from medaug.stages.prepare import prepare

FOLDS = (
    "split.folds=3", "data.phantoms.patients=6", "data.phantoms.shape=[32,32,8]", "data.phantoms.spacing_mm=[6,6,10]",
)  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return load_config(None, list(FOLDS))


@pytest.fixture(scope="module")
def in_folds(tmp_path_factory, config) -> RunDir:
    """All folds prepared, by the command. Not to be changed."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "folds.yaml").write_text(dump_config(config))
    result = CliRunner().invoke(app, ["prepare", str(folder / "folds.yaml"), "--out", str(folder / "run")])
    assert result.exit_code == 0 and result.stdout.strip() == str(folder / "run" / "prepared"), result.output
    return RunDir(folder / "run")


@pytest.fixture
def copied(in_folds, tmp_path) -> RunDir:
    shutil.copytree(in_folds.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


def opened(run: RunDir) -> int:
    """How many arrays the datalist of a run leads to."""
    return sum(open_array(run.prepared, name).size > 0 for case in prepared_cases(run.datalist) for name in case.files)


def arrays(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*.npy")}


def test_the_command_prepares_and_stops(in_folds):
    assert not any((in_folds.fold(fold).root / "train").exists() for fold in range(3))
    tested = [patient for fold in range(3) for patient in in_folds.fold(fold).read_split().test]
    assert len(tested) == len(set(tested)) == 6


def test_no_fold_has_scans_of_its_own_and_nothing_prepared_depends_on_the_split(in_folds, config, tmp_path):
    assert {path.parent for path in arrays(in_folds.root)} == {in_folds.prepared.relative_to(in_folds.root)}
    datalists = [in_folds.fold(fold).datalist.read_text() for fold in range(3)]
    assert datalists[0] == datalists[1] == datalists[2] and str(in_folds.prepared) not in datalists[0]
    split = config.split.model_copy(update={"folds": None})
    alone = run_pipeline(config.model_copy(update={"split": split}), tmp_path / "alone", until="prepare")
    own, shared = (prepared_cases(path) for path in (alone.datalist, in_folds.fold(0).datalist))
    for one, other in zip(own, shared, strict=True):
        assert (one.content, one.windows, one.tissue_voxels) == (other.content, other.windows, other.tissue_voxels)


def test_a_run_that_was_moved_still_finds_them_and_a_fold_taken_out_of_it_says_where_it_belongs(copied, tmp_path):
    copied.root.rename(tmp_path / "moved")
    moved = RunDir(tmp_path / "moved")
    assert opened(moved.fold(1)) == len(arrays(moved.root))
    shutil.copytree(moved.fold(1).root, tmp_path / "elsewhere" / "out" / "fold-1")
    with pytest.raises(DataError, match="put its folder back into that run's"):
        opened(RunDir(tmp_path / "elsewhere" / "out" / "fold-1"))


def test_what_is_there_is_not_prepared_again_and_what_was_spoilt_is(tmp_path, config, caplog):
    run = run_pipeline(config, tmp_path / "run", until="prepare")
    before = arrays(run.root)
    run_pipeline(config, run.root, until="prepare")
    assert arrays(run.root) == before
    spoilt = next(run.prepared.glob("*.organ.npy"))
    content = spoilt.read_bytes()
    spoilt.write_bytes(content[:-9])
    ran = []
    run_pipeline(config, run.root, until="prepare", on_stage=ran.append)
    assert [result.ran for result in ran] == [True, False, False]
    assert f"{spoilt}: changed since it was written; the stage prepare makes it again" in caplog.text
    assert spoilt.read_bytes() == content
    made = {path.name for path, when in arrays(run.root).items() if before[path] != when}
    case = spoilt.name.split(".")[0]
    assert made == {f"{case}.organ.npy", f"{case}.organ.voxels.npy"}, "nothing else was decoded, or found, again"


@pytest.mark.parametrize("moment", [12, 33, 48])
def test_killed_while_it_prepares_it_ends_with_the_same_scans(tmp_path, in_folds, config, killed_at, moment):
    root = tmp_path / "run"
    killed_at(moment, lambda: run_pipeline(config, root, until="prepare"))
    there = arrays(root)
    run_pipeline(config, root, until="prepare")
    same = {path: (root / path).read_bytes() for path in arrays(root) if not path.name.startswith(".tmp-")}
    assert same == {path: (in_folds.root / path).read_bytes() for path in arrays(in_folds.root)}
    finished = [path for path in there if path.name.endswith(".organ.voxels.npy")]
    assert sum(arrays(root)[path] != there[path] for path in finished) <= 1, "all but the last one were kept"


def test_a_fold_alone_goes_on_with_the_scans_of_its_run(copied, config):
    before = arrays(copied.root)
    split = config.split.model_copy(update={"fold": 0})
    ran = []
    alone = config.model_copy(update={"split": split, "name": f"{config.name}, fold 0"})
    run_pipeline(alone, copied.fold(0).root, until="prepare", on_stage=ran.append)
    assert [result.ran for result in ran] == [False] and arrays(copied.root) == before


def test_two_processes_that_prepare_the_same_scans_at_once_wait_for_each_other(tmp_path, tiny_config):
    config = tiny_config("benchmark.labelled=[2,all]")
    root = open_run(tmp_path / "run", config)
    context = multiprocessing.get_context("fork")
    blocks = blocks_of(config, root)
    started = [context.Process(target=prepare_block, args=(block, root)) for block in blocks]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    assert {opened(block.run) for block in blocks} == {len(arrays(root.root))}
    contents = [[case["content"] for case in read_json(block.run.datalist)["cases"]] for block in blocks]
    assert contents[0] == contents[1] and len(contents[0]) == 8


def test_organs_of_large_scans_are_the_same_from_another_process(tmp_path):
    def contents(workers: int) -> list[str]:
        large = ["data.phantoms.shape=[128,128,64]", "data.phantoms.patients=2", "split.train=1", "split.validation=0"]
        config = load_config(None, ["data.spatial_dims=3", *large, f"data.workers={workers}"])
        run = open_run(tmp_path / f"{workers}", config)
        prepare(config, run)
        return [entry.content for entry in prepared_cases(run.datalist)]

    assert contents(1) == contents(0)
