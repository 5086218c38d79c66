"""The command line. A command parses, calls a stage, and prints; heavy imports stay inside the commands."""

from medaug.cli import (
    audits,
    benchmark,
    exports,
    reports,
    runs,
    scans,
    translation,
)  # the commands, in the order of the help
from medaug.cli.app import app

__all__ = ["app", "audits", "benchmark", "exports", "main", "reports", "runs", "scans", "translation"]


def main() -> None:
    """The entry point of the `medaug` script."""
    app()
