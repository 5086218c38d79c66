"""The results of a run or a benchmark as a small folder (or zip) of its own, fit for a paper's supplement.

Settings, splits, scores by patient, summary, environment and plots, with a README that says what each file is. No
image of a patient is in it, no weights, and no path of the machine it was made on. The same run gives the same bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from medaug.benchmarks.answer import Drawing, by_patient, curves, differences, size_bars
from medaug.benchmarks.results import read_results
from medaug.config.files import dump_config
from medaug.data.atomic import atomic_path, check_free, read_json, to_json
from medaug.experiment.cells import cells_behind
from medaug.experiment.records import Summary
from medaug.figures.charts import to_png, to_svg
from medaug.report.scrubbing import known_paths, without_paths, without_roots
from medaug.runs.finished import Finished, finished_run

README = "README.txt"
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a zip: that format knows none before."""


class Part(NamedTuple):
    """One file, and what it is."""

    name: str
    content: bytes
    what: str


def export_results(folder: Path, out: Path) -> Path:
    """Writes the supplement of a run folder to `out`, a zip if it is named so and a folder otherwise; returns `out`.

    Raises:
        RunError: if the run is unfinished, naming what is missing, or `out` exists.
    """
    found = finished_run(folder)
    check_free(out)
    parts = [*_facts(found), *_plots(found)]
    parts = [Part(README, _readme(found, parts).encode(), ""), *parts]
    with atomic_path(out) as temporary:
        if out.suffix == ".zip":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                for part in parts:
                    entry = zipfile.ZipInfo(part.name, EARLIEST)
                    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                    archive.writestr(entry, part.content)
        else:
            for part in parts:
                (temporary / part.name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / part.name).write_bytes(part.content)
    return out


def _facts(found: Finished) -> Iterator[Part]:
    config, known = found.config, known_paths(found.config, found.run)
    text = without_paths(dump_config(without_roots(config)), known)
    yield Part("config.yaml", text.encode(), "every setting; a folder of data stands in it as a placeholder")
    made = without_paths(read_json(found.run.environment), known)
    yield Part("environment.json", to_json(made).encode(), "versions, machine, and the command")
    for name, path in found.splits.items():
        where = f"splits/{name.replace('/', '-')}.json" if name else "split.json"
        yield Part(where, path.read_bytes(), "who trained, validated and was tested, with the hash of the split")
    hashes = {name or "run": read_json(path)["sha256"] for name, path in found.weights.items()}
    if hashes:
        yield Part("weights.json", to_json(hashes).encode(), "SHA-256 of the translator's weights")
    summary = without_paths(read_json(found.summary), known)
    yield Part("summary.json", to_json(summary).encode(), "figures by arm with intervals, comparisons and verdicts")
    for name, path in found.tables.items():
        yield Part(name, path.read_bytes(), "the scores: a row a patient and trained network")


def _plots(found: Finished) -> Iterator[Part]:
    drawings: list[Drawing] = []
    if found.is_benchmark:
        results = read_results(found.run)
        group = results.headline(found.config.evaluation.synthetic_ratio)
        one_setting = [*differences(group), *by_patient(group, results.cells(group))]
        drawings += [*one_setting, *curves(results, group), *size_bars(group)]
    else:
        for name, values in found.summaries():
            summary = Summary.from_json(values)
            drawn = [*differences(summary), *by_patient(summary, cells_behind(summary, found.run, name))]
            drawings += [replace(one, name=f"{name}-{one.name}") if name else one for one in drawn]
    for drawing in drawings:
        what = f"{drawing.title}. {drawing.caption}"
        yield Part(f"figures/{drawing.name}.png", drawing.draw(to_png), what)
        yield Part(f"figures/{drawing.name}.svg", drawing.draw(to_svg), "the same, for print")


def _readme(found: Finished, parts: list[Part]) -> str:
    command = "benchmark" if found.is_benchmark else "run"
    data = [f"{key}.root" for key in ("data", "target") if getattr(getattr(found.config, key), "root", None)]
    settings = "".join(f" --set {key}=<folder>" for key in data)
    width = max(len(part.name) for part in parts)
    lines = [
        f"Results of medaug {command}: {found.config.name}",
        "",
        f"{README:<{width}}  this list",
        *(f"{part.name:<{width}}  {part.what}" for part in parts),
        "",
        "To make them again:",
        f"  medaug {command} config.yaml{settings} --out again",
        "  medaug export-results again results",
        "On the same machine, with the versions of environment.json, the tables are identical.",
        "",
        "No image of a patient is in this folder. Patients are named as in the split; where these names are no",
        "pseudonyms, replace them before you pass the folder on.",
    ]
    return "\n".join(lines) + "\n"
