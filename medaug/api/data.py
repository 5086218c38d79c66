"""What comes before training: a look at a data set, a pipeline for it, and procedural patients to try on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medaug.api.paths import AnyPath, check_seed, path_of

if TYPE_CHECKING:
    from medaug.examination.examination import Examination


def doctor(
    data: AnyPath,
    *,
    sequence: str | None = None,
    layout: str = "auto",
    target: AnyPath | None = None,
    target_sequence: str | None = None,
    patient_regex: str | None = None,
    tumor_labels: Sequence[int] | None = None,
    out: AnyPath | None = None,
) -> Examination:
    """Looks at a data set before training: what it holds, what would be refused, and a pipeline for it.

    Raises:
        MedaugError: if nothing can be looked at, or `out` is there already.
    """
    from medaug.examination.examination import examine

    return examine(
        Path(data),
        sequence=sequence,
        layout=layout,
        target=path_of(target),
        target_sequence=target_sequence,
        patient_regex=patient_regex,
        tumor_labels=tumor_labels,
        out=path_of(out),
    )


def init(
    data: AnyPath,
    *,
    out: AnyPath = "pipeline.yaml",
    task: str | None = None,
    sequence: str | None = None,
    layout: str = "auto",
    target: AnyPath | None = None,
    target_sequence: str | None = None,
    patient_regex: str | None = None,
    tumor_labels: Sequence[int] | None = None,
) -> Path:
    """Writes the commented pipeline that `doctor` suggests to a new file; returns its path.

    Args:
        task: `evaluation.task`; None: what labels and pairs allow.

    Raises:
        MedaugError: if nothing can be looked at, or `out` is there already.
    """
    from medaug.examination.examination import examine

    examine(
        Path(data),
        sequence=sequence,
        layout=layout,
        target=path_of(target),
        target_sequence=target_sequence,
        patient_regex=patient_regex,
        tumor_labels=tumor_labels,
        task=task,
        out=Path(out),
    )
    return Path(out)


def phantoms(out: AnyPath, *, layout: str = "brats", patients: int = 12, anatomy: str = "head", seed: int = 0) -> int:
    """Writes procedural patients to disk; returns how many scans.

    Raises:
        MedaugError: for an unknown layout or anatomy, or a folder that cannot be written.
    """
    check_seed(seed)
    from medaug.data.phantom_folder import write_phantoms

    return write_phantoms(Path(out), layout, patients=patients, anatomy=anatomy, seed=seed)
