"""The app, what makes a function a command of it, and how expected errors end one.

`medaug.insert(...)` is the function, `medaug insert ...` what Typer reads of it: positional parameters are arguments,
keywords options, and the docstring up to its example is the help. The function returns what the command prints. Nothing
heavy is imported before one is called.
"""

import errno
import logging
import re
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature, getdoc, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args

import typer
from typer.core import TyperCommand, TyperGroup

import medaug.errors as errors  # `from medaug import` would ask the package for a command of that name
from medaug import __version__
from medaug.cli.complete import pipelines, settings
from medaug.errors import MedaugError, visible
from medaug.scans.files import AnyPath, ScanFiles, Scans

if TYPE_CHECKING:
    from medaug.stages.pipeline import StageResult

Function = TypeVar("Function", bound=Callable[..., Any])
OnStage = Callable[["StageResult"], object]
READ_BY_TYPER = {
    AnyPath: Path,
    AnyPath | None: Path | None,
    Sequence[AnyPath]: list[Path],
    Scans: list[str],
    Scans | None: list[str] | None,
    Sequence[str] | None: list[str] | None,
    Sequence[int] | None: list[int] | None,
}
"""What Python may be given → the type of it that Typer knows."""


def data_there(path: Path) -> Path:
    """Tells a mistyped data set at once, not after the seconds that importing torch and MONAI takes."""
    return _there(path, errors.DataError(f"{path}: found no such folder; expected a data set. Check the path."))


def run_there(path: Path) -> Path:
    """The same of a run's folder."""
    remedy = "expected the folder of a medaug run. Check the path."
    return _there(path, errors.RunError(f"{path}: found no such folder, so no config.yaml; {remedy}"))


def scans_there(scans: list[str]) -> list[str]:
    """The same of a scan's files."""
    for path in ScanFiles.of(scans).paths:
        _there(path, errors.DataError(f"{path}: found no such file; expected an image file. Check the path."))
    return scans


def weights_there(folder: Path | None) -> Path | None:
    """The same of weights, or of those that come with the package."""
    if folder is not None:
        from medaug.data.weights import complete_folder

        complete_folder(folder)
    return folder


def _there(path: Path, missing: MedaugError) -> Path:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except (OSError, ValueError):  # whoever opens it says what is wrong with the name
        return path
    return path


WEIGHTS_HELP = "Weights folder, for example `out/x/train/weights`."
WeightsFolder = Annotated[AnyPath, typer.Argument(callback=weights_there, help=WEIGHTS_HELP)]
WeightsOption = Annotated[AnyPath, typer.Option("--weights", "-w", callback=weights_there, help=WEIGHTS_HELP)]
RunFolder = Annotated[
    AnyPath, typer.Argument(callback=run_there, help="Folder of a finished `medaug run` or `medaug benchmark`.")
]
PipelineFile = Annotated[
    AnyPath, typer.Argument(autocompletion=pipelines, help="Pipeline YAML, or the name of one that comes with medaug.")
]
Out = Annotated[AnyPath | None, typer.Option("--out", "-o", help="Run folder; left out: `out/<name>`.")]
Set = Annotated[
    Sequence[str] | None,
    typer.Option("--set", autocompletion=settings, help="`key=value` over the pipeline file; repeatable."),
]
SequenceName = Annotated[str | None, typer.Option(help="Sequence or channel, by name or number.")]
PatientRegex = Annotated[
    str | None, typer.Option(help="Whose scan it is: one group, found in the name; left out: visits known by name.")
]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="List unreadable files and go on without.")]
Accelerator = Annotated[
    str | None, typer.Option(help="What networks run on: `auto` (a GPU where there is one), `cpu`, `cuda[:N]`, `mps`.")
]
RunAccelerator = Annotated[str | None, typer.Option("--accelerator", help="Another than the run's own.")]
Precision = Annotated[str | None, typer.Option(help="`32-true`, `bf16-mixed` or `16-mixed`.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier call.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

CHECK_FAILED = 8
"""Exit code of a command that did its work, and found that something does not hold (errors have their own)."""

EXIT_CODES = (
    f"Exit codes: 0 done, {errors.ConfigError.exit_code} settings, {errors.DataError.exit_code} data, "
    f"{errors.LeakageError.exit_code} leakage, {errors.WeightsError.exit_code} weights, "
    f"{errors.RunError.exit_code} run folder, {errors.TrainingError.exit_code} training, "
    f"{CHECK_FAILED} a check failed, {errors.Interrupted.exit_code} stopped, 1 a bug."
)
"""docs/cli.md has them in a table."""

RELAYED = re.compile(r".*\bmedaug\.errors\.(\w+): (.+)", re.DOTALL)
"""An expected error of a worker process comes back as text, at the end of a traceback."""


GROUPS = {
    "Start here": ("doctor", "init", "run", "benchmark"),
    "Train": ("phantoms", "prepare", "train-cycle", "train-gan", "synthesize", "sample"),
    "Edit a scan": ("insert", "remove", "replace", "styles", "grow", "synth-ct"),
    "Look": ("audit", "anomaly", "compare", "compare-runs", "reproduce", "report"),
    "Share": ("export", "export-bundle", "export-onnx", "export-results", "model-card", "nnunet-path"),
}
"""The commands as the help lists them; a test holds that none is left out."""


WORDS = {"str": "text", "list[str]": "text", "list[Path]": "path", "float,float": "number number"}
"""What help says of an option's value in the place of the name that Python has for it; other kinds are numbers."""
TAKEN = re.compile(r"<((?:list\[)?(?:str|int|float|Path)(?: range|,float|\])*)>(?:\.\.\.)?")


class Command(TyperCommand):
    """Says in its help what a value is in a reader's words, not in Python's."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        for parameter in self.params:
            parameter.display_type = partial(_in_words, parameter.display_type)  # type: ignore[attr-defined]


def _in_words(display_type: Callable[[typer.Context], str], ctx: typer.Context) -> str:
    return TAKEN.sub(lambda found: f"<{WORDS.get(found[1], 'number')}>", display_type(ctx))


class Commands(TyperGroup):
    """Lists every command with its whole first sentence; ends expected errors of any of them with one line on stderr
    and the error's exit code, without a traceback."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # as in `invoke`
        for heading, names in GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, c.get_short_help_str(limit=200)) for name, c in commands if c is not None])

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # the Context that typer passes
        try:
            if any("\0" in argument for argument in (*getattr(ctx, "_protected_args", ()), *ctx.args)):
                raise errors.ConfigError("found an argument with a zero byte; expected names that a disk can hold")
            return super().invoke(ctx)
        except MedaugError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("stopped; the same command resumes where it was", errors.Interrupted.exit_code)
        except OSError as error:  # a disk can stop any write, also one of a library; a name can be none that it takes
            if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EACCES, errno.ELOOP) and error.filename:
                cause = f"{error.filename}: cannot be opened ({error.strerror}). Check the path."
                _fail(cause, errors.DataError.exit_code)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            from medaug.data.atomic import write_error

            _fail(str(write_error(error.filename or "the output folder", error)), errors.RunError.exit_code)
        except RuntimeError as error:  # an error of ours, as a spawned process or a data loader's worker says it
            relayed = RELAYED.match(str(error))
            kind = getattr(errors, relayed[1], None) if relayed else None
            if kind is None:
                raise
            _fail(str(error), kind.exit_code)


app = typer.Typer(
    name="medaug",
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    rich_markup_mode=None,  # plain help: rich's takes as long to import as all the rest
    help="GAN augmentation for medical images: insert and remove tumors, and measure whether it helps.\n\n"
    "Start with `medaug run quickstart --out out/quickstart`, on built-in phantoms. Of your own scans: `medaug doctor "
    "DATA/` looks at them, `medaug init DATA/` writes a pipeline, and `medaug run pipeline.yaml` runs it.",
)


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
    screen = logging.StreamHandler()
    screen.setFormatter(_Plain())
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, handlers=[screen])
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # it logs tracebacks of what we tell in one line
    logging.getLogger("medaug").setLevel(logging.INFO if verbose else logging.WARNING)
    if not verbose:
        warnings.simplefilter("ignore")  # the libraries' own, which would hide ours


class _Plain(logging.Formatter):
    """Names in messages hold no line ends or escapes; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        told = visible(f"{record.name}: {record.getMessage()}")
        return f"{told}\n{visible(self.formatException(record.exc_info), keep=chr(10))}" if record.exc_info else told


def _fail(message: str, exit_code: int) -> NoReturn:
    """One line, whatever the message brings along (a library's words, a worker's traceback, a file name's escapes)."""
    relayed = RELAYED.match(message)
    line = " ".join((relayed[2] if relayed else message).split())
    typer.echo(f"medaug: {visible(line)}", err=True)
    raise typer.Exit(exit_code) from None


def command(
    tell: str | Callable[[Any], None] = "{found}",
    *,
    hint: Callable[[Any, Mapping[str, Any]], str] | None = None,
    json: bool = False,
    holds: Callable[[Any], bool] | None = None,
) -> Callable[[Function], Function]:
    """Registers a function as the command of its name, and hands it back as it is.

    Args:
        tell: what is printed: a line, made of `found` and of the arguments by name, for every path in a list of them;
            or a function that prints what was found.
        hint: what to do next, of what was found and the arguments: a line on stderr after that, unless it is empty.
        json: whether the command has an option to print the result as JSON.
        holds: whether what was asked holds; where it does not, the command ends with 8.
    """

    def register(function: Function) -> Function:
        takes = signature(function).parameters
        listens = "on_stage" in takes
        parameters = []
        for name, parameter in takes.items():
            kind, *about = get_args(parameter.annotation)
            if name != "on_stage":
                parameters.append(parameter.replace(annotation=Annotated[(READ_BY_TYPER.get(kind, kind), *about)]))
        if json:
            parameters.append(Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=Json))

        def run(**given: Any) -> None:
            as_json = given.pop("json", False)
            found = function(**given, **({"on_stage": _say_stage} if listens else {}))
            if as_json:
                from medaug.data.atomic import to_json

                typer.echo(to_json(found), nl=False)
            elif isinstance(tell, str):
                for one in found if isinstance(found, list) else [found]:
                    say(tell.format(found=one, **given))
            else:
                tell(found)
            if hint is not None and (next_step := hint(found, given)):
                say(f"next: {next_step}", err=True)
            if holds is not None and not holds(found):
                raise typer.Exit(CHECK_FAILED)

        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        helps = "\n\n".join((getdoc(function) or "").split("\n\n")[:2])
        app.command(function.__name__.replace("_", "-"), cls=Command, help=helps)(run)
        return function

    return register


def say(value: object, *, lines: bool = False, err: bool = False) -> None:
    """Prints one line, or a text of several `lines`; what names hold that a terminal would act on is escaped."""
    typer.echo(visible(value, keep="\n" if lines else ""), err=err)


def say_text(found: Any) -> None:
    """Prints a result that has a text of several lines."""
    say(found.text(), lines=True)


def quoted(path: object) -> str:
    """A path as a shell takes it, also with blanks in it."""
    return shlex.quote(str(path))


def check_seed(seed: int) -> None:
    """Refuses a seed that the generators of random numbers do not take.

    Raises:
        ConfigError: naming it.
    """
    if not 0 <= seed < 2**32:
        raise errors.ConfigError(f"seed: found {seed}; expected a whole number from 0 to {2**32 - 1}")


def path_of(path: AnyPath | None) -> Path | None:
    """As `Path`; None stays None."""
    return None if path is None else Path(path)


def _say_stage(result: "StageResult") -> None:
    say(f"{result.name}: {'done' if result.ran else 'unchanged, not run again'}", err=True)
