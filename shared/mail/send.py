"""Mail: owed rows become frozen batches, batches go to Resend, and what came of it is settled.

Every step leaves the database in a state from which any mailer can go on: a mailer may be killed anywhere.
Rows whose mailer died before the freeze are gathered again when its lease ends; a batch whose mailer died after
it is sent again, the same bytes under the same key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from shared.database import Database, DatabaseError
from shared.durations import DEFAULT
from shared.mail.renderer import CannotWriteError, OwedMail
from shared.mail.resend import MAX_BATCH, Accepted, Outcome
from shared.sections.section import Facts, Section

log = logging.getLogger(__name__)

_NEVER = threading.Event()
_NOBODY = str(uuid.UUID(int=0))
_SETTLE_PAUSES = (0.2, 1.0, 3.0)
_RECHECK = 2.0  # seconds; a consumer acknowledges what it has done within one


class SendsBatches(Protocol):
    """The Resend client."""

    def send_batch(self, key: str, body: str, size: int) -> Outcome: ...


class WritesEmails(Protocol):
    """The renderer. Raises `CannotWriteError` for a row that cannot become an email."""

    def write(self, mail: OwedMail) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class MailTiming:
    """Durations in seconds. A lease must outlast one exchange with Resend; `unit` is one second of backoff."""

    lease: float = DEFAULT.mail_lease
    unit: float = DEFAULT.retry_base

    def divided_by(self, factor: float) -> MailTiming:
        """The same, shorter: what a chaos run uses on real clocks."""
        return MailTiming(self.lease / factor, self.unit / factor)


@dataclass(frozen=True, slots=True)
class MailRoom:
    """What sending mail needs; safe to share between threads.

    `resend` is `None` without a key: mail stays pending. `on_recheck` queues sections once more whose mail the
    mass-event guard holds; when it fails it is told of them again at the next step. When it answers that some were
    queued still (the check that opened the section may not be acknowledged yet), it is told once more a little
    later; what is left after that is the rescue's.
    """

    database: Database
    resend: SendsBatches | None
    renderer: WritesEmails
    on_recheck: Callable[[Sequence[Section]], bool]
    timing: MailTiming = MailTiming()
    _to_recheck: dict[Section, float] = field(default_factory=dict)  # with the moment (monotonic) from which on
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def recheck(self, named: list[dict[str, str]]) -> None:
        """Queue these sections once more, and those whose turn has come again."""
        now, fresh = time.monotonic(), {Section(item["term"], item["class_nbr"]) for item in named}
        with self._lock:
            self._to_recheck.update(dict.fromkeys(fresh, now))
            sections = sorted(section for section, since in self._to_recheck.items() if since <= now)
            for section in sections:
                del self._to_recheck[section]
        if not sections:
            return
        if fresh:
            log.error("mail held: unusually many sections opened at once", extra={"sections": len(fresh)})
        again: dict[Section, float] = {}
        try:
            if not self.on_recheck(sections):
                again = dict.fromkeys(fresh, now + _RECHECK)
        except Exception:
            again = dict.fromkeys(sections, now)
            log.exception("sections could not be queued once more")
        with self._lock:
            self._to_recheck.update(again)

    @property
    def must_recheck(self) -> bool:
        """Whether sections wait to be queued once more."""
        return bool(self._to_recheck)


@dataclass(slots=True)
class MailReport:
    """What a call did, and why it ended.

    `accepted` and `dead` count emails. `state` is `idle`, `held`, `paused`, `parked`, `not_configured` or
    `stopped`; `wait_seconds`: when it is worth calling again without being woken, `None` for never.
    """

    state: str = "idle"
    accepted: int = 0
    dead: int = 0
    batches: int = 0
    wait_seconds: float | None = None
    reason: str | None = None


def send_due_mail(room: MailRoom, worker: str, *, stop: threading.Event = _NEVER, patience: float = 0.0) -> MailReport:
    """Send everything that is due, batch after batch, until nothing is, or `stop` is set.

    1. Gather: an unsettled batch to repeat, or rows in the order of their events, leased to `worker`.
    2. Write the emails and freeze them: from here on bytes and key are fixed.
    3. Send.
    4. Settle what came of it.

    With `patience` (seconds in all) it also waits for what becomes due meanwhile: a replay or an operator wants
    the outbox empty. Raises `DatabaseError`; nothing is lost by that.
    """
    if room.resend is None:
        return MailReport("not_configured")
    mailer = _Mailer(room, room.resend, worker, MailReport())
    deadline = time.monotonic() + patience
    while not stop.is_set():
        closed = mailer.step(own_only=False)
        if closed and room.must_recheck:
            closed.wait_seconds = min(closed.wait_seconds or _RECHECK, _RECHECK)
        if closed and (closed.wait_seconds is None or time.monotonic() + closed.wait_seconds > deadline):
            return closed
        if closed:
            stop.wait(closed.wait_seconds)
    mailer.report.state, mailer.report.wait_seconds = "stopped", None
    return mailer.report


def send_test_mail(resend: SendsBatches, renderer: WritesEmails, address: str, now: datetime) -> Outcome:
    """Send one seat email about a class that does not exist to `address`; what Resend said of it.

    Raises `CannotWriteError` when this is no address. Nothing is written down: it is no mail that is owed.
    """
    facts = Facts("TEST", "101", "A trial of PickMyClass's email", seats_available=1, seats_capacity=1)
    mail = OwedMail(0, _NOBODY, address, Section("0000", "00000"), "seat_available", facts, now, None, now)
    return resend.send_batch(str(uuid.uuid4()), json.dumps([renderer.write(mail)], ensure_ascii=False), 1)


def send_own_mail(room: MailRoom, worker: str) -> int:
    """Send at once what a commit leased to `worker`; how many emails Resend accepted.

    The check is committed by then, so nothing that happens here may fail it: what cannot be sent now is given
    back to the mailers. Waits at most two seconds for our rate at Resend.
    """
    if room.resend is None:
        return 0
    mailer = _Mailer(room, room.resend, worker, MailReport())
    deadline = time.monotonic() + 2.0
    try:
        while (closed := mailer.step(own_only=True)) is None or closed.state == "paused":
            wait = closed.wait_seconds or 0.0 if closed else 0.0
            if time.monotonic() + wait > deadline:
                break
            time.sleep(wait)
        if closed is None or closed.state != "idle":
            room.database.call("pmc_hand_back_mail", p_worker=worker)
    except DatabaseError:
        log.warning("own mail is left to the mailers: database failed")
    return mailer.report.accepted


@dataclass(frozen=True, slots=True)
class _Mailer:
    """One caller's work: steps that each move one batch, and the report they add to."""

    room: MailRoom
    resend: SendsBatches
    worker: str
    report: MailReport

    def step(self, *, own_only: bool) -> MailReport | None:
        """Move one batch. The report when there is nothing to send now, with the reason; else `None`."""
        answer = self._call(
            "pmc_gather_mail", p_limit=MAX_BATCH, p_own_only=own_only, p_lease_seconds=self.room.timing.lease
        )
        self.room.recheck(answer["recheck"])
        if answer["state"] == "batch":
            batch = answer["batch"]
            self._deliver(batch["id"], batch["body"], batch["rows"])
        elif answer["state"] == "rows":
            self._freeze_and_deliver(answer["rows"])
        else:
            self.report.state, self.report.reason = answer["state"], answer["reason"]
            self.report.wait_seconds = answer["wait_seconds"]
            return self.report
        return None

    def _freeze_and_deliver(self, rows: list[dict[str, Any]]) -> None:
        """Write the emails of these rows, freeze them into a batch, and send it. No rows: all were dropped."""
        if not rows:
            return
        texts = {row["id"]: _write(self.room.renderer, row) for row in rows}
        batch_id = str(uuid.uuid4())
        answer = self._call(
            "pmc_freeze_batch",
            p_batch_id=batch_id,
            p_emails=list(texts.values()),
            p_lease_seconds=self.room.timing.lease,
        )
        self.room.recheck(answer["recheck"])
        if answer["state"] == "held":
            self._call("pmc_hand_back_mail")
        if answer["state"] != "frozen":
            return
        body = "[" + ",".join(texts[row_id]["email"] for row_id in answer["ids"]) + "]"
        if hashlib.sha256(body.encode()).hexdigest() != answer["digest"]:
            # What is stored is what counts; it is sent when the lease ends.
            log.error("a frozen batch differs from what was written", extra={"batch_id": batch_id})
            return
        by_id = {row["id"]: row for row in rows}
        self._deliver(batch_id, body, [by_id[row_id] for row_id in answer["ids"]])

    def _deliver(self, batch_id: str, body: str, rows: list[dict[str, Any]]) -> None:
        """Send a frozen batch and settle what came of it."""
        began = time.monotonic()
        outcome = self.resend.send_batch(batch_id, body, len(rows))
        seconds = time.monotonic() - began
        settled = self._settle(batch_id, outcome)
        self.report.batches += 1
        self.report.accepted += settled["sent"]
        self.report.dead += settled["dead"]
        _log_outcome(batch_id, outcome, settled, rows, seconds)

    def _settle(self, batch_id: str, outcome: Outcome) -> dict[str, Any]:
        """Record the outcome, trying a few times: a settlement that is lost costs one repetition of the batch."""
        words = outcome.as_json() | {"unit_seconds": self.room.timing.unit}
        for pause in _SETTLE_PAUSES:
            try:
                return self._call("pmc_settle_batch", p_batch_id=batch_id, p_outcome=words)
            except DatabaseError:
                time.sleep(pause * self.room.timing.unit)
        return self._call("pmc_settle_batch", p_batch_id=batch_id, p_outcome=words)

    def _call(self, function: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.room.database.call(function, p_worker=self.worker, **arguments)
        return answer


def _write(renderer: WritesEmails, row: dict[str, Any]) -> dict[str, Any]:
    """One row as the freeze takes it: its email as JSON text, or why there is none (that row alone is given up)."""
    try:
        email = json.dumps(renderer.write(OwedMail.from_json(row)), ensure_ascii=False, separators=(",", ":"))
    except CannotWriteError as error:
        return {"id": row["id"], "error": f"cannot be written: {error}", "status": "dropped"}
    except Exception as error:
        # A payload that nobody thought of must not stop everybody's mail; the message might quote it.
        log.error("an email could not be written", extra={"outbox_id": row["id"], "error": type(error).__name__})
        return {"id": row["id"], "error": f"cannot be written: {type(error).__name__}", "status": "dead"}
    return {"id": row["id"], "to": row["email"], "email": email}


def _log_outcome(
    batch_id: str, outcome: Outcome, settled: dict[str, Any], rows: list[dict[str, Any]], seconds: float
) -> None:
    """One line per tick, section and kind of mail, so that tick, check and mail can be joined."""
    words = {"batch_id": batch_id, "milliseconds": round(seconds * 1000)}
    if not isinstance(outcome, Accepted):
        words["error"] = outcome.error
    level = logging.INFO if settled["state"] == "accepted" else logging.WARNING
    groups = Counter((row["tick_id"], row["term"], row["class_nbr"], row["notification_type"]) for row in rows)
    for (tick_id, term, class_nbr, kind), count in groups.items():
        section = {"tick_id": tick_id, "term": term, "class_nbr": class_nbr, "kind": kind, "emails": count}
        log.log(level, "mail %s", settled["state"], extra=words | section)
    if settled["dead"]:
        log.error("emails given up", extra={"batch_id": batch_id, "dead": settled["dead"]})
