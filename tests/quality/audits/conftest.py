"""A study to plant faults in."""

import pytest

from .population import Study


@pytest.fixture
def study() -> Study:
    """New for each test, because every draw moves its random state on."""
    return Study(0)
