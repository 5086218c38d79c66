"""The viewer's part of a page, without a browser: what it holds, its limit, and nothing that text could break."""

import base64
import hashlib
import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from medaug.report import ReportPage, Section, to_html
from medaug.report.viewer import Viewer, encode, script

ATTACK = "</script><script>alert('x')</script>\"><img src=x onerror=alert(1)>&"


def page_of(*viewers: Viewer) -> str:
    return to_html(ReportPage("Title", "Subtitle", None, sections=[Section("Look", viewer=v) for v in viewers]))


def data_of(html: str) -> dict:
    return json.loads(re.search(r'class="viewer-data">(.*?)</script>', html, re.S)[1])


def test_a_page_lists_its_cases_under_their_headings(ball):
    cases = [encode(ball("one", group="Held out")), encode(ball("two", (24, 20), group="Synthetic"))]
    html = page_of(Viewer.of(cases))
    assert re.findall(r'<optgroup label="([^"]+)"', html) == ["Held out", "Synthetic"]
    assert re.findall(r"<option[^>]*>([^<]+)", html) == ["one", "two"]
    assert [case["title"] for case in data_of(html)["cases"]] == ["one", "two"]


def test_the_script_is_there_once_and_only_where_there_is_a_viewer(ball):
    viewer = Viewer.of([encode(ball("one"))])
    assert page_of(viewer, viewer).count(script()) == 1
    assert "<script" not in page_of()


def test_no_address_is_in_the_page_and_its_policy_allows_this_script_alone(ball):
    html = page_of(Viewer.of([encode(ball("one"))]))
    assert "://" not in html
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy and len(scripts) == 1


def test_every_string_of_a_case_is_escaped(ball):
    case = ball(ATTACK, group=ATTACK, names=(ATTACK, ATTACK), class_names={1: ATTACK})
    html = page_of(Viewer.of([encode(case)]))
    around = html.replace(script(), "")
    assert around.count("<script") == 2 and "<img src=x" not in around, "the data and the script"
    facts = data_of(html)["cases"][0]
    assert facts["title"] == facts["group"] == facts["before"]["name"] == facts["classes"][0]["name"] == ATTACK


def test_a_full_page_shows_fewer_cases_of_every_group_and_says_so(ball):
    cases = [encode(ball(f"{group} {i}", (24, 20, 6 + i), group=group)) for group in "ab" for i in range(3)]
    room = len(script()) + sum(cases[i].size for i in (0, 1, 3)) + 10
    viewer = Viewer.of(cases, limit_bytes=room)
    assert [case.facts["title"] for case in viewer.cases] == ["a 0", "a 1", "b 0"]
    html = page_of(viewer)
    assert "3 of 6 cases are here" in html and len(data_of(html)["cases"]) == 3
    assert sum(map(len, data_of(html)["volumes"].values())) + len(script()) <= room
    assert "cases are here" not in page_of(Viewer.of(cases))


def test_equal_volumes_are_in_the_page_once(ball):
    viewer = Viewer.of([encode(ball("one")), encode(ball("the same"))])
    assert len(data_of(page_of(viewer))["volumes"]) == 3, "before, after and label"


def test_no_case_no_viewer():
    assert Viewer.of([]) is None


def test_the_wheel_takes_the_viewer_and_its_licences_along():
    root = Path(__file__).resolve().parents[3]
    package, globs = root / "medaug", tomllib.loads((root / "pyproject.toml").read_text())
    taken = {p for glob in globs["tool"]["setuptools"]["package-data"]["medaug"] for p in package.glob(glob)}
    kept = {p for p in (package / "report").rglob("*") if p.suffix in (".js", ".css", ".html", ".txt")}
    assert kept and kept <= taken
    licences = files("medaug.report.viewer").joinpath("LICENSES.txt").read_text()
    named = set(re.findall(r"^(\S+) [\d.]+ \(", licences, re.M))
    assert {"@niivue/niivue", "fflate", "gl-matrix", "nifti-reader-js"} <= named and "BSD 2-Clause" in licences


@pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
def test_the_build_of_the_viewer_names_exact_versions_and_no_registry(name):
    text = (Path(__file__).resolve().parents[3] / "viewer" / name).read_text()
    assert "://" not in re.sub(r'"(url|funding)": "[^"]*"', "", text) and '"resolved"' not in text
    if name == "package.json":
        needs = json.loads(text)
        versions = {**needs["dependencies"], **needs["devDependencies"]}.values()
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
