"""The check of mail: what waits and since when, what was given up, and who holds it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.health.check import DEGRADED, NOT_CONFIGURED, UNKNOWN, Check, Trouble, only, whole_seconds
from shared.health.words import brief, span

MAIL_WAITS_SECONDS = 15 * 60.0


@dataclass(frozen=True, slots=True)
class MailFigures:
    """What Postgres knows of mail. `held`: by an operator's hand; `parked_until`: Resend takes none until then."""

    pending: int
    oldest_pending_seconds: int | None
    dead: int
    sending: int
    held_by_guard: int
    delay_p50_seconds: float | None
    delay_p95_seconds: float | None
    held: bool
    held_reason: str | None
    parked_until: str | None
    park_reason: str | None


@dataclass(frozen=True, slots=True)
class MailCheck(Check):
    """Mail. Without a key it waits by intention."""

    name, title = "email", "Mail"
    configured: bool
    seen: MailFigures | None

    @classmethod
    def of(cls, configured: bool, figures: Mapping[str, Any] | None) -> MailCheck:
        """From the database's answer; None when there is none."""
        if figures is None:
            return cls(configured, None)
        mail, delay, tap = figures["email"], figures["email_delay"], figures["email"]["hold"]
        until = tap["parked_until"]
        parked = bool(until) and datetime.fromisoformat(until) > datetime.fromisoformat(figures["server_time"])
        seen = MailFigures(
            **only(("pending", "dead", "sending"), mail),
            oldest_pending_seconds=whole_seconds(mail["oldest_pending_seconds"]),
            held_by_guard=mail["held"],
            delay_p50_seconds=delay["p50_seconds"],
            delay_p95_seconds=delay["p95_seconds"],
            **only(("held", "held_reason"), tap),
            parked_until=until if parked else None,
            park_reason=tap["park_reason"] if parked else None,
        )
        return cls(configured, seen)

    @property
    def status(self) -> str:
        if not self.configured:
            return NOT_CONFIGURED
        return self.verdict if self.seen else UNKNOWN

    def facts(self) -> dict[str, Any]:
        return {"configured": self.configured, **(asdict(self.seen) if self.seen else {})}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if not self.configured:
            yield "no key"
        if self.seen is None:
            return
        yield f"{self.seen.pending} pending"
        if self.seen.oldest_pending_seconds is not None:
            yield f"oldest {span(self.seen.oldest_pending_seconds)}"
        if self.seen.dead:
            yield f"{self.seen.dead} given up"
        median, slow = self.seen.delay_p50_seconds, self.seen.delay_p95_seconds
        if median is not None and slow is not None:
            yield f"from seen to accepted {brief(median)} (p95 {brief(slow)})"

    def troubles(self) -> Iterator[Trouble]:
        if self.configured and self.seen:
            yield from _stopped(self.seen)
            yield from _undelivered(self.seen)


def _stopped(seen: MailFigures) -> Iterator[Trouble]:
    """Somebody holds mail back: Resend, an operator, or the guard."""
    if seen.parked_until:
        yield Trouble(
            "mail parked",
            DEGRADED,
            "Resend takes no mail from us now" + (f": {seen.park_reason}" if seen.park_reason else ""),
            "Quota: raise the plan or wait for the next day. Key or domain: mend it at Resend, then "
            "`./run.sh ops mail release`. Nothing is lost meanwhile.",
            for_anyone="Mail waits for the mail service",
        )
    if seen.held:
        yield Trouble(
            "mail held by hand",
            DEGRADED,
            "Mail is held by an operator" + (f": {seen.held_reason}" if seen.held_reason else ""),
            "`./run.sh ops mail release` lets it go.",
            alert_after=3600,
            for_anyone="Mail is held by an operator",
        )
    if seen.held_by_guard:
        yield Trouble(
            "mass event",
            DEGRADED,
            f"Unusually many sections opened at once; {seen.held_by_guard} emails are held until a second look",
            "Each is released or dropped by its section's next check. `./run.sh ops mail release` lets all go now.",
            for_anyone="Unusually many sections opened at once; their mail is held until a second look",
        )


def _undelivered(seen: MailFigures) -> Iterator[Trouble]:
    """Mail that should have gone and has not."""
    waits = seen.oldest_pending_seconds
    if waits and waits > MAIL_WAITS_SECONDS:
        yield Trouble(
            "mail stuck",
            DEGRADED,
            f"Mail has waited for {span(waits)} ({seen.pending} pending)",
            "`./run.sh ops mail pending` tells why; look at Resend's status and at the consumer's log.",
            for_anyone="Mail waits",
        )
    if seen.dead:
        yield Trouble(
            "dead mail",
            DEGRADED,
            f"{seen.dead} emails were given up",
            "`./run.sh ops mail pending --status dead` tells why; `ops mail retry` owes those again that certainly "
            "never left, `ops mail ack` says that you have seen them.",
            for_anyone="Mail was given up",
        )
