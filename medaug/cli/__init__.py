"""The command line. A command parses, calls a stage, and prints; heavy imports stay inside the commands."""

from medaug.cli import (  # the commands, in the order of the help
    audits,
    benchmark,
    data,
    exports,
    reports,
    runs,
    scans,
    translation,
)
from medaug.cli.app import app

__all__ = ["app", "audits", "benchmark", "data", "exports", "main", "reports", "runs", "scans", "translation"]


def main() -> None:
    """The entry point of the `medaug` script."""
    app()
