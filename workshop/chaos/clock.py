"""A clock that several processes read and one sets: our real clock, shifted by what a file says.

Within a slot it runs like any clock; only between slots the driver of a chaos run moves it on, so that the
product's own ticks, rescue and expiry go by it without knowing.
"""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SHIFT = struct.Struct("d")  # seconds; eight bytes are written and read at once


class ShiftedClock:
    """Call it for the time, aware, in UTC. For any thread."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the file at `path`; `create` makes it, with no shift."""
        self._file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o644)
        if create:
            os.pwrite(self._file, _SHIFT.pack(0.0), 0)

    def __call__(self) -> datetime:
        shift: float = _SHIFT.unpack(os.pread(self._file, _SHIFT.size, 0))[0]
        return datetime.now(UTC) + timedelta(seconds=shift)

    def set(self, moment: datetime) -> None:
        """Let it be `moment` now, for every process that reads the file."""
        os.pwrite(self._file, _SHIFT.pack((moment - datetime.now(UTC)).total_seconds()), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
