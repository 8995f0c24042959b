"""Huey without the Postgres driver that it would load for a storage nobody uses here: 5 MB less in every process.

Imported by the package itself, so that it comes before whatever imports Huey. The gateway loads the driver when its
transport wants it.
"""

from __future__ import annotations

import sys

_DRIVER = "psycopg"

if _DRIVER not in sys.modules:
    sys.modules[_DRIVER] = None  # type: ignore[assignment]  # how Python marks a module that must not be found
    try:
        import huey  # noqa: F401 - loaded here so that it finds no driver
    finally:
        del sys.modules[_DRIVER]
