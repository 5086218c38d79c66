"""Kills processes that lead a group of their own."""

import os
import signal


def killed_after(process, seconds):
    """Whether SIGKILL still met it; its data loaders' workers too."""
    process.join(seconds)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0
