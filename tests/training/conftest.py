"""Registers this folder's marker."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "processes: starts several training processes (about 15 s)")
