"""The viewer of one section: as many cases as the page holds, and the script that shows them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import zip_longest

import numpy as np
from matplotlib import colormaps

from medaug.report.viewer.cases import EncodedCase

PAGE_LIMIT_BYTES = 25 * 2**20
"""The most text that the cases and the script of a page may be."""


def by_heading(cases: Sequence[EncodedCase]) -> dict[str, list[tuple[int, EncodedCase]]]:
    """Heading → its cases with their numbers, in order."""
    found: dict[str, list[tuple[int, EncodedCase]]] = {}
    for number, case in enumerate(cases):
        found.setdefault(case.facts["group"], []).append((number, case))
    return found


@dataclass(frozen=True)
class Viewer:
    """Cases to look at.

    Attributes:
        cases: those that fit.
        given: how many there were.
    """

    cases: tuple[EncodedCase, ...]
    given: int

    @classmethod
    def of(cls, cases: Sequence[EncodedCase], limit_bytes: int = PAGE_LIMIT_BYTES) -> Viewer | None:
        """Takes cases from all groups in turn until the page is full, the first one always; None without any."""
        if not cases:
            return None
        left = limit_bytes - len(script())
        kept: list[int] = []
        volumes: set[str] = set()
        turns = zip_longest(
            *by_heading(cases).values()
        )  # the first case of every heading, the second of every one, ...
        for number, case in (numbered for turn in turns for numbered in turn if numbered is not None):
            new = [len(text) for name, text in case.volumes.items() if name not in volumes]
            size = sum(new) + len(case.still)
            if size <= left or not kept:
                kept.append(number)
                volumes |= set(case.volumes)
                left -= size
        return cls(tuple(cases[number] for number in sorted(kept)), len(cases))

    @property
    def left_out_note(self) -> str:
        """What to say of cases that did not fit."""
        if len(self.cases) == self.given:
            return ""
        limit = f"{PAGE_LIMIT_BYTES / 2**20:.0f} MB"
        return f"{len(self.cases)} of {self.given} cases are here: the page is kept below {limit}."

    @property
    def groups(self) -> list[tuple[str, list[tuple[int, EncodedCase]]]]:
        """Heading → its cases with their numbers, in order."""
        return list(by_heading(self.cases).items())

    @property
    def data(self) -> str:
        """What the script reads, as JSON that cannot end the element it stands in."""
        volumes = {name: text for case in self.cases for name, text in case.volumes.items()}
        content = {"colours": _colours(), "volumes": volumes, "cases": [case.facts for case in self.cases]}
        return json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")

    @property
    def has_volumes(self) -> bool:
        return any(case.facts["dims"] == 3 for case in self.cases)


@cache
def script() -> str:
    """The viewer's JavaScript."""
    return files("medaug.report.viewer").joinpath("viewer.js").read_text(encoding="ascii")


def script_source() -> str:
    """What a content security policy allows so that this script runs and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}'"


def _colours() -> dict[str, dict[str, list[int]]]:
    """NiiVue's colour tables by name; the solid ones let a rendered volume be seen through where little is."""
    steps = np.linspace(0, 1, 17)
    diverging = np.rint(255 * colormaps["RdBu_r"](steps)[:, :3]).astype(int)
    grey = np.rint(255 * np.stack([steps] * 3, axis=1)).astype(int)
    opaque, ramp = np.full(steps.size, 255), np.rint(110 * steps**1.5).astype(int)
    far = np.rint(200 * np.abs(2 * steps - 1) ** 1.5).astype(int)
    tables = {
        "grey": (grey, opaque),
        "grey-solid": (grey, ramp),
        "difference": (diverging, opaque),
        "difference-solid": (diverging, far),
    }
    places = np.rint(255 * steps).astype(int).tolist()
    return {
        name: {**dict(zip("RGB", rgb.T.tolist(), strict=True)), "A": alpha.tolist(), "I": places}
        for name, (rgb, alpha) in tables.items()
    }
