"""What makes a function a command: `medaug.insert(...)` is the function, `medaug insert ...` what Typer reads of it.

Positional parameters are arguments, keywords options, and the docstring up to its example is the help. The function
returns what the command prints. Nothing heavy is imported before one is called.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, getdoc, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from medaug.cli.app import CHECK_FAILED, app
from medaug.cli.complete import pipelines, settings
from medaug.errors import ConfigError, visible

if TYPE_CHECKING:
    from medaug.stages.pipeline import StageResult

Function = TypeVar("Function", bound=Callable[..., Any])
AnyPath = str | Path
OnStage = Callable[["StageResult"], object]
READ_BY_TYPER = {
    AnyPath: Path,
    AnyPath | None: Path | None,
    Sequence[AnyPath]: list[Path],
    Sequence[str] | None: list[str] | None,
    Sequence[int] | None: list[int] | None,
}
"""What Python may be given → the type of it that Typer knows."""

WeightsFolder = Annotated[AnyPath, typer.Argument(help="Weights folder, for example `out/x/train/weights`.")]
WeightsOption = Annotated[
    AnyPath, typer.Option("--weights", "-w", help="Weights folder, for example `out/x/train/weights`.")
]
RunFolder = Annotated[AnyPath, typer.Argument(help="Folder of a finished `medaug run` or `medaug benchmark`.")]
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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier call.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def itself(found: Any) -> Any:
    """A result that `--json` prints as it is."""
    return found


def command(
    tell: str | Callable[[Any], None] = "{found}",
    *,
    hint: str = "",
    json: Callable[[Any], Any] | None = None,
    holds: Callable[[Any], bool] | None = None,
) -> Callable[[Function], Function]:
    """Registers a function as the command of its name, and hands it back as it is.

    Args:
        tell: what is printed: a line, made of `found` and of the arguments by name, for every path in a list of them;
            or a function that prints what was found.
        hint: a line on stderr after that, made of the arguments.
        json: what `--json` prints of the result; None: the command has no such option.
        holds: whether what was asked holds; where it does not, the command ends with 8.
    """

    def register(function: Function) -> Function:
        takes = signature(function).parameters
        listens = "on_stage" in takes
        parameters = [_for_typer(parameter) for name, parameter in takes.items() if name != "on_stage"]
        if json is not None:
            parameters.append(Parameter("json", Parameter.KEYWORD_ONLY, default=False, annotation=Json))

        def run(**given: Any) -> None:
            as_json = given.pop("json", False)
            found = function(**given, **({"on_stage": _say_stage} if listens else {}))
            if as_json and json is not None:
                from medaug.data.atomic import to_json

                typer.echo(to_json(json(found)), nl=False)
            elif isinstance(tell, str):
                _say_lines(tell, found, given)
            else:
                tell(found)
            if hint:
                say(hint.format(**given), err=True)
            if holds is not None and not holds(found):
                raise typer.Exit(CHECK_FAILED)

        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        helps = "\n\n".join((getdoc(function) or "").split("\n\n")[:2])
        app.command(function.__name__.replace("_", "-"), help=helps)(run)
        return function

    return register


def say(value: object, *, lines: bool = False, err: bool = False) -> None:
    """Prints one line, or a text of several `lines`; what names hold that a terminal would act on is escaped."""
    typer.echo(visible(value, keep="\n" if lines else ""), err=err)


def say_text(found: Any) -> None:
    """Prints a result that has a text of several lines."""
    say(found.text(), lines=True)


def check_seed(seed: int) -> None:
    """Refuses a seed that the generators of random numbers do not take.

    Raises:
        ConfigError: naming it.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed: found {seed}; expected a whole number from 0 to {2**32 - 1}")


def path_of(path: AnyPath | None) -> Path | None:
    """As `Path`; None stays None."""
    return None if path is None else Path(path)


def _for_typer(parameter: Parameter) -> Parameter:
    kind, *about = get_args(parameter.annotation)
    return parameter.replace(annotation=Annotated[(READ_BY_TYPER.get(kind, kind), *about)])


def _say_lines(line: str, found: Any, given: Mapping[str, Any]) -> None:
    for one in found if isinstance(found, list) else [found]:
        say(line.format(found=one, **given))


def _say_stage(result: "StageResult") -> None:
    """Says the name of a stage, and whether it had to run, on stderr."""
    say(f"{result.name}: {'done' if result.ran else 'unchanged, not run again'}", err=True)
