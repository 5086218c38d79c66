"""Translation of a scan to another kind of image, and the comparison of a synthetic image with the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medaug.api.paths import AnyPath, check_seed, path_of


def synth_ct(
    scan: AnyPath,
    *,
    weights: AnyPath,
    out: AnyPath,
    series: str | None = None,
    mask: AnyPath | None = None,
    direction: str | None = None,
    output_format: str | None = None,
    label: AnyPath | None = None,
    segmentation: AnyPath | None = None,
    name: Sequence[str] | None = None,
    deidentify: bool = False,
    seed: int = 0,
    sequence: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Makes a synthetic CT (or the weights' other kind of image) of a scan; returns the paths of what was written.

    Args:
        output_format: `--format`: "nifti" or "dicom"; None: as the scan.
        name: a label value's name each, `1=liver`.
        overwrite: whether files of an earlier call may be replaced; a DICOM series never is.

    Raises:
        MedaugError: whatever is refused.
    """
    check_seed(seed)
    from medaug.data.atomic import check_unwritten
    from medaug.data.suffixes import stem_of
    from medaug.scans.synth_ct import translate_scan

    stem = "synthetic" if deidentify else f"{stem_of(Path(scan).resolve())}_synthetic"
    check_unwritten(Path(out), [stem], overwrite=overwrite)
    return translate_scan(
        Path(scan),
        Path(weights),
        Path(out),
        direction=direction,
        series=series,
        mask=path_of(mask),
        label=path_of(label),
        segmentation=path_of(segmentation),
        names=name or (),
        output_format=output_format,
        deidentify=deidentify,
        seed=seed,
        sequence=sequence,
    )


def compare(
    real: AnyPath,
    synthetic: AnyPath,
    *,
    mask: AnyPath | None = None,
    out: AnyPath | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compares a synthetic image with the real one; see `stages.scans.compare`.

    Raises:
        DataError: if the two are not of one grid and unit.
    """
    from medaug.data.atomic import check_unwritten
    from medaug.scans.compare import compare_images

    if out is not None:
        check_unwritten(Path(out), ["comparison", "view"], overwrite=overwrite)
    return compare_images(Path(real), Path(synthetic), path_of(mask), path_of(out))
