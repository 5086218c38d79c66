"""What is distributed: the wheel's contents, the pinned dependencies' licences, the version, pipelines by name."""

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

import medaug
from medaug.cli import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medaug"
PERMISSIVE = {
    "0BSD", "3-Clause BSD License", "Apache License 2.0", "Apache Software License", "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception", "BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "DFSG approved", "ISC", "ISC License (ISCL)", "MIT", "MIT License", "MIT-CMU", "MPL-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)", "PSF-2.0", "Python Software Foundation License", "Zlib",
}  # fmt: skip
"""MPL-2.0 is weak copyleft, file by file: accepted for packages that are used unchanged."""
BY_NAME = {"connected-components-3d": "LGPL-3.0-or-later"}
"""Of the extra `nnunet` alone, whose nnU-Net needs it; a package of its own that medaug does not import."""
ROW = r"^\| ([\w.-]+) +\| (.+?) +\|"
"""Name and licence in the table of docs/licences.md."""


def permissive(licence: str) -> bool:
    """Of "A AND B" and "A; B" everything applies; of "A OR B" one may be chosen."""
    together = re.split(r"\s+AND\s+|\s*;\s*", licence)
    return all(any(choice in PERMISSIVE for choice in re.split(r"\s+OR\s+", part)) for part in together)


def named(licence: str) -> str:
    """The name of a licence that stands there in full."""
    return "Apache-2.0" if " ".join(licence.split()).startswith("Apache License Version 2.0,") else licence


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {normal(line.partition("==")[0]) for line in lines if "==" in line}


@pytest.fixture(scope="module")
def licences(pinned) -> dict[str, str]:
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--with-system"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    declared = {normal(entry["Name"]): named(entry["License"]) for entry in found}
    of_page = {
        normal(name): licence for name, licence in re.findall(ROW, (ROOT / "docs/licences.md").read_text(), re.M)
    }
    known = of_page | declared  # the page for what is not installed: make test needs no tools for a release
    return {name: licence for name, licence in known.items() if name in pinned}


def test_every_pinned_dependency_has_a_permissive_licence(pinned, licences):
    assert pinned - set(licences) == set(), "neither installed nor in docs/licences.md: make licences"
    refused = {name: of for name, of in licences.items() if not permissive(of) and BY_NAME.get(name) != of}
    assert refused == {}, "choose another package, or add the licence to PERMISSIVE if it is one"


@pytest.mark.parametrize("licence", ["GPL-3.0", "MIT AND GPL-2.0-only", "LGPL-3.0", "UNKNOWN", "AGPL-3.0; MIT", ""])
def test_other_licences_are_refused(licence):
    assert not permissive(licence)


def test_one_of_several_licences_may_be_chosen():
    assert permissive("GPL-2.0 OR MIT") and permissive("ISC License (ISCL)")


def test_the_page_of_licences_has_every_pinned_dependency(pinned):
    page = (ROOT / "docs/licences.md").read_text()
    rows = re.findall(ROW, page, re.MULTILINE)
    assert {normal(name) for name, _ in rows[1:]} == pinned, "make licences"


def test_every_dependency_is_pinned(pinned):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for names in project["optional-dependencies"].values() for name in names),
    ]
    names = {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in wanted}
    assert names - pinned == {"medaug"}


def test_every_data_file_of_the_package_is_in_the_wheel():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    listed = [f"{package.replace('.', '/')}/{pattern}" for package, found in patterns.items() for pattern in found]
    files = [path for path in (*PACKAGE.rglob("*"), *(PACKAGE / "pipelines").iterdir()) if path.is_file()]
    named = (path.relative_to(ROOT) for path in files if path.suffix not in (".py", ".pyc"))
    data = {str(path) for path in named if not any(part.startswith(".") for part in path.parts)}  # no tool's cache
    assert {name for name in data if not any(fnmatch(name, pattern) for pattern in listed)} == set()
    assert "medaug/pipelines/quickstart.yaml" in data and "medaug/py.typed" in data


def test_the_version_to_cite_is_the_package_s():
    cited = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert str(cited["version"]) == medaug.__version__
    assert f"## {medaug.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_a_pipeline_that_comes_with_medaug_is_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = CliRunner().invoke(app, ["run", "quickstart", "--dry-run"])
    by_path = CliRunner().invoke(app, ["run", str(ROOT / "pipelines/quickstart.yaml"), "--dry-run"])
    assert by_name.exit_code == 0 and by_name.output == by_path.output
    assert "name: quickstart" in by_name.output


def test_a_file_goes_before_a_pipeline_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("name: mine\n")
    assert "name: mine" in CliRunner().invoke(app, ["run", "quickstart", "--dry-run"]).output


def test_an_unknown_pipeline_lists_those_that_come_with_medaug():
    result = CliRunner().invoke(app, ["benchmark", "nosuch", "--dry-run"])
    assert result.exit_code == 2 and "nosuch: no such pipeline file" in result.output
    assert "benchmark_phantom" in result.output and "quickstart" in result.output
