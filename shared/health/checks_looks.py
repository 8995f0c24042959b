"""The check of the looks: who is asked and how often, how long a round takes, how late openings can have been seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from shared.health.check import DEGRADED, HEALTHY, UNKNOWN, Check, Trouble, whole_seconds
from shared.health.words import span
from shared.parts import Parts

SLOW = 3.0
"""A round that takes so many times the usual length is an alarm,"""
SLOW_SECONDS = 600.0
"""and longer than this: rounds of a few sections take seconds, and a pause of minutes is no news."""
LONG_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class SourceSeen:
    """One source: its breaker's state, for how long it is still left alone, and its calls in the last minute."""

    source: str
    state: str
    paused_seconds: int | None = None
    calls_last_minute: int = 0


@dataclass(frozen=True, slots=True)
class LooksFigures:
    """What Postgres knows. `opening_bound`: seen minus last seen full, of the last day's openings. Seconds."""

    opening_count: int
    opening_bound_p50_seconds: int | None
    opening_bound_p95_seconds: int | None
    round_seconds: int | None
    usual_round_seconds: int | None
    round_age_seconds: int | None


@dataclass(frozen=True, slots=True)
class LooksCheck(Check):
    """`calls_a_minute` is the budget; None where none is kept."""

    name, title = "looks", "Looks"
    sources: tuple[SourceSeen, ...]
    calls_a_minute: int | None
    seen: LooksFigures | None

    @classmethod
    def of(
        cls, sources: Iterable[SourceSeen], calls_a_minute: int | None, figures: Mapping[str, Any] | None
    ) -> LooksCheck:
        """From the database's answer."""
        if figures is None:
            return cls(tuple(sources), calls_a_minute, None)
        bound, rounds = figures["opening_bound"], figures["round"]
        seen = LooksFigures(
            bound["count"],
            whole_seconds(bound["p50_seconds"]),
            whole_seconds(bound["p95_seconds"]),
            whole_seconds(rounds["seconds"]),
            whole_seconds(rounds["usual_seconds"]),
            whole_seconds(rounds["age_seconds"]),
        )
        return cls(tuple(sources), calls_a_minute, seen)

    @property
    def status(self) -> str:
        return self.verdict if self.seen else UNKNOWN

    def facts(self) -> dict[str, Any]:
        told = {"sources": [asdict(one) for one in self.sources], "calls_a_minute": self.calls_a_minute}
        return told | (asdict(self.seen) if self.seen else {})

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        for one in self.sources:
            paused = f", left alone for {span(one.paused_seconds)}" if one.paused_seconds else ""
            yield f"{one.source} {one.state.lower().replace('_', ' ')}{paused}"
        calls = sum(one.calls_last_minute for one in self.sources)
        yield f"{calls} of {self.calls_a_minute} calls a minute" if self.calls_a_minute else f"{calls} calls a minute"
        if self.seen is None:
            return
        if self.seen.round_seconds is not None:
            yield f"a round takes {span(self.seen.round_seconds)}"
        if self.seen.opening_count:
            p50, p95 = span(self.seen.opening_bound_p50_seconds), span(self.seen.opening_bound_p95_seconds)
            yield f"openings seen within {p50} (95 %: {p95})"

    def troubles(self) -> Iterator[Trouble]:
        paused = [one for one in self.sources if (one.paused_seconds or 0) > LONG_PAUSE_SECONDS]
        if paused:
            names = ", ".join(one.source for one in paused)
            yield Trouble(
                "source refuses",
                DEGRADED if len(paused) == len(self.sources) else HEALTHY,
                f"Left alone because it refuses us, or wants to be: {names}",
                "`./run.sh ops doctor` says what it answers; docs/sources.md tells what to do. It is asked again by "
                "itself; `./run.sh ops breaker reset` asks at once.",
                for_anyone="A source is left alone",
            )
        if self.seen is None or self.seen.usual_round_seconds is None:
            return
        now = max(self.seen.round_age_seconds or 0, self.seen.round_seconds or 0)
        if now > max(SLOW * self.seen.usual_round_seconds, SLOW_SECONDS):
            yield Trouble(
                "slow round",
                DEGRADED,
                f"A round of looks takes {span(now)}; {span(self.seen.usual_round_seconds)} is usual",
                "Compare the calls a minute with the budget here: fewer mean that the source is slow, fails or is left "
                "alone (`./run.sh ops doctor`), as many that more sections are watched: raise LOOKS_PER_MINUTE.",
                for_anyone="A round of looks takes much longer than usual",
            )


def sources_asked(parts: Parts) -> tuple[SourceSeen, ...]:
    """Each source as Redis tells it now. Raises `RedisError`."""
    return tuple(
        SourceSeen(name, breaker.status().state, whole_seconds(parts.pauses[name].look()) or None, _own(parts, name))
        for name, breaker in parts.breakers.items()
    )


def sources_known(parts: Parts) -> list[dict[str, Any]]:
    """Each source as this process saw it last, for its beat: no Redis command."""
    return [
        asdict(SourceSeen(name, breaker.last_seen.state, round(parts.pauses[name].left) or None, _own(parts, name)))
        for name, breaker in parts.breakers.items()
    ]


def sources_of_beats(parts: Parts, workers: Iterable[Mapping[str, Any]]) -> tuple[SourceSeen, ...]:
    """Each source as the first of the living consumers tells it, whose beat is the freshest; without any, the names."""
    newest = next((told for worker in workers if (told := sources_told(worker))), None)
    if newest is None:
        return unknown_sources(parts)
    return with_calls_of(workers, (replace(one, calls_last_minute=0) for one in newest))


def with_calls_of(workers: Iterable[Mapping[str, Any]], sources: Iterable[SourceSeen]) -> tuple[SourceSeen, ...]:
    """The same sources with the calls that the living consumers tell added."""
    told = [one for worker in workers for one in sources_told(worker)]
    return tuple(
        replace(
            source,
            calls_last_minute=source.calls_last_minute
            + sum(one.calls_last_minute for one in told if one.source == source.source),
        )
        for source in sources
    )


def sources_told(worker: Mapping[str, Any]) -> list[SourceSeen]:
    """What a consumer's beat tells; nothing where it tells nothing that can be read."""
    try:
        return [SourceSeen(**one) for one in worker["figures"].get("sources", [])]
    except (AttributeError, TypeError):
        return []


def _own(parts: Parts, name: str) -> int:
    return parts.measures.calls_of_the_minute(name)


def unknown_sources(parts: Parts) -> tuple[SourceSeen, ...]:
    """Their names alone, where Redis does not answer."""
    return tuple(SourceSeen(name, "UNKNOWN") for name in parts.settings.sources)
