"""Every code block of README.md and docs/ does what it says, or at least can be said.

`medaug` lines are parsed by the command line itself, and where a command has `--dry-run` its settings are read; YAML
goes through the schema; Python runs in the folder of a reader who has finished the demo and trained some weights (all
tiny).
"""

import io
import re
import shlex
import shutil
import tomllib
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from monai.data import MetaTensor
from typer.testing import CliRunner

from medaug.cli import app
from medaug.config.files import load_config
from medaug.data.atomic import read_json, write_json
from medaug.errors import MedaugError
from medaug.exports.bundle import export_bundle
from medaug.models.methods import build_translator
from medaug.models.noise.dcgan import build_dcgan
from medaug.models.noise.weights import save_gan
from medaug.models.weights import save_translator
from medaug.volumes import Domain, Percentiles, Window

from .doc_blocks import ROOT, blocks_of, pages
from .stored import array_of

BLOCKS = [block for page in pages() for block in blocks_of(page)]
NOT_RUN = 0
"""How many blocks are excluded (see `doc_blocks.blocks_of`); a new one is a decision."""
STARTERS = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:(?:torchrun|srun) .*?(?=medaug\b))?")
"""What may stand before a command of ours: variables, and what starts it several times."""
OTHER_PROGRAMS = {"wait", "cd", "source", "export", "#SBATCH", "sbatch"}
NNUNET = "nnUNetv2_"
"""How nnU-Net's commands begin; tests/nnunet/test_page.py runs those of docs/nnunet.md."""
UID, A_SERIES = "1.2.840...", "1.2.826.0.1.3680043.8.498.1"


def of(language):
    chosen = [block for block in BLOCKS if block.language == language and block.excluded is None]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


def test_blocks_are_left_out_by_decision_alone():
    excluded = [f"{block.place}: {block.excluded}" for block in BLOCKS if block.excluded]
    assert len(BLOCKS) > 30 and len(excluded) == NOT_RUN, excluded


@of("bash")
def test_commands_are_understood(block, tmp_path, monkeypatch):
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    for named in (other for other in BLOCKS if other.page == block.page and other.language == "yaml"):
        if name := re.match(r"# (\S+\.yaml)\n", named.text):  # a file that the reader writes
            (tmp_path / name[1]).write_text(named.text)
    monkeypatch.chdir(tmp_path)
    _data_set_501(tmp_path, monkeypatch)
    for place, line in block.commands():
        for command in line.removesuffix("&").split("&&"):
            _check(place, command.strip())


def _data_set_501(folder, monkeypatch):
    """The nnU-Net data set that the pages speak of, as far as `--dry-run` looks at it."""
    about = {"channel_names": {"0": "flair"}, "labels": {"background": 0, "tumor": 1}, "file_ending": ".nii.gz"}
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / name))
    write_json(folder / "raw" / "Dataset501_Heads" / "dataset.json", about)


@of("yaml")
def test_yaml_fits_the_schema(block, tmp_path):
    (tmp_path / "block.yaml").write_text(block.text)
    try:
        load_config(tmp_path / "block.yaml", [])
    except MedaugError as error:
        pytest.fail(f"{block.place}: {error}")


@of("python")
def test_python_runs(block, reader, names, monkeypatch):
    monkeypatch.chdir(reader)
    code = compile(block.text.replace(UID, A_SERIES), block.place, "exec")
    try:
        with redirect_stdout(io.StringIO()):
            exec(code, dict(names))
    except Exception as error:
        pytest.fail(f"{block.place}: {type(error).__name__}: {error}\n{block.text}")


@pytest.mark.parametrize(
    "line",
    [
        "medaug insrt scan.nii.gz", "medaug run pipelines/quickstart.yaml --ot x", "medaug insert --weights w --out o",
        "medaug run pipelines/quickstart.yaml --set training.stps=3", "medaug run pipelines/missing.yaml",
        "make dmo", "python examples/99_missing.py", 'pip install "medaug[nothing]"', "curl x",
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_found(line, tmp_path, monkeypatch):
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="page.md:1"):
        _check("page.md:1", line)


def _is_made(word):
    """Whether the Makefile has this target, or reads the variable of NAME=value."""
    name, given, _ = word.partition("=")
    return (f"$({name})" if given else f"\n{name}:") in (ROOT / "Makefile").read_text()


def _check(place, command):
    """Fails, naming file, line and command, where the command cannot be meant."""
    program, *arguments = shlex.split(STARTERS.sub("", command)) or [""]
    problem = None
    if program == "medaug":
        problem = _problem_of(arguments)
    elif program == "make":
        problem = next((f"no target or variable {a}" for a in arguments if not _is_made(a)), None)
    elif program in ("python", "python3"):
        problem = None if (ROOT / arguments[0]).exists() or arguments[0] == "-m" else f"no file {arguments[0]}"
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = re.findall(r"\[(.*?)\]", command)
        problem = next((f"no extra {name}" for names in asked for name in names.split(",") if name not in extras), None)
    elif program.startswith(NNUNET):
        problem = None if program in {point.name for point in entry_points(group="console_scripts")} else "no command"
    elif program not in OTHER_PROGRAMS:
        problem = f"{program or 'nothing'}: not a program that these pages use"
    if problem:
        pytest.fail(f"{place}: {command}\n{problem}")


def _problem_of(arguments):
    """What the command line finds wrong, without doing anything."""
    group = typer.main.get_command(app)
    name, *options = arguments or [""]
    if name not in group.commands:
        return None if name in ("--help", "--version") else f"no command {name}; there are {', '.join(group.commands)}"
    command = group.commands[name]
    try:
        command.make_context(name, list(options), parent=typer.Context(group, info_name="medaug"))
    except typer.Exit:  # --help
        return None
    except MedaugError as error:
        missing, *rest = re.split(": found no such |: missing; a weights folder ", str(error))
        if not rest or Path(missing).exists():
            return repr(error)
        if Path(missing).suffix in (".json", ".safetensors"):
            Path(missing).touch()  # a reader has it
        else:
            Path(missing).mkdir(parents=True)
        return _problem_of(arguments)
    except Exception as error:  # of the click that is installed, or of the one that typer brings
        return error.format_message() if hasattr(error, "format_message") else repr(error)
    if not any("--dry-run" in parameter.opts for parameter in command.params):
        return None
    result = CliRunner().invoke(app, [*arguments, "--dry-run"])
    return None if result.exit_code == 0 else result.output or repr(result.exception)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, tiny_run, multi_run, tiny_config, dicom_series):
    """The folder of a reader: a finished run, weights of each kind, a scan, DICOM series."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("quickstart", "brats"):
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / name).symlink_to(tiny_run.root)
    (folder / "out" / "two-sequences").symlink_to(multi_run.root)
    facts = {"spacing_mm": [6.0, 6.0], "training_patients": ["a"], "split_hash": "none"}
    domains = Domain("mr", "MR", Percentiles()), Domain("ct", "CT", Window(-160, 240, "HU"))
    small = {"generator": "unet", "width": 4, "depth": 2, "discriminator_width": 4, "discriminator_layers": 1}
    translator = build_translator("cyclegan", small, *domains, 2)
    for name in ("ct", "mr-ct"):
        save_translator(folder / "out" / name / "train" / "weights", translator, None, facts)
    gan = build_dcgan(tiny_config().gan, (16, 16), domains[0], seed=0)
    save_gan(folder / "out" / "gan" / "train-gan" / "weights", gan, facts)
    values = np.random.RandomState(0).randint(0, 500, size=(16, 16, 3))
    dicom_series(folder / "export", values, uid=A_SERIES)
    dicom_series(folder / "MR" / "series", values, modality="MR", slope=1.0, intercept=0.0)
    scan = next((tiny_run.phantoms / "imagesTr").glob("*_0000.nii.gz"))
    shutil.copy(scan, folder / "scan.nii.gz")
    shutil.copy(scan.parents[1] / "labelsTr" / scan.name.replace("_0000", ""), folder / "tumor.nii.gz")
    (folder / "scans").mkdir()
    shutil.copy(scan, folder / "scans")
    export_bundle(tiny_run.weights, folder / "bundle")
    return folder


@pytest.fixture
def names(reader, tiny_run, weights):
    """What the pages speak of as the reader's own."""
    import medaug.transforms

    split, cases = read_json(tiny_run.split), read_json(tiny_run.datalist)["cases"]
    case = next(case for case in cases if case["patient"] in split["test"])
    domain = weights.translator.domain_a
    image, organ = (array_of(tiny_run.prepared, case, key) for key in ("image", "organ"))
    unit = build_translator("unit", {"width": 4, "depth": 2, "blocks": 1}, Domain("a", "MR"), Domain("b", "MR"), 2)
    return {
        **{name: getattr(medaug.transforms, name) for name in medaug.transforms.__all__},
        "training_cases": [{"image": c["image"], "label": c["label"]} for c in cases if c["patient"] in split["train"]],
        "weights": weights, "spacing_mm": case["spacing_mm"],
        "image": domain.window_of(image).normalize(image), "organ": organ > 0,
        "mr": MetaTensor(torch.from_numpy(image)[None]), "translator": unit, "x": torch.zeros(1, 1, 16, 16),
        "translate": lambda array: np.rint(array).astype(np.int16),
        "label": np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3) % 3,
    }  # fmt: skip


def test_the_readme_draws_every_room_and_no_other():
    house = (ROOT / "README.md").read_text().split("## The rooms")[1].split("```")[1]
    package = ROOT / "medaug"
    there = {p.name for p in package.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    there |= {p.stem for p in package.glob("[!_]*.py")}
    assert there <= set(re.findall("[a-z]+", house))
    assert set(re.findall(r"^([a-z]+)/", house, re.M)) <= there
