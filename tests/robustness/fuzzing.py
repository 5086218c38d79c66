"""What hostile input is drawn from: bytes that are cut, flipped and overwritten, JSON with odd values in odd places.

`MEDAUG_FUZZ=800` draws so many examples a test (`make fuzz`); the suite draws `EXAMPLES`, the same every time.
"""

from __future__ import annotations

import copy
import os
import struct
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from medaug.errors import MedaugError

EXAMPLES = 30
fuzzed = settings(
    max_examples=int(os.environ.get("MEDAUG_FUZZ", EXAMPLES)),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

NAMES = ("../../etc/passwd", "/etc/passwd", "a\0b", "x" * 300, "\ud800", "\x1b[2J", "", ".", "..", "a/b", "名前", "-")
ODD = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, -1, 2**31, 2**63, 10**30]), st.floats(), st.sampled_from(NAMES),
    st.text(max_size=8), st.lists(st.integers(-2, 2), max_size=3), st.lists(st.sampled_from(NAMES), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
NUMBERS = st.sampled_from(
    [struct.pack(kind, value) for kind, values in {
        "<h": (0, -1, 32767), "<i": (0, -1, 2**31 - 1), "<q": (-1, 2**62),
        "<f": (float("nan"), float("inf"), 1e38, -1.0), "<d": (float("nan"), 1e308),
        ">h": (1, 348), ">i": (348, 2**31 - 1),
    }.items() for value in values]
)  # fmt: skip


@st.composite
def damaged(draw: Any, data: bytes, header: int) -> bytes:
    """`data` with a few bytes changed, above all in its header; or cut off."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, min(header, len(found)) - 1)))
        kind = draw(st.sampled_from(["number", "number", "bytes", "cut", "insert"]))
        if kind == "number":
            number = draw(NUMBERS)
            found[place : place + len(number)] = number
        elif kind == "bytes":
            found[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "cut":
            del found[draw(st.integers(0, len(found))) :]
        else:
            found[place:place] = draw(st.binary(min_size=1, max_size=9))
    return bytes(found)


@st.composite
def altered(draw: Any, value: Any, odd: Any = ODD) -> Any:
    """A JSON value with one to three of its values replaced by odd ones, or taken out."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        holders = [part for part in parts(changed) if part]
        if not holders:
            return draw(odd)
        holder = draw(st.sampled_from(holders))
        key = draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if draw(st.integers(0, 4)):
            holder[key] = draw(odd)
        else:
            del holder[key]
    return changed


def refused(work: Any, *names: str) -> MedaugError | None:
    """The expected error that `work` ends with, naming one of these; None if it does not fail."""
    try:
        work()
    except MedaugError as error:
        assert any(name in str(error) for name in names), f"{names} in: {error}"
        return error
    return None


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def parts(value: Any) -> list[Any]:
    """All lists and objects of a JSON value, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict | list) else []
    return found + [part for item in inner for part in parts(item)]
