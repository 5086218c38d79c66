"""The command line: one typed function a command, which is the Python API too. Heavy imports stay inside them."""

from medaug.cli import data, runs, finished, scans, images, exports  # isort: skip  # the commands, in the order of the help
from medaug.cli.command import app

__all__ = ["app", "data", "exports", "finished", "images", "main", "runs", "scans"]


def main() -> None:
    """The entry point of the `medaug` script."""
    app()
