"""A consumer's looks of one minute in a process of their own, which kill -9 ends after a step:
`python -m tests.support.look_process STEP TIME`, with the product's settings in its environment and TIME as its clock.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from typing import Any, NoReturn

from shared.settings import load
from shared.wiring import Wiring

BEFORE = {"about to commit": "pmc_commit_looks"}
AFTER = {"lease taken": "pmc_take_looks", "baselines read": "pmc_read_listings", "committed": "pmc_commit_looks"}
"""Steps that lie beside a call to the database."""


def main(step: str, at: str) -> None:
    """Look, and die on the way."""
    time = datetime.fromisoformat(at)
    parts = Wiring(load(), clock=lambda: time, replay=True)
    call, read = parts.database.call, parts.looker._read

    def calling(function: str, **arguments: Any) -> Any:
        if BEFORE.get(step) == function:
            _die()
        answer = call(function, **arguments)
        if AFTER.get(step) == function:
            _die()
        return answer

    def asking(*arguments: Any) -> Any:
        answer = read(*arguments)
        if step == "source asked":
            _die()
        return answer

    parts.database.call = calling  # type: ignore[method-assign]
    parts.looker._read = asking
    parts.looks.minute(lambda: False, _die)  # "mail woken", if it comes so far


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


if __name__ == "__main__":
    main(*sys.argv[1:])
