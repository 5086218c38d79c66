"""The command line. A command parses, calls a stage, and prints; heavy imports stay inside the commands."""

from __future__ import annotations

import errno
import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from medaug import __version__, errors
from medaug.errors import MedaugError

RELAYED = re.compile(r".*\bmedaug\.errors\.(\w+): (.+)", re.DOTALL)
"""An expected error of a worker process comes back as text, at the end of a traceback."""


class OneLineErrors(TyperGroup):
    """Ends expected errors of any command with one line on stderr and the error's exit code, without a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MedaugError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("stopped; the same command resumes where it was", errors.Interrupted.exit_code)
        except OSError as error:
            _fail_on_disk(error)
        except RuntimeError as error:
            _fail_relayed(error)


app = typer.Typer(
    name="medaug", cls=OneLineErrors, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="GAN augmentation for medical images: insert and remove tumors, and measure whether it helps.\n\n"
    "Start with: `medaug run pipelines/quickstart.yaml --out out/quickstart`",
)  # fmt: skip

Data = Annotated[Path | None, typer.Option("--data", help="Folder or datalist JSON; left out: built-in phantoms.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; left out: `out/<name>`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="`key=value` over the pipeline file; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and stop.")]
WeightsDir = Annotated[Path, typer.Option("--weights", "-w", help="Weights folder, for example `out/x/train/weights`.")]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="List unreadable files and go on without.")]


@app.command("train-cycle")
def train_cycle(
    domain: Annotated[str, typer.Option(help="`tumor` (insert and remove) or `ct` (two kinds of image).")] = "tumor",
    model: Annotated[str | None, typer.Option(help="Method, for example `cyclegan`; a wrong name lists them.")] = None,
    data: Data = None,
    out: Out = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Pipeline YAML to start from.")] = None,
    set_: Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes, one device each.")] = None,
    precision: Annotated[str | None, typer.Option(help="`32-true`, `bf16-mixed` or `16-mixed`.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial weights and samples.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Sequence or channel, by name or number.")] = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a CycleGAN and leave its weights in OUT/train/weights; the same command resumes.

    Example: `medaug train-cycle --domain tumor --data BraTS/ --sequence flair --out out/brats --max-steps 2000`
    """
    chosen = {
        "domain": domain, "translator.type": model, "data.root": data, "data.sequence": sequence,
        "training.devices": devices, "training.precision": precision, "training.steps": max_steps,
        "training.seed": seed, "data.skip_unreadable": skip_unreadable or None,
    }  # fmt: skip
    run = _run(config, chosen, set_, out, f"train-{domain}", until="train", dry_run=dry_run)
    if run is not None:
        typer.echo(run.weights)


@app.command("train-gan")
def train_gan(
    data: Data = None,
    out: Out = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Pipeline YAML to start from.")] = None,
    set_: Set = None,
    max_steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial weights and samples.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Sequence or channel, by name or number.")] = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Train a GAN that makes healthy and tumor crops from noise; weights in OUT/train-gan/weights; it resumes.

    Example: `medaug train-gan --data LGG/ --sequence flair --out out/gan --max-steps 3000 --set crop.size=[32,32]`
    """
    chosen = {
        "data.root": data, "data.sequence": sequence, "training.steps": max_steps, "training.seed": seed,
        "data.skip_unreadable": skip_unreadable or None,
    }  # fmt: skip
    finished = _run(config, chosen, set_, out, "train-gan", until="train_gan", dry_run=dry_run)
    if finished is not None:
        typer.echo(finished.gan_weights)


@app.command()
def sample(
    weights: Annotated[Path, typer.Argument(help="Weights folder, for example `out/x/train-gan/weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the crops and their datalist.json.")],
    label: Annotated[str, typer.Option(help="`healthy`, `tumor`, or `both`: as many of each.")] = "both",
    count: Annotated[int, typer.Option(min=1, help="How many crops of each class.")] = 100,
    seed: Annotated[int, typer.Option(help="Same seed, same crops.")] = 0,
) -> None:
    """Write synthetic crops of a class, to balance a classifier's data set; the datalist says where they come from.

    Example: `medaug sample out/gan/train-gan/weights --label tumor --count 200 --out synthetic-tumors --seed 1`
    """
    from medaug.stages.sample import write_samples

    typer.echo(write_samples(weights, out, label=label, count=count, seed=seed))


@app.command()
def run(
    pipeline: Annotated[Path, typer.Argument(help="Pipeline YAML, for example pipelines/quickstart.yaml.")],
    out: Out = None,
    set_: Set = None,
    skip_unreadable: SkipUnreadable = False,
    dry_run: DryRun = False,
) -> None:
    """Run a whole pipeline: split, train, synthesize, audit, evaluate, report; the same command resumes.

    Example: `medaug run pipelines/lgg_tumor.yaml --set data.root=data/lgg --out out/lgg`
    """
    chosen = {"data.skip_unreadable": skip_unreadable or None}
    finished = _run(pipeline, chosen, set_, out, pipeline.stem, until="report", dry_run=dry_run)
    if finished is not None:
        typer.echo(finished.report)


@app.command()
def insert(
    scan: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG or TIFF.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for image, label and picture.")],
    count: Annotated[int, typer.Option(min=1, help="How many tumors.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    size_mm: Annotated[tuple[float, float] | None, typer.Option(help="Least and most diameter.")] = None,
    organ_mask: Annotated[Path | None, typer.Option(help="Where tumors may lie; left out: found.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", "-m", help="One tumor exactly here.")] = None,
    style_from: Annotated[Path | None, typer.Option(help="Scan with a tumor whose style to use (MUNIT).")] = None,
    style_mask: Annotated[Path | None, typer.Option(help="That tumor, on its scan's grid.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")] = None,
) -> None:
    """Insert tumors into one scan; writes image, label, and a before / after picture.

    Example: `medaug insert scan.nii.gz --weights out/brats/train/weights --out inserted --size-mm 10 25 --seed 3`
    """
    from medaug.stages.single import insert_into_scan

    for path in insert_into_scan(
        scan, weights, out, count=count, seed=seed, size_mm=size_mm, organ_mask=organ_mask, mask=mask,
        style_from=style_from, style_mask=style_mask, sequence=sequence,
    ):  # fmt: skip
        typer.echo(path)


@app.command()
def styles(
    scan: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG or TIFF.")],
    mask: Annotated[Path, typer.Option("--mask", "-m", help="Where the tumor shall be, on the image's grid.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images, label and picture.")],
    count: Annotated[int, typer.Option(min=1, help="How many variants.")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same tumors.")] = 0,
    sequence: Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")] = None,
) -> None:
    """Fill one mask with many different tumors; writes the images and a picture to compare them.

    Example: `medaug styles scan.nii.gz --mask where.nii.gz --weights out/munit/train/weights --out styles --count 10`
    """
    from medaug.stages.styles import insert_styles

    for path in insert_styles(scan, mask, weights, out, count=count, seed=seed, sequence=sequence):
        typer.echo(path)


@app.command()
def remove(
    scan: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG or TIFF.")],
    mask: Annotated[Path, typer.Option("--mask", "-m", help="The tumor to remove, on the image's grid.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for image, label and picture.")],
    seed: Annotated[int, typer.Option(help="Of the fill's texture.")] = 0,
    sequence: Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")] = None,
) -> None:
    """Remove a marked tumor from one scan; writes image, label, and a before / after picture.

    Example: `medaug remove scan.nii.gz --mask tumor.nii.gz --weights out/brats/train/weights --out removed`
    """
    from medaug.stages.single import remove_from_scan

    for path in remove_from_scan(scan, mask, weights, out, seed=seed, sequence=sequence):
        typer.echo(path)


@app.command()
def grow(
    scan: Annotated[Path, typer.Argument(help="Image: NIfTI, NRRD, MHA, PNG or TIFF.")],
    weights: WeightsDir,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for images, labels, animation and page.")],
    steps: Annotated[int, typer.Option(help="How many sizes.")] = 6,
    start_mm: Annotated[float, typer.Option(help="Diameter at day 0.")] = 4.0,
    doubling_days: Annotated[float, typer.Option(help="Days in which the volume doubles.")] = 60.0,
    interval_days: Annotated[float, typer.Option(help="Days between two steps.")] = 30.0,
    mass_effect: Annotated[float, typer.Option(help="0 (none) to 1: how hard the tumor pushes tissue away.")] = 0.0,
    reach_mm: Annotated[float, typer.Option(help="How far from its surface it pushes.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Same seed, same series.")] = 0,
    organ_mask: Annotated[Path | None, typer.Option(help="Where the tumor may lie; left out: found.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")] = None,
) -> None:
    """Grow one tumor in one scan; writes image and label at each step, an animation, and a page.

    Example: `medaug grow scan.nii.gz --weights out/brats/train/weights --out grown --start-mm 8 --mass-effect 0.5`
    """
    from medaug.stages.grow import grow_in_scan

    for path in grow_in_scan(scan, weights, out, steps=steps, start_mm=start_mm, doubling_days=doubling_days,
                             interval_days=interval_days, mass_effect=mass_effect, reach_mm=reach_mm, seed=seed,
                             organ_mask=organ_mask, sequence=sequence):  # fmt: skip
        typer.echo(path)


@app.command()
def anomaly(
    source: Annotated[Path, typer.Argument(help="A scan, or a run folder with trained weights.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", "-w", help="Of a run folder: others than its own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Of a scan: folder for map, image and scores.")
    ] = None,
    organ_mask: Annotated[Path | None, typer.Option(help="Of a scan: where to look; left out: found.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Channel of a multi-channel file, by number.")] = None,
    set_: Set = None,
) -> None:
    """Score a scan by its distance from its pseudo-healthy version; of a run folder, all held-out slices (AUC).

    Example: `medaug anomaly scan.nii.gz --weights out/brats/train/weights --out anomaly`
    """
    from medaug.pipeline import score_anomalies

    for line in score_anomalies(source, weights, out, organ_mask=organ_mask, sequence=sequence, overrides=set_ or []):
        typer.echo(line)


@app.command()
def phantoms(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    layout: Annotated[str, typer.Option(help="brats, kaggle-lgg, msd, datalist or images-labels.")] = "brats",
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    anatomy: Annotated[str, typer.Option(help="`head` (MR) or `abdomen` (CT).")] = "head",
    seed: Annotated[int, typer.Option(help="Which family of patients.")] = 0,
) -> None:
    """Write procedural patients (image and label) to disk, in a layout that medaug reads.

    Example: `medaug phantoms data/phantoms --layout brats --patients 12`
    """
    from medaug.stages.phantoms import write_phantoms

    typer.echo(f"{write_phantoms(out, layout, patients=patients, anatomy=anatomy, seed=seed)} scans in {out}")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(name)s: %(message)s")
    logging.getLogger("medaug").setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:
        warnings.simplefilter("ignore")  # the libraries' own, which would hide ours


def main() -> None:
    """The entry point of the `medaug` script."""
    app()


def _run(
    file: Path | None, chosen: dict[str, object], set_: list[str] | None, out: Path | None, name: str, *, until: str,
    dry_run: bool,
):  # fmt: skip
    from medaug.stages.config_files import dump_config, load_config

    config = load_config(file, set_ or [], {key: value for key, value in chosen.items() if value is not None})
    if dry_run:
        typer.echo(dump_config(config), nl=False)
        return None
    from medaug.pipeline import run_pipeline

    def say(result) -> None:
        sys.stderr.write(f"{result.name}: {'done' if result.ran else 'unchanged, not run again'}\n")

    return run_pipeline(config, out or Path("out") / name, until=until, on_stage=say)


def _fail(message: str, exit_code: int) -> NoReturn:
    """One line, whatever the message brings along (a library's words, a worker's traceback)."""
    relayed = RELAYED.match(message)
    typer.echo(f"medaug: {' '.join((relayed[2] if relayed else message).split())}", err=True)
    raise typer.Exit(exit_code) from None


def _fail_on_disk(error: OSError) -> NoReturn:
    """A full or read-only disk can stop any write, also one of a library."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        raise error
    from medaug.io.atomic import write_error

    _fail(str(write_error(error.filename or "the output folder", error)), errors.RunError.exit_code)


def _fail_relayed(error: RuntimeError) -> NoReturn:
    """What a spawned process or a data loader's worker says, if it is one of our errors."""
    relayed = RELAYED.match(str(error))
    kind = getattr(errors, relayed[1], None) if relayed else None
    if kind is None:
        raise error
    _fail(str(error), kind.exit_code)
