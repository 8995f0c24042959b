"""Fixtures that many tests share; each lives in a module of tests/support/."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest_plugins = [
    "tests.support.mail",
    "tests.support.move",
    "tests.support.ops",
    "tests.support.postgres",
    "tests.support.stage",
    "tests.support.properties",
    "tests.support.redis",
    "tests.support.site",
    "tests.support.student",
    "tests.support.theatre",
    "tests.support.pages",
]


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """The level that a test configures is its own."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
