"""Leaving out what a library would load for features that nobody uses here: it costs megabytes in every process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(module: str) -> Iterator[None]:
    """While it lasts, importing `module` fails as if it were not installed; no effect once it has been imported."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how Python marks what must not be found
    try:
        yield
    finally:
        del sys.modules[module]
