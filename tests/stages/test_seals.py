"""What was cut, changed or removed of a finished run is told by the next call of the same command, and made again."""

import pytest
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import dump_config
from medaug.data.atomic import read_json
from medaug.errors import RunError
from medaug.runs.folder import RunDir
from medaug.stages.pipeline import run_pipeline

REMADE = (
    "prepared/datalist.json", "prepared/*.image.npy", "prepared/*.organ.npy", "prepared/*.source.json", "split.json",
    "phantoms/imagesTr/*.nii.gz", "train/weights/model.safetensors", "train/weights/model.json", "train/prior.json",
    "synthetic/datalist.json", "synthetic/images/*", "synthetic/labels/*", "synthetic/records/*", "audit/realism.json",
    "evaluation/cells/*.json", "evaluation/prepared/*.npy", "evaluation/scores.csv", "evaluation/summary.json",
)  # fmt: skip


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def kept(run):
    """All files whose bytes the same settings give again, wherever the run lies."""
    left_out = {"done", "claims", "checkpoints", "tensorboard", "report.html", "environment.json"}
    return {
        path: path.read_bytes()
        for path in run.root.rglob("*")
        if path.is_file()
        and not {*path.relative_to(run.root).parts} & left_out
        and not path.name.endswith(".source.json")
        and path != run.datalist
    }


@pytest.mark.parametrize("half", [0, 1])
def test_what_was_spoilt_is_told_and_made_again(copy_of_run, tiny_config, caplog, half):
    """Half of the pieces of a run, each in one of four ways."""
    before, ways = kept(copy_of_run), [cut, changed, lambda path: path.unlink(), lambda path: path.write_bytes(b"")]
    for number, place in enumerate(REMADE[half::2]):
        ways[number % len(ways)](sorted(copy_of_run.root.glob(place))[0])
    with caplog.at_level("WARNING", "medaug"):
        run_pipeline(tiny_config(), copy_of_run.root)
    assert kept(copy_of_run) == before
    assert len([told for told in caplog.messages if "made again" in told or "makes it again" in told]) > 3
    caplog.clear()
    ran = []
    run_pipeline(tiny_config(), copy_of_run.root, on_stage=lambda result: ran.append(result.ran))
    assert ran == [False] * 5 + [True] and not caplog.messages


def test_a_marker_that_was_spoilt_makes_its_stage_run_again(copy_of_run, tiny_config, special, caplog):
    copy_of_run.done("prepare").write_bytes(b"")
    cut(copy_of_run.done("synthesize"))
    special("pipe", copy_of_run.done("evaluate"))
    ran = []
    run_pipeline(tiny_config(), copy_of_run.root, on_stage=lambda r: ran.append(r.name) if r.ran else None)
    assert ran == ["prepare", "synthesize", "evaluate", "report"]
    assert all(f"the stage {name} runs again" in caplog.text for name in ran[:-1])


def test_weights_that_nothing_is_left_of_are_not_trained_again_unasked(copy_of_run, tiny_config, tmp_path):
    (tmp_path / "same.yaml").write_text(dump_config(tiny_config()))
    cut(copy_of_run.weights / "model.safetensors")
    for path in (copy_of_run.train / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    arguments = ["train-cycle", "--config", str(tmp_path / "same.yaml"), "--out", str(copy_of_run.root)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == RunError.exit_code
    for word in ("model.safetensors: found it changed", f"delete {copy_of_run.train} and run the same command again"):
        assert word in result.stderr


def test_a_generator_from_noise_is_noticed_too(tiny_config, tmp_path, caplog):
    run = run_pipeline(tiny_config("training.steps=1"), tmp_path / "gan", until="train_gan")
    before = read_json(run.gan_weights / "model.json")["sha256"]
    cut(run.gan_weights / "model.safetensors")
    (run.train_gan / "samples.png").unlink()
    run_pipeline(tiny_config("training.steps=1"), run.root, until="train_gan")
    assert "the stage train-gan makes it again" in caplog.text
    assert read_json(run.gan_weights / "model.json")["sha256"] == before and (run.train_gan / "samples.png").exists()
    assert RunDir(run.root).done("train-gan").exists()
