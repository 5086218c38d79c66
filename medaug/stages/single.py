"""Insert tumors into, or remove one from, a single scan: image, label and a picture beside each other in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from medaug.errors import DataError
from medaug.io.atomic import atomic_path, write_json
from medaug.io.files import write_scan
from medaug.io.suffixes import stem_of
from medaug.report.pictures import before_after
from medaug.stages.scans import read_mask, read_one, suffix_to_write, window_of
from medaug.transforms import RandInsertTumor, RemoveTumor
from medaug.translators.weights import load_weights


def insert_into_scan(
    scan: Path, weights: Path, out: Path, *, count: int = 1, seed: int = 0, size_mm: tuple[float, float] | None = None,
    organ_mask: Path | None = None, sequence: str | None = None,
) -> list[Path]:  # fmt: skip
    """Inserts up to `count` tumors; returns the paths of image, label, picture and manifest.

    Raises:
        DataError: if the scan cannot be used, or there is no room for a single tumor.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = read_one(scan, sequence, loaded)
    organ = read_mask(organ_mask, image, scan) if organ_mask is not None else None
    insert = RandInsertTumor(loaded, prob=1.0, count=(count, count), size_mm=size_mm).set_random_state(seed=seed)
    edited, label = insert(image, None, organ, window=window_of(loaded, image, scan))
    if not insert.lesions:
        raise DataError.about(
            scan, "no room for a tumor", "an organ larger than the tumor",
            "Give --organ-mask, smaller --size-mm, or another --seed.",
        )  # fmt: skip
    facts = {
        "scan": scan.name, "seed": seed, "asked": count, "weights": loaded.facts["sha256"],
        "lesions": insert.lesions,
    }  # fmt: skip
    return _write(out, stem_of(scan), "inserted", scan, image, edited, label, label, facts)


def remove_from_scan(
    scan: Path, mask: Path, weights: Path, out: Path, *, seed: int = 0, sequence: str | None = None
) -> list[Path]:
    """Removes what `mask` marks; returns the paths of image, (empty) label, picture and manifest.

    Raises:
        DataError: if scan and mask do not lie on one grid, or the mask is empty.
        WeightsError: if the weights cannot be used.
    """
    loaded = load_weights(weights)
    image = read_one(scan, sequence, loaded)
    region = read_mask(mask, image, scan)
    if not bool((region > 0).any()):
        raise DataError.about(mask, "an empty mask", "the tumor's voxels marked", "Mark what shall be removed.")
    edited = RemoveTumor(loaded, seed)(image, region, window=window_of(loaded, image, scan))
    facts = {"scan": scan.name, "mask": mask.name, "seed": seed, "weights": loaded.facts["sha256"]}
    return _write(out, stem_of(scan), "removed", scan, image, edited, region * 0, region, facts)


def _write(
    out: Path, stem: str, kind: str, scan: Path, image: MetaTensor, edited: MetaTensor, label: MetaTensor,
    shown: MetaTensor, facts: dict[str, object],
) -> list[Path]:  # fmt: skip
    """Image in the scan's own units and dtype, label, picture, manifest."""
    suffix = suffix_to_write(scan, image)
    paths = [
        out / f"{stem}_{kind}{suffix}", out / f"{stem}_{kind}_label{suffix}", out / f"{stem}_{kind}.png",
        out / f"{stem}_{kind}.json",
    ]  # fmt: skip
    if suffix == ".png":
        paths[2] = out / f"{stem}_{kind}_compared.png"
    affine = image.affine.numpy()
    write_scan(paths[0], edited, affine, image.meta["dtype"])
    write_scan(paths[1], label, affine, "uint8")
    arrays = [np.asarray(x.as_tensor())[0] for x in (image, edited, shown)]
    with atomic_path(paths[2]) as temporary:
        temporary.write_bytes(before_after(*arrays, title=f"{stem}: {kind}"))
    write_json(paths[3], facts)
    return paths
