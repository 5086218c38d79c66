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
    """Counts `total` steps; `advance(note)` moves it on and shows `note` beside it: in a bar, or in lines now and then.

    Args:
        bar: None writes lines.
        silent: counts without a word.
    """

    def __init__(self, label: str, total: int, done: int = 0, bar: Progress | None = None, silent: bool = False):
        self.label, self.total, self.done = visible(label), total, done
        self._first, self._started, self._logged = done, time.monotonic(), time.monotonic()
        self._bar, self._silent = bar, silent
        if bar is not None:
            self._row = bar.add_task(escape(self.label), total=total, completed=done, note="")

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.done += steps
        if self._silent:
            return
        if self._bar is not None:
            self._bar.update(self._row, completed=self.done, note=escape(visible(note)))
            return
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            seconds = (now - self._started) / max(self.done - self._first, 1)
            left = timedelta(seconds=round(seconds * (self.total - self.done)))
            say(f"{self.label} {self.done}/{self.total} · {seconds:.2f} s each · ETA {left} {note}")


@contextmanager
def track(label: str, total: int, *, done: int = 0, silent: bool = False) -> Iterator[Tracker]:
    """A tracker for `total` steps of which `done` are behind us; `silent` for all ranks but the first."""
    console = Console(stderr=True)
    if silent or not console.is_terminal:
        yield Tracker(label, total, done, silent=silent)
        return
    words, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}", style="dim")
    left = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(words, BarColumn(), MofNCompleteColumn(), *left, note, console=console) as bar:
        yield Tracker(label, total, done, bar)
