"""Every command is a function of the same name, with the same options, and neither waits for torch before it must."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import medaug
from medaug import api
from medaug.cli import app
from medaug.config import PipelineConfig
from medaug.errors import ConfigError

COMMANDS = typer.main.get_command(app).commands


def function(command: str) -> str:
    return command.replace("-", "_")


def test_every_command_is_a_function_and_every_function_a_command():
    assert sorted(api.__all__) == sorted(function(command) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_parameters_of_its_function_with_their_defaults(command):
    """But `--json`, which says how it prints, and `on_stage`, which a command tells the terminal."""
    options = {option.name: option for option in COMMANDS[command].params}
    keywords = inspect.signature(getattr(api, function(command))).parameters
    assert set(options) - {"json"} == set(keywords) - {"on_stage"}
    for name in set(options) - {"json"}:
        default = keywords[name].default
        assert options[name].required == (default is inspect.Parameter.empty), name
        assert options[name].required or options[name].default == default, name


def test_the_functions_are_there_on_the_package_but_for_the_names_of_packages():
    for name in set(api.__all__) - set(medaug.PACKAGES):
        assert getattr(medaug, name) is getattr(api, name) and name in dir(medaug)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        medaug.trian  # noqa: B018


def test_a_type_checker_sees_the_same_functions():
    stub = ast.parse(Path(medaug.__file__).with_suffix(".pyi").read_text())
    seen = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == {"api", *api.__all__} - set(medaug.PACKAGES)


def test_importing_the_package_and_naming_a_function_imports_nothing_heavy():
    script = (
        "import sys, medaug; assert 'typer' not in sys.modules; medaug.train_cycle; medaug.doctor; medaug.api.report\n"
        "heavy = {'torch', 'monai', 'numpy', 'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dry_run_returns_the_settings_and_prints_nothing(capsys, tmp_path):
    found = medaug.train_cycle(max_steps=7, set_=["crop.size=[32, 32]"], out=tmp_path / "x", dry_run=True)
    assert isinstance(found, PipelineConfig) and found.training.steps == 7 and found.crop.size == (32, 32)
    assert not (tmp_path / "x").exists() and capsys.readouterr() == ("", "")
    with pytest.raises(ConfigError, match="training.steps"):
        medaug.train_cycle(set_=["training.stps=5"], dry_run=True)


def test_a_function_takes_paths_as_text_and_returns_paths(tiny_run, weights_folder, tmp_path):
    assert api.phantoms(str(tmp_path / "heads"), patients=1) == 1
    scan = next((tmp_path / "heads").rglob("*_flair.nii.gz"))
    written = medaug.insert(str(scan), weights=str(weights_folder), out=str(tmp_path / "inserted"))
    assert written and all(isinstance(path, Path) and path.exists() for path in written)
