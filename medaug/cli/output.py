"""How commands print: JSON on stdout alone for machines, and what a stage did, in words, on stderr."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def print_json(found: Any) -> None:
    """Dataclasses, paths and NumPy values as JSON."""
    from medaug.io.atomic import to_json

    typer.echo(to_json(found), nl=False)


def say_stage(result: Any) -> None:
    """The name of a stage, and whether it had to run."""
    sys.stderr.write(f"{result.name}: {'done' if result.ran else 'unchanged, not run again'}\n")
