"""When a source may be called: one pause that everybody keeps, and turns for so many calls a minute.

Both hold over all servers and live in Redis, in `pause_source.lua` and `turns.lua` beside this.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from shared.backoff import LONGEST_PAUSE_SECONDS
from shared.durations import Durations
from shared.redis import Redis, RedisError, Script, wall_clock

_PAUSE = Script("source/breaker_rules", "source/pause_rules", "source/pause_source")
_TURNS = Script("source/breaker_rules", "source/pause_rules", "source/turns")
_STORED = re.compile("([0-9]{1,14}) [0-9]{1,14}")
_LOST_SECONDS = 30.0
_IN_TIME = 0.1
"""The part of the time between two marks within which a mark may be used; spacing allows for it."""

Lane = Literal["people", "queue"]
"""For whom calls are made: those of `people`, who wait for them, begin at once as long as they are few."""


class NoTurnError(Exception):
    """No call may be made now; there may be leave in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no leave for a call within {seconds:g} s")
        self.seconds = seconds


class Pause:
    """The pause of one source: each is twice as long as the one before, until there was quiet for a while."""

    def __init__(self, client: Redis, circuit: str, durations: Durations) -> None:
        """`circuit` is the key of the source's breaker."""
        self.circuit, self.key = circuit, f"{circuit}:pause"
        self._client, self._durations = client, durations
        self._ends_at = 0.0

    @property
    def left(self) -> float:
        """Seconds of it that are left, as far as this process knows."""
        return max(self._ends_at - time.monotonic(), 0.0)

    def is_on(self, seconds: float) -> None:
        """Take note that it is, for `seconds`."""
        self._ends_at = time.monotonic() + seconds

    def extend(self, asked: float) -> float:
        """The source asked for `asked` seconds; returns the seconds that everybody waits. Never raises."""
        floor, quiet = self._durations.pause_floor, self._durations.pause_quiet
        try:
            arguments = [round(seconds * 1000) for seconds in (asked, floor, quiet)]
            seconds = int(_PAUSE(self._client, [self.key], arguments)) / 1000
        except RedisError:
            seconds = max(asked, floor)
        self.is_on(seconds)
        return seconds

    def look(self) -> float:
        """Seconds of it that are left, by Redis. Raises `RedisError`."""
        stored = _STORED.fullmatch(str(self._client.mget([self.key])[0]))  # another type is none to MGET
        left = int(stored[1]) / 1000 - wall_clock() / 1000 if stored else 0.0
        return left if 0 < left <= LONGEST_PAUSE_SECONDS else 0.0

    def end(self) -> None:
        """End it by hand, and forget those before it. Raises `RedisError`."""
        self._client.delete(self.key)
        self._ends_at = 0.0


class Turns:
    """This process's turns at one source; safe to share between threads, which take them one after the other."""

    def __init__(
        self,
        client: Redis,
        pause: Pause,
        *,
        lane: Lane,
        holder: str,
        calls_a_minute: int,
        durations: Durations,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`pause` is the source's; `holder` names this process among all."""
        self._client, self._pause = client, pause
        self._keys = [pause.key, f"{pause.circuit}:turns", pause.circuit]
        self._lane, self._holder = lane, holder
        self._clock, self._sleep = clock, sleep
        between = calls_a_minute // 10 if calls_a_minute >= 10 else 0
        spacing_ms = math.ceil(durations.minute * 1000 / (calls_a_minute - between - _IN_TIME))
        ahead_ms, call_ms, minute_ms = (
            round(seconds * 1000) for seconds in (durations.turns_ahead, durations.call + 1.0, durations.minute)
        )
        self._limits = [spacing_ms, ahead_ms, call_ms, between, minute_ms]
        self._one = threading.Lock()
        self._marks: deque[float] = deque()
        self._spacing = spacing_ms / 1000
        self._last_mark = -math.inf
        self._want = 1
        self._breaker = ""

    @property
    def are_given(self) -> bool:
        """Whether turns are in hand: then Redis was asked a moment ago, and need not be asked again."""
        return self._last_mark >= self._clock()

    def expect(self, calls: int) -> None:
        """So many calls follow one after another: their marks are asked for together, which costs Redis one command."""
        with self._one:
            self._forget_the_past()
            self._want = max(self._want, calls - len(self._marks))

    def take_ahead(self) -> str | None:
        """Take turns before one is needed, unless some are in hand; people's lane is for one call at a time.

        Returns what is stored of the breaker, which Redis tells along; None where it was not asked.
        Raises `RedisError`, and `NoTurnError` for a pause.
        """
        if self._lane == "people" or not self._one.acquire(blocking=False):
            return None
        try:
            self._forget_the_past()
            if self._marks:
                return None
            self._take()
            return self._breaker
        finally:
            self._one.release()

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Around one call: wait for a turn, for `seconds` at most. Raises `NoTurnError`."""
        ends_at = self._clock() + seconds
        if not self._one.acquire(timeout=max(seconds, 0.0)):
            raise NoTurnError(self._spacing)
        try:
            self._wait(ends_at)
            yield
        finally:
            if self._lane == "people":
                self._give_back()
            self._one.release()

    def _wait(self, ends_at: float) -> None:
        """Sleep until a mark of ours, asking for more when there are none."""
        while True:
            if left := self._pause.left:
                raise NoTurnError(left)
            self._forget_the_past()
            now = self._clock()
            try:
                wait = self._marks[0] - now if self._marks else self._take()
            except RedisError as error:
                raise NoTurnError(_LOST_SECONDS) from error
            if wait > ends_at - now:
                raise NoTurnError(wait)
            if wait > 0:
                self._sleep(wait)
            if self._marks and self._marks[0] <= self._clock():
                self._marks.popleft()
                return

    def _forget_the_past(self) -> None:
        """Drop the marks whose time is over: nobody needed them, or a call took longer than the time between two."""
        now = self._clock()
        while self._marks and self._marks[0] + self._spacing * _IN_TIME < now:
            self._marks.popleft()
            self._want = 1

    def _take(self) -> float:
        """Ask for marks, sixteen times as many as last time if all those were used; returns the seconds to wait.

        Raises `RedisError`, and `NoTurnError` for a pause.
        """
        count, wait, is_paused, self._breaker = self._ask(self._want)
        if is_paused:
            self._pause.is_on(wait)
            raise NoTurnError(wait)
        if count:
            first = self._clock() + wait
            self._marks.extend(first + number * self._spacing for number in range(count))
            self._last_mark = self._marks[-1]
            self._want = 16 * count
        return wait

    def leave(self, holder: str | None = None) -> None:
        """Let others have the turns that are in hand, unless one is being used, or those of a `holder` that is dead."""
        if holder:
            self._give_back(holder)
        elif self._one.acquire(blocking=False):
            try:
                self._marks.clear()
                self._last_mark = -math.inf
                self._give_back()
            finally:
                self._one.release()

    def _give_back(self, holder: str | None = None) -> None:
        """Let others have the lane; when that cannot be told, it is theirs after a while."""
        with suppress(RedisError):
            self._ask(0, holder)

    def _ask(self, want: int, holder: str | None = None) -> tuple[int, float, bool, str]:
        """How many marks, in how many seconds the first is or there may be some, whether for a pause, the breaker."""
        arguments = [self._lane, holder or self._holder, want, *self._limits]
        count, wait, paused, breaker = _TURNS(self._client, self._keys, arguments)
        return count, wait / 1000, bool(paused), breaker
