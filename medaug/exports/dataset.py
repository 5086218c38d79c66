"""Writes the synthesized set of a run, together with its real cases, in a format that others' tools read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medaug.data.atomic import atomic_path
from medaug.errors import ConfigError
from medaug.exports.bids import write_bids
from medaug.exports.cases import ExportSet, export_set
from medaug.exports.croissant import croissant_library, write_croissant
from medaug.exports.datalists import write_datalist
from medaug.exports.decathlon import write_msd, write_nnunet
from medaug.exports.output import check_new

FORMATS: dict[str, Callable[[ExportSet, Path], None]] = {
    "nnunet": write_nnunet,
    "msd": write_msd,
    "bids": write_bids,
    "datalist": write_datalist,
    "croissant": write_croissant,
}


def export_dataset(folder: Path, out: Path, to: str) -> str:
    """Writes `out`, whole or not at all, and says what is in it.

    Raises:
        ConfigError: for a format there is not, or one whose library is not installed.
        RunError: if the run has no synthetic set, or `out` is there already.
        LeakageError: if a synthetic case was made from a held-out patient.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to: found {to!r}; expected one of {', '.join(FORMATS)}")
    check_new(out)
    if to == "croissant":
        croissant_library()  # a missing one is told before anything is read
    found = export_set(folder)
    with atomic_path(out) as temporary:
        temporary.mkdir()
        FORMATS[to](found, temporary)
    return found.description
