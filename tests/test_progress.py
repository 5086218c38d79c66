"""Progress: an ETA now and then in a log, a bar on a terminal, nothing from other processes."""

from medaug import progress
from medaug.progress import track


def test_log_line_says_how_far_how_fast_and_when_it_ends(capsys, monkeypatch):
    clock = iter([100.0, 100.0, 110.0, 125.0, 126.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with track("train", 105, done=5) as tracker:
        for _ in range(3):
            tracker.advance("loss 0.5")
    assert capsys.readouterr().err == "train 7/105 · 12.50 s each · ETA 0:20:25 loss 0.5\n"
    assert tracker.done == 8


def test_silent_tracker_counts_without_a_word(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    with track("train", 10, silent=True) as tracker:
        tracker.advance(steps=4)
    assert tracker.done == 4 and capsys.readouterr().err == ""


def test_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with track("train", 4, done=1) as tracker:
        tracker.advance("note", steps=3)
    shown = capsys.readouterr().err
    assert tracker.done == 4 and "train" in shown and "4/4" in shown
