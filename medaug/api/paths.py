"""Arguments as the functions take them: paths as text or `Path`, seeds that NumPy takes."""

from pathlib import Path

from medaug.errors import ConfigError

AnyPath = str | Path


def path_of(path: AnyPath | None) -> Path | None:
    """As `Path`; None stays None."""
    return None if path is None else Path(path)


def check_seed(seed: int) -> None:
    """Refuses a seed that the generators of random numbers do not take.

    Raises:
        ConfigError: naming it.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed: found {seed}; expected a whole number from 0 to {2**32 - 1}")
