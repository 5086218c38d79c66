"""Processes killed at random moments, stopped by Ctrl-C, two in one folder: nothing is lost, nothing half-written.

`MEDAUG_KILLS=12` kills each of train and synthesize so often (`make crash`, with the benchmark's own test); the suite
once. The moments come from a seeded generator, what is caught at them from the machine.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from medaug.config.files import dump_config
from medaug.data.atomic import read_json
from medaug.data.files import read_scan
from medaug.errors import RunError
from medaug.models.weights import load_weights
from medaug.runs.folder import RunDir
from medaug.runs.markers import held
from medaug.stages.pipeline import run_pipeline
from medaug.training import fit
from medaug.training.checkpoint import load_checkpoint

from ..killing import killed_after
from ..training.tiny import Crops, assert_same_state, tiny_translator
from ..training.tiny import tiny_config as tiny_training

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="forks what it kills"), pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("MEDAUG_KILLS", "1"))
TRAINING = ("training.steps=20", "training.checkpoint_every=2", "training.preview_every=10")


def started(work):
    """A process, and leader of a group, that does `work`."""

    def child():
        os.setpgid(0, 0)  # a data loader's workers die with it
        torch.set_num_threads(1)
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def check_whole(root):
    """Every file that has its name is complete."""
    for path in root.rglob("*"):
        if path.name.startswith(".") or any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        if path.suffix == ".json":
            read_json(path, object)
        elif path.name.endswith(".nii.gz"):
            read_scan(path)
        elif path.suffix == ".npy":
            np.load(path)
        elif path.name == "model.safetensors":
            load_weights(path.parent)
    load_checkpoint(root / "train" / "checkpoints")


def leftovers(root):
    return [path for path in root.rglob("*") if path.name.startswith((".tmp-", ".partial-"))]


def killed_and_resumed(work, root, seed, longest):
    """Does `work` again and again, killed at random moments of up to `longest` seconds; how often it was killed."""
    rng, kills = np.random.RandomState(seed), 0
    while kills < KILLS:
        if not killed_after(started(work), rng.uniform(0.05, longest)):
            break
        kills += 1
        check_whole(root)
    work()
    assert not leftovers(root / "train") and not leftovers(root / "synthetic")
    return kills


def test_training_killed_at_random_moments_ends_with_the_same_weights(tmp_path, tiny_config, contents):
    config = tiny_config(*TRAINING)
    unbroken = run_pipeline(config, tmp_path / "unbroken", until="train")
    kills, number = 0, 0
    while kills < KILLS:
        run, number = RunDir(tmp_path / f"run-{number}"), number + 1
        kills += killed_and_resumed(
            lambda run=run: run_pipeline(config, run.root, until="train"), run.root, number, 4.0
        )
        assert contents(run.weights) == contents(unbroken.weights)
        assert read_json(run.split) == read_json(unbroken.split)


def test_synthesis_killed_at_random_moments_ends_with_the_same_cases(
    tiny_config, tiny_run, copy_of_run, forget, contents
):
    kills, number = 0, 0
    while kills < KILLS:
        forget(copy_of_run, "synthesize")
        number += 1
        kills += killed_and_resumed(
            lambda: run_pipeline(tiny_config(), copy_of_run.root, until="synthesize"), copy_of_run.root, number, 1.5
        )
        assert contents(copy_of_run.synthetic) == contents(tiny_run.synthetic)


def test_two_processes_in_one_run_folder_are_not_let(tmp_path, tiny_config, tiny_run, contents):
    config, run = tiny_config(), RunDir(tmp_path / "run")
    first = started(lambda: run_pipeline(config, run.root, until="synthesize"))
    while not run.datalist.exists():
        assert first.is_alive()
        time.sleep(0.005)
    with pytest.raises(RunError, match=r"run: another process is at work in this folder.*another --out"):
        run_pipeline(config, run.root)
    with pytest.raises(RunError, match="another process"):
        run_pipeline(tiny_config("training.seed=5"), run.root)
    first.join()
    assert first.exitcode == 0
    assert contents(run.synthetic) == contents(tiny_run.synthetic)


def test_a_folder_is_free_again_when_its_process_is_killed(tmp_path):
    run = RunDir(tmp_path / "run")

    def hold():
        with held(run):
            (tmp_path / "held").touch()
            time.sleep(60)

    process = started(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.005)
    with pytest.raises(RunError, match="another process"), held(run):
        pass
    assert killed_after(process, 0)
    with held(run):
        pass


def _listens_to_ctrl_c():
    """As at a terminal: where the tests run in the background, their children inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_outside_training_ends_in_one_line_and_the_same_settings_go_on(
    tiny_config, tiny_run, copy_of_run, forget, tmp_path
):
    forget(copy_of_run, "evaluate")
    (tmp_path / "tiny.yaml").write_text(dump_config(tiny_config()))
    command = [sys.executable, "-m", "medaug", "run", tmp_path / "tiny.yaml", "--out", copy_of_run.root]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_listens_to_ctrl_c
    )
    while not copy_of_run.evaluation.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "stopped; the same command resumes where it was" in messages and "Traceback" not in messages
    check_whole(copy_of_run.root)
    assert not copy_of_run.done("evaluate").exists()
    run_pipeline(tiny_config(), copy_of_run.root)
    assert (copy_of_run.evaluation / "scores.csv").read_bytes() == (tiny_run.evaluation / "scores.csv").read_bytes()


def test_the_second_press_of_ctrl_c_stops_training_at_once_and_resumes_the_same(tmp_path):
    fit(tiny_translator(), Crops(), tiny_training(), tmp_path / "unbroken")

    def stuck(index):
        if index == 20:  # the first sample of step 11
            (tmp_path / "stuck").touch()
            time.sleep(60)

    def train():
        try:
            fit(tiny_translator(), Crops(stuck), tiny_training(), tmp_path / "run")
        except KeyboardInterrupt:
            os._exit(130)

    process = started(train)
    while not (tmp_path / "stuck").exists():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert process.is_alive(), "the first press waits for the step"
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 130
    fit(tiny_translator(), Crops(), tiny_training(), tmp_path / "run")
    assert_same_state(tmp_path / "run", tmp_path / "unbroken")
