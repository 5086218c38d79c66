"""Progress with an ETA: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from medaug.errors import visible

LOG_EVERY_S = 20.0


def say(line: str) -> None:
    """A line of its own on stderr, on a terminal and in a log."""
    sys.stderr.write(f"{visible(line)}\n")
    sys.stderr.flush()


class Tracker:
    """Counts `total` steps; `advance(note)` moves it on and shows `note` beside it."""

    def __init__(self, label: str, total: int, done: int = 0):
        self.label, self.total, self.done = visible(label), total, done
        self._first, self._started, self._logged = done, time.monotonic(), time.monotonic()

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            seconds = (now - self._started) / max(self.done - self._first, 1)
            left = timedelta(seconds=round(seconds * (self.total - self.done)))
            sys.stderr.write(
                f"{self.label} {self.done}/{self.total} · {seconds:.2f} s each · ETA {left} {visible(note)}\n"
            )
            sys.stderr.flush()


class _Bar(Tracker):
    def __init__(self, label: str, total: int, done: int, progress: Progress):
        super().__init__(label, total, done)
        self._progress = progress
        self._task = progress.add_task(escape(self.label), total=total, completed=done, note="")

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.done += steps
        self._progress.update(self._task, completed=self.done, note=escape(visible(note)))


class _Silent(Tracker):
    def advance(self, note: str = "", steps: int = 1) -> None:
        self.done += steps


@contextmanager
def track(label: str, total: int, *, done: int = 0, silent: bool = False) -> Iterator[Tracker]:
    """A tracker for `total` steps of which `done` are behind us; `silent` for all ranks but the first."""
    console = Console(stderr=True)
    if silent:
        yield _Silent(label, total, done)
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=console) as progress:
            yield _Bar(label, total, done, progress)
    else:
        yield Tracker(label, total, done)
