"""How commands print: JSON on stdout alone for machines, and what a stage did, in words, on stderr."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from medaug.errors import visible

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier call.")]


def print_json(found: Any) -> None:
    """Dataclasses, paths and NumPy values as JSON."""
    from medaug.data.atomic import to_json

    typer.echo(to_json(found), nl=False)


def say(value: Any, *, lines: bool = False) -> None:
    """One line on stdout, or a text of several `lines`; what names hold that a terminal would act on is escaped."""
    typer.echo(visible(value, keep="\n" if lines else ""))


def say_stage(result: Any) -> None:
    """The name of a stage, and whether it had to run."""
    sys.stderr.write(f"{visible(result.name)}: {'done' if result.ran else 'unchanged, not run again'}\n")
