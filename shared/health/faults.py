"""What went wrong, as a code for programs and in words for an operator: never with a host, a secret or a statement."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from shared.database import DatabaseError
from shared.redis import RedisError, refuses_writes
from shared.settings import SettingsError

log = logging.getLogger(__name__)

NOT_SET, TIMEOUT, NO_ANSWER, NO_WRITES, KEY_REFUSED = "not_set", "timeout", "no_answer", "no_writes", "key_refused"
BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no answer. Everything that decides looks at `code`; `words` are for people."""

    code: str
    words: str

    def as_json(self) -> dict[str, Any]:
        """As it stands in a check."""
        return {"error": self.words, "code": self.code}


def fault_of(problem: Exception) -> Fault:
    """The fault that an error means."""
    if isinstance(problem, SettingsError):
        return Fault(NOT_SET, "not set: " + ", ".join(one.name for one in problem.problems))
    if isinstance(problem, DatabaseError):
        return Fault(problem.kind, str(problem))
    if isinstance(problem, RedisError) and refuses_writes(problem):
        return Fault(NO_WRITES, f"Redis takes no writes ({type(problem).__name__})")
    if isinstance(problem, RedisError):
        return Fault(NO_ANSWER, f"Redis does not answer ({type(problem).__name__})")
    log.error("a probe failed", exc_info=problem)
    return Fault(BROKEN, f"failed ({type(problem).__name__})")
