"""Commands on a single scan: insert, remove, replace, vary and grow tumors in it, score it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medaug.cli.command import (
    Accelerator,
    AnyPath,
    Overwrite,
    Precision,
    WeightsOption,
    check_seed,
    command,
    path_of,
    say_text,
    scans_there,
    weights_there,
)
from medaug.errors import ConfigError, visible
from medaug.scans.files import ScanFiles, Scans

if TYPE_CHECKING:
    from medaug.models.weights import Weights
    from medaug.scans.opened import OpenScan

Scan = Annotated[
    Scans,
    typer.Argument(
        callback=scans_there,
        help="Image: NIfTI, NRRD, MHA, PNG, TIFF, or a DICOM file or series folder; with weights of several sequences "
        "one each, in their order or as `name=file`.",
    ),
]
TumorValues = Annotated[
    Sequence[int] | None,
    typer.Option("--tumor-labels", help="Values of the label that are tumor, of several; repeatable."),
]
Channel = Annotated[
    str | None, typer.Option(help="Channel of a multi-channel file, by number; of several sequences `0,1,...`.")
]
EditFolder = Annotated[AnyPath, typer.Option("--out", "-o", help="Folder for image, label and picture.")]


@dataclass(frozen=True)
class AnomalyScores:
    """The figures of what was scored (a scan and its slices, or a run's held-out slices), and the files written."""

    summary: dict[str, Any]
    files: list[Path]

    def text(self) -> str:
        """For the terminal: what was found in a sentence, where there is one, and the files."""
        sentence = [self.summary["sentence"]] if "sentence" in self.summary else []
        return "\n".join(map(visible, [*sentence, *self.files]))


@command()
def insert(
    scan: Scan,
    *,
    weights: WeightsOption,
    out: EditFolder,
    count: Annotated[int, typer.Option(min=1, help="How many tumors.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    size_mm: Annotated[tuple[float, float] | None, typer.Option(help="Least and most diameter.")] = None,
    organ_mask: Annotated[AnyPath | None, typer.Option(help="Where tumors may lie; left out: found.")] = None,
    organ_labels: Annotated[
        Sequence[int] | None,
        typer.Option(help="Values of --organ-mask, then a label, that no tumor leaves; repeatable."),
    ] = None,
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="One tumor exactly here.")] = None,
    avoid: Annotated[AnyPath | None, typer.Option(help="Label of tumors to keep clear of.")] = None,
    tumor_labels: TumorValues = None,
    style_from: Annotated[
        Scans | None,
        typer.Option(help="Scan with a tumor whose style to use (MUNIT); of several sequences repeated, as the scan."),
    ] = None,
    style_mask: Annotated[AnyPath | None, typer.Option(help="That tumor, on its scan's grid.")] = None,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Insert tumors into one scan; writes image, label, and a before / after picture.

    Example: medaug insert scan.nii.gz --weights out/brats/train/weights --out inserted --size-mm 10 25 --seed 3

    Args:
        scan: of weights of several sequences a file each: a list in their order, or a dict by name.
        organ_labels: the values of the label `organ_mask` where tumors are put. No voxel of a new tumor leaves them,
            it keeps clear of the tumors in that label, and what is written is that label with the new tumors in it.
        avoid: what is written labels the new tumors alone.
        tumor_labels: of the values of `avoid` (or of `organ_mask` with `organ_labels`), those that are tumor, a new
            tumor's first; of weights of tumors with parts one each.

    Returns:
        The paths of images (one a sequence), label, picture, manifest and page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or there is no room for a single tumor.
        WeightsError: if the weights cannot be used.
        RunError: if the results of an earlier call are there, and `overwrite` is not given.
    """
    if mask is not None and (organ_mask is not None or organ_labels or size_mm is not None or count != 1):
        raise ConfigError(
            "--mask says where and how large: leave out --organ-mask, --organ-labels, --size-mm and --count"
        )
    opened, loaded = _open(scan, weights, out, sequence, seed, (accelerator, precision), overwrite, "inserted")
    from medaug.scans.edits import Place, insert_at, insert_drawn, style_in
    from medaug.transforms import InsertTumor, RandInsertTumor

    place, style = (
        Place(organ_mask, organ_labels or None, avoid),
        style_in(style_from or None, style_mask, loaded, sequence),
    )
    if mask is not None:
        there = InsertTumor(loaded, seed, style=style, tumor_labels=tumor_labels)
        return insert_at(opened, there, mask, avoid)
    drawn = RandInsertTumor(
        loaded, prob=1.0, count=(count, count), size_mm=size_mm, style=style, tumor_labels=tumor_labels
    )
    return insert_drawn(opened, drawn, seed, place)


@command()
def styles(
    scan: Scan,
    *,
    mask: Annotated[AnyPath, typer.Option("--mask", "-m", help="Where the tumor shall be, on the image's grid.")],
    weights: WeightsOption,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="Folder for images, label and picture.")],
    count: Annotated[int, typer.Option(min=1, help="How many variants.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Fill one mask with many different tumors; writes the images and a picture to compare them.

    Example: medaug styles scan.nii.gz --mask where.nii.gz --weights out/munit/train/weights --out styles --count 10

    Returns:
        The paths of images (one a sequence and variant), picture, manifest and page.

    Raises:
        MedaugError: as `insert`; WeightsError also of weights whose method knows no styles.
    """
    opened, loaded = _open(
        scan, weights, out, sequence, seed, (accelerator, precision), overwrite, "style-00", "styles", "label"
    )
    from medaug.scans.edits import fill_in_styles

    return fill_in_styles(opened, loaded, mask, count, seed)


@command()
def remove(
    scan: Scan,
    *,
    mask: Annotated[AnyPath, typer.Option("--mask", "-m", help="The tumor to remove, on the image's grid.")],
    weights: WeightsOption,
    out: EditFolder,
    seed: Annotated[int, typer.Option(help="Of the fill's texture.")] = 0,
    tumor_labels: TumorValues = None,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Remove a marked tumor from one scan; writes image, label, and a before / after picture.

    Example: medaug remove scan.nii.gz --mask tumor.nii.gz --weights out/brats/train/weights --out removed

    Returns:
        The paths of images (one a sequence), label, picture, manifest and page.

    Raises:
        MedaugError: as `insert`.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, (accelerator, precision), overwrite, "removed")
    from medaug.scans.edits import remove_at
    from medaug.transforms import RemoveTumor

    return remove_at(opened, RemoveTumor(loaded, seed, tumor_labels=tumor_labels), mask)


@command()
def replace(
    scan: Scan,
    *,
    mask: Annotated[AnyPath, typer.Option("--mask", "-m", help="Label of the tumors, of which one is replaced.")],
    weights: WeightsOption,
    out: EditFolder,
    seed: Annotated[int, typer.Option(help="Same seed, same tumor.")] = 0,
    size_mm: Annotated[tuple[float, float] | None, typer.Option(help="Least and most diameter of the new one.")] = None,
    organ_mask: Annotated[AnyPath | None, typer.Option(help="Where tumors may lie; left out: found.")] = None,
    tumor_labels: TumorValues = None,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Replace a tumor of one scan by another in its place; writes image, label, and a before / after picture.

    Example: medaug replace scan.nii.gz --mask tumor.nii.gz --weights out/brats/train/weights --out replaced --seed 3

    Returns:
        The paths of images (one a sequence), label, picture, manifest and page.

    Raises:
        MedaugError: as `insert`.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, (accelerator, precision), overwrite, "replaced")
    from medaug.scans.edits import replace_in
    from medaug.transforms import RandReplaceTumor

    other = RandReplaceTumor(loaded, prob=1.0, size_mm=size_mm, tumor_labels=tumor_labels)
    return replace_in(opened, other, seed, mask, organ_mask)


@command()
def grow(
    scan: Scan,
    *,
    weights: WeightsOption,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="Folder for images, labels, animation and page.")],
    steps: Annotated[int, typer.Option(help="How many sizes.")] = 6,
    start_mm: Annotated[float, typer.Option(help="Diameter at day 0.")] = 4.0,
    doubling_days: Annotated[float, typer.Option(help="Days in which the volume doubles.")] = 60.0,
    interval_days: Annotated[float, typer.Option(help="Days between two steps.")] = 30.0,
    mass_effect: Annotated[float, typer.Option(help="0 (none) to 1: how hard the tumor pushes tissue away.")] = 0.0,
    reach_mm: Annotated[float, typer.Option(help="How far from its surface it pushes.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Same seed, same series.")] = 0,
    organ_mask: Annotated[AnyPath | None, typer.Option(help="Where the tumor may lie; left out: found.")] = None,
    sequence: Channel = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Grow one tumor in one scan; writes image and label at each step, an animation, and a page.

    Example: medaug grow scan.nii.gz --weights out/brats/train/weights --out grown --start-mm 8 --mass-effect 0.5

    Returns:
        The paths of images and labels step by step, manifest, animation and page.

    Raises:
        MedaugError: as `insert`; DataError names the largest size that fits where the series does not.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, (accelerator, precision), overwrite, "grown", "growth")
    from medaug.scans.grow import grow_in
    from medaug.transforms import GrowTumor

    series = GrowTumor(loaded, steps, start_mm, doubling_days, interval_days, mass_effect, reach_mm)
    return grow_in(opened, series, seed, organ_mask)


@command(say_text, json=True)
def anomaly(
    source: Annotated[
        Scans, typer.Argument(help="A scan, a file for each sequence of the weights; or a run folder with weights.")
    ],
    *,
    weights: Annotated[
        AnyPath | None,
        typer.Option("--weights", "-w", callback=weights_there, help="Of a run folder: others than its own."),
    ] = None,
    out: Annotated[
        AnyPath | None, typer.Option("--out", "-o", help="Of a scan: folder for map, image and scores.")
    ] = None,
    organ_mask: Annotated[AnyPath | None, typer.Option(help="Of a scan: where to look; left out: found.")] = None,
    sequence: Channel = None,
    set_: Annotated[
        Sequence[str] | None, typer.Option("--set", help="`key=value` over the settings; repeatable.")
    ] = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
) -> AnomalyScores:
    """Score a scan by its distance from its pseudo-healthy version; of a run folder, all held-out slices (AUC).

    Example: medaug anomaly scan.nii.gz --weights out/brats/train/weights --out anomaly

    Args:
        set_: `anomaly.key=value`, over the defaults or over the run's settings.

    Raises:
        ConfigError: if an argument is missing, or does not apply to this kind of source.
        MedaugError: whatever else is refused.
    """
    files_given, overrides = ScanFiles.of(source), list(set_ or [])
    chosen = {"accelerator": accelerator, "precision": precision}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    path = files_given.paths[0]
    if len(files_given.paths) == 1 and path.is_dir():
        if out is not None or organ_mask is not None or sequence is not None:
            raise ConfigError(
                f"{path}: a run folder; its own images and organs are scored, into {path}/anomaly. Leave --out, "
                "--organ-mask and --sequence out."
            )
        from medaug.config.files import load_config
        from medaug.runs.finished import trained_run
        from medaug.stages.anomaly import anomaly as score_held_out
        from medaug.stages.report import report

        run = trained_run(path, "scoring", path_of(weights))
        config = load_config(run.config, overrides, chosen)
        score_held_out(config, run, path_of(weights))
        if run.report.exists():  # a page shows it
            report(config, run)
        files = [run.anomaly / "summary.json"]
    elif weights is None or out is None:
        raise ConfigError(f"{path}: a single scan (or no folder); expected --weights and --out with it.")
    else:
        _check_unwritten(source, out, overwrite, "anomaly", "healthy")
        from medaug.audits.anomaly_scores import anomaly_method
        from medaug.config.files import load_config
        from medaug.scans.opened import open_scan
        from medaug.scans.score import score_scan

        config = load_config(None, overrides, chosen)
        judge = anomaly_method(Path(weights), config)
        opened = open_scan(source, judge.domain, judge.sequences, judge.facts, sequence, out)
        files = score_scan(opened, judge, config.anomaly, organ_mask, config.data.organ_margin_mm)
    from medaug.data.atomic import read_json

    return AnomalyScores(read_json(files[-1]), files)


def _open(
    scan: Scans,
    weights: AnyPath,
    out: AnyPath,
    sequence: str | None,
    seed: int,
    compute: tuple[str | None, str | None],
    overwrite: bool,
    *kinds: str,
) -> tuple["OpenScan", "Weights"]:
    """The scan and the weights that are to edit it; what needs no torch is refused before torch is imported."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, *kinds)
    from medaug.models.weights import load_weights
    from medaug.scans.opened import open_to_edit

    loaded = load_weights(weights).on(*compute)
    return open_to_edit(scan, loaded, sequence, out), loaded


def _check_unwritten(scan: Scans, out: AnyPath, overwrite: bool, *kinds: str) -> None:
    from medaug.data.atomic import check_unwritten

    check_unwritten(Path(out), [f"{ScanFiles.of(scan).stem}_{kind}" for kind in kinds], overwrite=overwrite)
