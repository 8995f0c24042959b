"""The breaker in front of a source: it opens after ten failures in a row and closes after three good probes.

The rules are in `breaker_rules.lua` and `breaker.lua` beside this, so that they hold for every process at once (O21).
"""

from __future__ import annotations

import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from shared.durations import Durations
from shared.redis import Redis, RedisError, Script, is_wrong_type


@dataclass(frozen=True, slots=True)
class Permit:
    """`generation` names the breaker's state it was given under; a probe's has a token."""

    generation: int = 0
    probe: str | None = None


MAX_FAILURES = 10
ENOUGH_SUCCESSES = 3

_log = logging.getLogger(__name__)
_SCRIPT = Script("source/breaker_rules", "queue/queue_rules", "source/breaker")

State = Literal["CLOSED", "OPEN", "HALF_OPEN", "UNKNOWN"]
_SAID = {
    "CLOSED": "closed again",
    "OPEN": "open; the source fails, calls are held back",
    "HALF_OPEN": "half open; one call at a time tries whether the source is back",
}

_STATES: dict[str, State] = {"CLOSED": "CLOSED", "OPEN": "OPEN", "HALF_OPEN": "HALF_OPEN"}
_SPACE = r"[ \t\n\v\f\r]*"  # what Lua calls %s
_MOST_DIGITS = 14  # more is no time and no count
_OVERTAKEN_SECONDS = 5.0  # an answer of Redis is heard within them, or not at all


@dataclass(frozen=True, slots=True)
class NotNow:
    """No call now; ask again in `retry_after` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Redis does not answer, so nobody may call (O25)."""


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The breaker as it was last seen. Times are epoch milliseconds, `retry_after` seconds."""

    state: State = "CLOSED"
    failure_count: int = 0
    success_count: int = 0
    last_failure: int | None = None
    last_state_change: int | None = None
    retry_after: float = 0.0

    @classmethod
    def from_value(cls, value: str | None, retry_after: float = 0.0) -> BreakerStatus:
        """Read what is stored, by the same rule as `breaker_rules.lua`: field by field.

        What is missing or cannot be read is as if the breaker had never changed. UNKNOWN is only a Redis that does
        not answer: two readers that disagree about one value would wait for each other.
        """

        def number(name: str) -> int | None:
            found = re.search(rf'"{name}"{_SPACE}:{_SPACE}([0-9]+)', value or "")
            return int(found[1]) if found and len(found[1]) <= _MOST_DIGITS else None

        state = re.search(rf'"state"{_SPACE}:{_SPACE}"([A-Z_]+)"', value or "")
        return cls(
            state=_STATES.get(state[1], "CLOSED") if state else "CLOSED",
            failure_count=number("failureCount") or 0,
            success_count=number("successCount") or 0,
            last_failure=number("lastFailureTime"),
            last_state_change=number("lastStateChange"),
            retry_after=retry_after,
        )


class Breaker:
    """One source's breaker. In a consumer its state rides on the queue's round trips (see `saw`)."""

    def __init__(
        self, client: Redis, prefix: str, doorbell: str, durations: Durations, source: str = "scraper"
    ) -> None:
        """`doorbell` is the queue's list that wakes idle consumers when calls may pass again."""
        self.key = f"{prefix}circuit:{source}"
        self.probe_key = f"{self.key}:probe"
        self.durations = durations
        self.last_seen = BreakerStatus()
        self._changed_at = -math.inf
        self._told: State = "CLOSED"
        self.on_change: Callable[[BreakerStatus], None] = lambda _: None
        self._client = client
        self._keys = [self.key, self.probe_key, doorbell]

    def allow(self) -> Permit | NotNow | Unknown:
        """Ask before a call."""
        seen = self.status()
        if seen.state == "UNKNOWN":
            return Unknown()
        if seen.state == "CLOSED":
            return self.permit_now()
        token = secrets.token_hex(8)
        try:
            verdict = self._run("allow", Permit(probe=token))
        except RedisError:
            return self.lost()
        if verdict == "none":
            return NotNow(max(self.last_seen.retry_after, 0.001))
        return self.permit_now(token if verdict == "probe" else None)

    def permit_now(self, probe: str | None = None) -> Permit:
        """A permit under the state that was seen last."""
        return Permit(self.last_seen.last_state_change or 0, probe)

    def record_success(self, permit: Permit) -> None:
        """The service answered. Costs nothing while the breaker is closed and nothing has failed."""
        if permit.probe or (self.last_seen.state == "CLOSED" and self.last_seen.failure_count):
            self._tell("success", permit)

    def record_failure(self, permit: Permit) -> None:
        """The service failed. Counts unless the breaker changed its state after `permit` was given (O24)."""
        self._tell("failure", permit)

    def return_permit(self, permit: Permit) -> None:
        """The call said nothing about the service: a probe's lease is given back, all else stays."""
        if permit.probe:
            self._tell("return", permit)

    def status(self) -> BreakerStatus:
        """Ask Redis now; UNKNOWN when it does not answer. An open breaker whose time is over shows as OPEN."""
        try:
            return self._see(self._client.get(self.key))
        except RedisError as error:
            if is_wrong_type(error):
                return self._see("")  # nothing of ours; the next change is written over it
            self.lost()
            return self.last_seen

    def reset(self) -> None:
        """Close it by hand. Raises `RedisError`."""
        self._run("reset", Permit())

    def saw(self, value: str, retry_after: float) -> None:
        """Take note of the stored value that came with an answer, unless a later state was heard of before."""
        seen, known = BreakerStatus.from_value(value, retry_after), self.last_seen.last_state_change or 0
        changed = seen.last_state_change or 0
        if value and changed < known and time.monotonic() < self._changed_at + _OVERTAKEN_SECONDS:
            return
        if changed != known:
            self._changed_at = time.monotonic()
        self.last_seen = seen
        if seen.state not in (self._told, "UNKNOWN"):
            self._told = seen.state
            level = logging.INFO if seen.state == "CLOSED" else logging.WARNING
            _log.log(level, "breaker: %s", _SAID[seen.state], extra={"failures": seen.failure_count})

    def _tell(self, verb: str, permit: Permit) -> None:
        """Record an outcome; one that cannot be recorded is only logged, for the check itself went its way."""
        try:
            self._run(verb, permit)
        except RedisError as error:
            self.lost()
            _log.warning("breaker: %s not recorded: %s", verb, type(error).__name__)

    def _run(self, verb: str, permit: Permit) -> str:
        limits = [
            round(self.durations.breaker_open * 1000),
            round(self.durations.probe_lease * 1000),
            MAX_FAILURES,
            ENOUGH_SUCCESSES,
        ]
        verdict, wait, value = _SCRIPT(self._client, self._keys, [verb, permit.probe or "", permit.generation, *limits])
        self.saw(value, wait / 1000)
        self.on_change(self.last_seen)
        return str(verdict)

    def _see(self, value: Any) -> BreakerStatus:
        self.saw(value or "", 0.0)
        return self.last_seen

    def lost(self) -> Unknown:
        """Redis does not answer."""
        self.last_seen = BreakerStatus(state="UNKNOWN")
        return Unknown()
