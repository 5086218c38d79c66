"""Commands on a single scan: insert, remove, vary and grow tumors in it, score it, translate it, compare two."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from medaug.cli.command import AnyPath, Overwrite, WeightsOption, check_seed, command, path_of, say, say_text
from medaug.errors import ConfigError, visible

if TYPE_CHECKING:
    from medaug.models.base import Direction
    from medaug.models.weights import Weights
    from medaug.scans.opened import OpenScan

Scan = Annotated[AnyPath, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG, TIFF, or a DICOM file or series folder.")]
TumorValues = Annotated[
    Sequence[int] | None,
    typer.Option("--tumor-labels", help="Values of the label that are tumor, of several; repeatable."),
]
Channel = Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")]
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
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="One tumor exactly here.")] = None,
    avoid: Annotated[AnyPath | None, typer.Option(help="Label of tumors to keep clear of.")] = None,
    tumor_labels: TumorValues = None,
    style_from: Annotated[AnyPath | None, typer.Option(help="Scan with a tumor whose style to use (MUNIT).")] = None,
    style_mask: Annotated[AnyPath | None, typer.Option(help="That tumor, on its scan's grid.")] = None,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Insert tumors into one scan; writes image, label, and a before / after picture.

    Example: medaug insert scan.nii.gz --weights out/brats/train/weights --out inserted --size-mm 10 25 --seed 3

    Args:
        avoid: what is written labels the new tumors alone.
        tumor_labels: of the values of `avoid`, those that are tumor.

    Returns:
        The paths of image, label, picture, manifest and page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or there is no room for a single tumor.
        WeightsError: if the weights cannot be used.
        RunError: if the results of an earlier call are there, and `overwrite` is not given.
    """
    if mask is not None and (organ_mask is not None or size_mm is not None or count != 1):
        raise ConfigError("--mask says where and how large: leave out --organ-mask, --size-mm and --count")
    opened, loaded = _open(scan, weights, out, sequence, seed, overwrite, "inserted")
    from medaug.scans.edits import insert_at, insert_drawn, style_in
    from medaug.transforms import InsertTumor, RandInsertTumor

    style = style_in(style_from, style_mask, loaded, sequence)
    if mask is not None:
        there = InsertTumor(loaded, seed, style=style, tumor_labels=tumor_labels)
        return insert_at(opened, there, mask, avoid)
    drawn = RandInsertTumor(
        loaded, prob=1.0, count=(count, count), size_mm=size_mm, style=style, tumor_labels=tumor_labels
    )
    return insert_drawn(opened, drawn, seed, organ_mask, avoid)


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
    overwrite: Overwrite = False,
) -> list[Path]:
    """Fill one mask with many different tumors; writes the images and a picture to compare them.

    Example: medaug styles scan.nii.gz --mask where.nii.gz --weights out/munit/train/weights --out styles --count 10

    Returns:
        The paths of images, picture, manifest and page.

    Raises:
        MedaugError: as `insert`; WeightsError also of weights whose method knows no styles.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, overwrite, "style-00", "styles", "label")
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
    overwrite: Overwrite = False,
) -> list[Path]:
    """Remove a marked tumor from one scan; writes image, label, and a before / after picture.

    Example: medaug remove scan.nii.gz --mask tumor.nii.gz --weights out/brats/train/weights --out removed

    Returns:
        The paths of image, label, picture, manifest and page.

    Raises:
        MedaugError: as `insert`.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, overwrite, "removed")
    from medaug.scans.edits import remove_at
    from medaug.transforms import RemoveTumor

    return remove_at(opened, RemoveTumor(loaded, seed, tumor_labels=tumor_labels), mask)


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
    overwrite: Overwrite = False,
) -> list[Path]:
    """Grow one tumor in one scan; writes image and label at each step, an animation, and a page.

    Example: medaug grow scan.nii.gz --weights out/brats/train/weights --out grown --start-mm 8 --mass-effect 0.5

    Returns:
        The paths of images and labels step by step, manifest, animation and page.

    Raises:
        MedaugError: as `insert`; DataError names the largest size that fits where the series does not.
    """
    opened, loaded = _open(scan, weights, out, sequence, seed, overwrite, "grown", "growth")
    from medaug.scans.grow import grow_in
    from medaug.transforms import GrowTumor

    series = GrowTumor(loaded, steps, start_mm, doubling_days, interval_days, mass_effect, reach_mm)
    return grow_in(opened, series, seed, organ_mask)


@command(say_text, json=True)
def anomaly(
    source: Annotated[AnyPath, typer.Argument(help="A scan, or a run folder with trained weights.")],
    *,
    weights: Annotated[
        AnyPath | None, typer.Option("--weights", "-w", help="Of a run folder: others than its own.")
    ] = None,
    out: Annotated[
        AnyPath | None, typer.Option("--out", "-o", help="Of a scan: folder for map, image and scores.")
    ] = None,
    organ_mask: Annotated[AnyPath | None, typer.Option(help="Of a scan: where to look; left out: found.")] = None,
    sequence: Channel = None,
    set_: Annotated[
        Sequence[str] | None, typer.Option("--set", help="`key=value` over the settings; repeatable.")
    ] = None,
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
    path, overrides = Path(source), list(set_ or [])
    if path.is_dir():
        if out is not None or organ_mask is not None or sequence is not None:
            raise ConfigError(
                f"{source}: a run folder; its own images and organs are scored, into {source}/anomaly. Leave --out, "
                "--organ-mask and --sequence out."
            )
        from medaug.config.files import load_config
        from medaug.runs.finished import trained_run
        from medaug.stages.anomaly import anomaly as score_held_out
        from medaug.stages.report import report

        run = trained_run(path, "scoring", path_of(weights))
        config = load_config(run.config, overrides)
        score_held_out(config, run, path_of(weights))
        if run.report.exists():  # a page shows it
            report(config, run)
        files = [run.anomaly / "summary.json"]
    elif weights is None or out is None:
        raise ConfigError(f"{source}: a single scan (or no folder); expected --weights and --out with it.")
    else:
        _check_unwritten(path, out, overwrite, "anomaly", "healthy")
        from medaug.audits.anomaly_scores import anomaly_method
        from medaug.config.files import load_config
        from medaug.scans.opened import open_scan
        from medaug.scans.score import score_scan

        config = load_config(None, overrides)
        judge = anomaly_method(Path(weights), config.anomaly)
        opened = open_scan(path, judge.domain, judge.facts, sequence, out)
        files = score_scan(opened, judge, config.anomaly, organ_mask, config.data.organ_margin_mm)
    from medaug.data.atomic import read_json

    return AnomalyScores(read_json(files[-1]), files)


@command()
def synth_ct(
    scan: Annotated[AnyPath, typer.Argument(help="Image file, DICOM file, or folder with a DICOM series.")],
    *,
    weights: WeightsOption,
    out: Annotated[AnyPath, typer.Option("--out", "-o", help="Folder for the image or series, picture and manifest.")],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID, where a folder holds several.")] = None,
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="The body; left out: found.")] = None,
    direction: Annotated[str | None, typer.Option(help="`a2b` or `b2a`; left out: towards CT.")] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="`nifti` or `dicom`; left out: as the scan.")
    ] = None,
    label: Annotated[AnyPath | None, typer.Option(help="Class numbers, for weights that read labels.")] = None,
    segmentation: Annotated[AnyPath | None, typer.Option(help="Label to write as DICOM SEG of the new series.")] = None,
    name: Annotated[Sequence[str] | None, typer.Option(help="A label value's name: `1=liver`; repeatable.")] = None,
    deidentify: Annotated[bool, typer.Option("--deidentify", help="Remove identity from what is written.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same image.")] = 0,
    sequence: Channel = None,
    overwrite: Overwrite = False,
) -> list[Path]:
    """Make a synthetic CT (or the weights' other kind of image) of a scan: NIfTI, or a DICOM series in its study.

    Example: medaug synth-ct MR/series --weights out/ct/train/weights --out synthetic --deidentify

    Args:
        overwrite: whether files of an earlier call may be replaced; a DICOM series never is.

    Returns:
        The paths of the image (NIfTI, or the folder of the series), the segmentation if asked for, picture, manifest
        and page.

    Raises:
        ConfigError: if the options contradict each other.
        DataError: if the scan cannot be used, or is of another modality than the weights read.
        WeightsError: if the weights cannot be used.
        RunError: if the series' folder is in use, or results of an earlier call are there.
    """
    check_seed(seed)
    path = Path(scan)
    from medaug.data.atomic import check_unwritten
    from medaug.data.opening import stem_of

    stem = Path(out) / ("synthetic" if deidentify else f"{stem_of(path.resolve())}_synthetic")
    check_unwritten(stem.parent, [stem.name], overwrite=overwrite)
    from medaug.models.weights import load_weights
    from medaug.scans.synth_ct import output_of, translate_scan
    from medaug.transforms import SynthesizeCT, TranslateDomain

    output = output_of(path, stem, output_format, segmentation, name or (), deidentify)
    loaded = load_weights(weights)
    if direction is None:
        translate: TranslateDomain = SynthesizeCT(loaded, seed=seed)
    else:
        translate = TranslateDomain(loaded, cast("Direction", direction), seed=seed)
    return translate_scan(path, translate, output, series=series, sequence=sequence, mask=mask, label=label)


def _tell_comparison(found: dict[str, Any]) -> None:
    from medaug.report.terminal import comparison_text

    say(comparison_text(found), lines=True)


@command(_tell_comparison, json=True)
def compare(
    real: Annotated[AnyPath, typer.Argument(help="The real image, for example a CT.")],
    synthetic: Annotated[AnyPath, typer.Argument(help="The synthetic image, on the same grid.")],
    *,
    mask: Annotated[AnyPath | None, typer.Option("--mask", "-m", help="Where to compare; left out: the body.")] = None,
    out: Annotated[AnyPath | None, typer.Option("--out", "-o", help="Folder for comparison.json and pictures.")] = None,
    overwrite: Overwrite = False,
) -> dict[str, Any]:
    """Compare a synthetic image with the real one: MAE, PSNR, SSIM, MS-SSIM, and in HU the bias by tissue.

    Example: medaug compare ct.nii.gz synthetic_ct.nii.gz --mask body.nii.gz --out compared

    Returns:
        What was compared, and the scores; see `scans.compare`.

    Raises:
        DataError: if a file cannot be read, or the two are not of one grid and unit.
        RunError: if the results of an earlier call are there, and `overwrite` is not given.
    """
    if out is not None:
        from medaug.data.atomic import check_unwritten

        check_unwritten(Path(out), ["comparison", "view"], overwrite=overwrite)
    from medaug.scans.compare import compare_images

    return compare_images(Path(real), Path(synthetic), path_of(mask), path_of(out))


def _open(
    scan: AnyPath, weights: AnyPath, out: AnyPath, sequence: str | None, seed: int, overwrite: bool, *kinds: str
) -> tuple["OpenScan", "Weights"]:
    """The scan and the weights that are to edit it; what needs no torch is refused before torch is imported."""
    check_seed(seed)
    _check_unwritten(scan, out, overwrite, *kinds)
    from medaug.models.weights import load_weights
    from medaug.scans.opened import open_to_edit

    loaded = load_weights(weights)
    return open_to_edit(scan, loaded, sequence, out), loaded


def _check_unwritten(scan: AnyPath, out: AnyPath, overwrite: bool, *kinds: str) -> None:
    from medaug.data.atomic import check_unwritten
    from medaug.data.opening import stem_of

    check_unwritten(Path(out), [f"{stem_of(Path(scan))}_{kind}" for kind in kinds], overwrite=overwrite)
