"""What networks run on: resolved once, and refused in words where it is not there."""

import pytest
import torch

from medaug.audits.findings import asked_audits
from medaug.audits.insertion_audits import AUDITS
from medaug.audits.insertions import InsertionRun
from medaug.devices import device_of, fabric_on
from medaug.errors import ConfigError
from medaug.stages.pipeline import run_pipeline


@pytest.fixture
def two_gpus(monkeypatch):
    """As torch tells of a machine with an A100 and a V100."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: ("A100", "V100")[number])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0) if device.index == 1 else (8, 0))


def test_the_cpu_is_there_and_stays_the_cpu():
    assert device_of("cpu") == torch.device("cpu") == fabric_on("cpu").device
    assert fabric_on("cpu", "bf16-mixed").strategy.precision.precision == "bf16-mixed"


@pytest.mark.parametrize("accelerator", ["cuda:7", "cuda:1000"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(accelerator):
    with pytest.raises(ConfigError, match=f"accelerator: found {accelerator}, .*expected auto or one of: cpu.*Set --"):
        device_of(accelerator)


def test_float16_is_refused_on_a_cpu_rather_than_replaced():
    with pytest.raises(ConfigError, match="precision: found 16-mixed, which cpu .*expected 32-true or bf16-mixed.*Set"):
        fabric_on("cpu", "16-mixed")


def test_a_gpu_is_taken_where_there_is_one_and_named_by_its_number(two_gpus):
    assert device_of() == torch.device("cuda") and device_of("cuda:1") == torch.device("cuda:1")
    assert device_of("cpu") == torch.device("cpu")


def test_bfloat16_is_refused_on_a_gpu_without(two_gpus):
    with pytest.raises(ConfigError, match="found bf16-mixed, which cuda:1 .*expected 32-true or 16-mixed there"):
        device_of("cuda:1", "bf16-mixed")


@pytest.mark.parametrize(
    ("accelerator", "devices", "found"),
    [
        ("cuda", 2, "different kinds .cuda:0 A100, cuda:1 V100"),
        ("cuda", 3, "3 with 2 of cuda"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_processes_get_gpus_of_one_kind_each_its_own(two_gpus, accelerator, devices, found):
    with pytest.raises(ConfigError, match=f"training.devices: found .*{found}.*expected"):
        fabric_on(accelerator, devices=devices)


def test_a_run_on_the_cpu_leaves_a_gpu_alone(monkeypatch, tiny_config, tmp_path):
    """Any stage that went by what is there, and not by the setting, would end here: torch has no CUDA to move to."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = tiny_config("accelerator=cpu", "segmenter.updates=2", "synthesis.gate=0", "evaluation.arms=[standard+gan]")
    run = run_pipeline(config, tmp_path / "run")
    assert run.report.exists() and asked_audits(InsertionRun(config, run), AUDITS, ["lost"])[0].name == "lost"
