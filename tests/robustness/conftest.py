"""Files that are no files."""

import os
import socket

import pytest


@pytest.fixture
def special(monkeypatch):
    """`special("pipe", path)`: a named pipe, a socket, or a link to /dev/zero in place of a file."""

    def make(kind, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            monkeypatch.chdir(path.parent)  # a socket's name has 100 letters at the most
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        return path

    return make
