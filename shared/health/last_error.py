"""The last thing that a consumer logged as an error: it goes along with its beat, so that `ops workers` can show it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

_LONGEST = 200


class LastError(logging.Handler):
    """Remembers the words of the last error and when it was; what belongs to it stays in the log."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(logging.ERROR)
        self._clock = clock
        self._last: dict[str, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._last = {"at": self._clock().isoformat(), "words": record.getMessage()[:_LONGEST]}

    def as_json(self) -> dict[str, str] | None:
        """`at` and `words`; `None` when there was none."""
        return self._last
