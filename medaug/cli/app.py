"""The app that all commands belong to: its options, and how expected errors end it."""

from __future__ import annotations

import errno
import logging
import re
import warnings
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import medaug.errors as errors  # `from medaug import` would ask the package for a command of that name
from medaug import __version__
from medaug.errors import MedaugError, visible

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


class Commands(TyperGroup):
    """Lists every command with its whole first sentence; ends expected errors of any of them with one line on stderr
    and the error's exit code, without a traceback."""

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # as in `invoke`
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
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
        except OSError as error:
            _fail_on_disk(error)
        except RuntimeError as error:
            _fail_relayed(error)


app = typer.Typer(
    name="medaug",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    rich_markup_mode=None,  # plain help: rich's takes as long to import as all the rest
    help="GAN augmentation for medical images: insert and remove tumors, and measure whether it helps.\n\n"
    "Start with: `medaug run quickstart --out out/quickstart`",
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


def _fail_on_disk(error: OSError) -> NoReturn:
    """A full or read-only disk can stop any write, also one of a library; a name can be none that the disk takes."""
    if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EACCES, errno.ELOOP) and error.filename:
        _fail(f"{error.filename}: cannot be opened ({error.strerror}). Check the path.", errors.DataError.exit_code)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        raise error
    from medaug.data.atomic import write_error

    _fail(str(write_error(error.filename or "the output folder", error)), errors.RunError.exit_code)


def _fail_relayed(error: RuntimeError) -> NoReturn:
    """What a spawned process or a data loader's worker says, if it is one of our errors."""
    relayed = RELAYED.match(str(error))
    kind = getattr(errors, relayed[1], None) if relayed else None
    if kind is None:
        raise error
    _fail(str(error), kind.exit_code)
