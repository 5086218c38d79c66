"""The errors medaug raises on purpose, each with a message a user can act on.

A message says what was found (naming the file), what was expected, and the remedy. The CLI prints it without a
traceback and ends with the class's exit code; everything else that escapes is a bug in medaug.
"""

from __future__ import annotations

from pathlib import Path


def visible(text: object, keep: str = "") -> str:
    """A text to be shown, for names come from files: control characters, marks that turn the writing around, and what
    has no shape are written as escapes.

    Args:
        keep: characters that stay, such as the line ends of a text of several lines.
    """
    letters = str(text)
    if letters.isprintable():
        return letters
    return "".join(letter if letter.isprintable() or letter in keep else ascii(letter)[1:-1] for letter in letters)


class MedaugError(Exception):
    """Base of every expected error. `exit_code` is what the command line ends with."""

    exit_code = 1


class DataError(MedaugError, ValueError):
    """An image, label, folder or datalist cannot be used as it is."""

    exit_code = 3

    @classmethod
    def about(cls, path: str | Path, found: str, expected: str, remedy: str) -> DataError:
        """Builds the four-part message: file, found, expected, remedy."""
        return cls(f"{path}: found {found}; expected {expected}. {remedy}")


class NoContrastError(DataError):
    """An image is constant, or nearly so: there is nothing in it to see."""


class ConfigError(MedaugError, ValueError):
    """A pipeline file, `--set` value or argument does not fit the schema."""

    exit_code = 2


class SequenceError(ConfigError):
    """A data set holds several sequences and none is chosen; `names` lists them."""

    def __init__(self, message: str, names: list[str]):
        super().__init__(message)
        self.names = names


class LeakageError(MedaugError, ValueError):
    """A validation or test patient would reach training; `patients` names them."""

    exit_code = 4

    def __init__(self, message: str, patients: list[str]):
        super().__init__(message)
        self.patients = patients


class WeightsError(MedaugError, ValueError):
    """A weights folder is missing, incomplete, or of another method or domain."""

    exit_code = 5


class RunError(MedaugError, RuntimeError):
    """A run folder cannot be written, or holds a different run."""

    exit_code = 6


class TrainingError(MedaugError, RuntimeError):
    """Training cannot go on (a non-finite loss, for example); the last good checkpoint is kept."""

    exit_code = 7


class Interrupted(MedaugError):
    """The user pressed Ctrl-C (or the scheduler sent SIGTERM); what was done so far is saved."""

    exit_code = 130
