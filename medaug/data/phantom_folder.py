"""Write procedural patients to disk in one of the layouts medaug reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medaug.data.writers import ScanRecord, write_layout
from medaug.phantoms import Phantom, phantoms
from medaug.progress import track


def write_phantoms(
    out: Path,
    layout: str,
    *,
    anatomy: str,
    patients: int,
    seed: int,
    shape: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    label: str = "tumor",
) -> int:
    """Writes `patients` phantoms; returns how many scans.

    Args:
        shape, spacing_mm: left out, the anatomy's own.
        label: "tumor", or "organs" (see `Phantom.organs`).

    Raises:
        ConfigError: for an unknown anatomy or layout.
        RunError: if `out` cannot be written.
    """
    options = {key: value for key, value in (("shape", shape), ("spacing_mm", spacing_mm)) if value is not None}
    drawn = phantoms(anatomy, patients, seed=seed, **options)

    with track("draw phantoms", patients) as tracker:

        def records(drawn: Iterator[Phantom]) -> Iterator[ScanRecord]:
            for phantom in drawn:
                truth = phantom.organs if label == "organs" else phantom.label
                yield ScanRecord(phantom.patient, phantom.images, truth, phantom.affine)
                tracker.advance()

        names = {1: "liver", 2: "kidneys", 3: "spine"} if label == "organs" else None
        return write_layout(records(drawn), out, layout, names)
