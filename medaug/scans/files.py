"""The files that a command on one scan is given: one, or one for every sequence of the weights.

They stand in the order of the sequences, or say which they are: `flair=a.nii.gz t1=b.nii.gz` on the command line, a
dict in Python. A single file may hold all sequences as its channels. Nothing heavy is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

from medaug.data.opening import stem_of
from medaug.errors import ConfigError

AnyPath = str | Path
Scans = AnyPath | Sequence[AnyPath] | Mapping[str, AnyPath]
"""One file; several in the order of the sequences, each with or without `name=` before it; or files by name."""


class SequencePath(NamedTuple):
    """The file of one sequence; of a file of several channels, the number of the one to read."""

    path: Path
    channel: int | None


@dataclass(frozen=True)
class ScanFiles:
    """The files as they were given; `names` are the sequences that they are said to be ("" where nothing is)."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, scans: Scans) -> ScanFiles:
        """What is given to a command.

        Raises:
            ConfigError: if there is none, or some have a name and others none.
        """
        if isinstance(scans, Mapping):
            named = [(name, Path(path)) for name, path in scans.items()]
        else:
            named = [_split(scan) for scan in ([scans] if isinstance(scans, str | Path) else scans)]
        if not named:
            raise ConfigError("scan: found no file; expected one, or one for every sequence of the weights")
        without = [str(path) for name, path in named if not name]
        if 0 < len(without) < len(named):
            said = ", ".join(name for name, _ in named if name)
            raise ConfigError(
                f"scan: found files with a name ({said}) and without one ({', '.join(without)}); expected all or none. "
                f"Give name=file for each."
            )
        return cls(tuple(path for _, path in named), tuple(name for name, _ in named))

    @property
    def stem(self) -> str:
        """What the files that are written are called after.

        That is the file's own name; of several, what their names begin with, or the folder that they lie in.
        """
        stems = [stem_of(path) for path in self.paths]
        if len(set(stems)) == 1:
            return stems[0]
        shared = commonprefix(stems)
        if any(stem[len(shared) :][:1].isalnum() for stem in stems):  # within a word, which then is not shared
            shared = re.sub(r"[^\W_]+$", "", shared)
        return shared.rstrip(" _.-") or self.paths[0].resolve().parent.name or stems[0]

    def in_order(self, sequences: Sequence[str], channel: str | None = None) -> list[SequencePath]:
        """One a sequence of the weights, in their order.

        Args:
            channel: of one file of several channels, which of them: numbers with commas between; None: all in order.

        Raises:
            ConfigError: naming the sequences that are missing, or not of the weights.
        """
        wanted, given = ", ".join(sequences), [name for name in self.names if name]
        numbers = _numbers(channel)
        if len(self.paths) == 1 and len(sequences) > 1 and not given:
            if numbers and len(numbers) != len(sequences):
                raise ConfigError(
                    f"--sequence: found {len(numbers)} channel(s); expected one for each sequence of the weights, "
                    f"{wanted}, for example --sequence {','.join(map(str, range(len(sequences))))}"
                )
            return [SequencePath(self.paths[0], number) for number in numbers or range(len(sequences))]
        if given and sorted(given) != sorted(sequences):
            missing = ", ".join(name for name in sequences if name not in given)
            surplus = ", ".join(name for name in given if name not in sequences or given.count(name) > 1)
            raise ConfigError(
                f"scan: found the sequences {', '.join(given)}; expected those of the weights, {wanted}."
                + (f" Give {missing} too." if missing else "")
                + (f" Leave {surplus} out, or correct the name." if surplus else "")
            )
        if len(self.paths) != len(sequences):
            files = ", ".join(path.name for path in self.paths)
            raise ConfigError(
                f"scan: found {len(self.paths)} file(s), {files}; expected one for each sequence of the weights, "
                f"{wanted}, in this order. Give {' '.join(f'{name}=FILE' for name in sequences)}."
            )
        if len(numbers) > 1 or (numbers and len(self.paths) > 1):
            raise ConfigError(
                f"--sequence: found {channel} with {len(self.paths)} file(s) for the weights' {wanted}; expected the "
                "number of one channel, of a single file"
            )
        by_name = dict(zip(self.names, self.paths, strict=True))
        paths = [by_name[name] for name in sequences] if given else list(self.paths)
        if not given:
            _check_order(paths, sequences)
        return [SequencePath(path, numbers[0] if numbers else None) for path in paths]


def _split(scan: AnyPath) -> tuple[str, Path]:
    """(name, path) of `name=path`; a file that is there under the whole name has none."""
    name, sign, path = str(scan).partition("=")
    if not sign or not name or not path or "/" in name or Path(scan).exists():
        return "", Path(scan)
    return name, Path(path)


def _numbers(channel: str | None) -> list[int]:
    if channel is None:
        return []
    parts = channel.split(",")
    if not all(part.isdigit() for part in parts):
        raise ConfigError(f"--sequence {channel}: a single file's channels have no names; give the number, from 0")
    return [int(part) for part in parts]


def _check_order(paths: Sequence[Path], sequences: Sequence[str]) -> None:
    """Refuses files whose names say that they are in another order than the weights' sequences."""
    for path, own in zip(paths, sequences, strict=True):
        words = {*re.split(r"[\W_]+", path.name.lower())}
        said = [name for name in sequences if name.lower() in words and not name.isdigit()]
        if len(sequences) > 1 and said and own not in said:
            raise ConfigError(
                f"scan: found {path.name}, which says {', '.join(said)}, in the place of {own}; expected the weights' "
                f"order, {', '.join(sequences)}. Give {' '.join(f'{name}=FILE' for name in sequences)}."
            )
