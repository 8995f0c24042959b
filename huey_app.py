"""The door for the clock and the queue: the Huey instance, its task, and the work that is done by the clock.

`./run.sh consumer` runs it. Everything here hands on to a flow; the parts come from the environment.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shared.checks.duties import Duties, Heard, Worker
from shared.checks.queued import check_queued, look_queued
from shared.database import DatabaseError
from shared.environment import take_supervisor
from shared.health.alerts import Unclaimed, raise_alerts
from shared.health.heartbeat import Heartbeat
from shared.health.maintenance import Maintenance
from shared.health.notify import Notifier, Watchdog
from shared.health.pulse import LastError, Pulse
from shared.mail.send import send_due_mail
from shared.queue import LeasedHuey, Snapshot, Turn
from shared.queue.consumer import LeasedConsumer
from shared.queue.jobs import Delivery
from shared.schedule import OFF, is_due, latest_slots
from shared.settings import ROOT
from shared.wiring import Wiring, wiring

if TYPE_CHECKING:
    from huey.api import Task

log = logging.getLogger("huey_app")


def build(parts: Wiring, *, replay: bool = False, errors: LastError | None = None) -> LeasedConsumer:
    """A consumer over `parts`, ready to run.

    With `replay` it only works on what is queued and beats; ticks, rescue and mail are whoever's who owns the time.
    The last of `errors` goes along with each beat.
    """
    huey, settings = parts.huey, parts.settings
    parts.lane, parts.replay = "queue", parts.replay or replay
    worker, heart = _worker(parts, replay), Heartbeat(settings.heartbeat_url)
    turns = parts.turns if "asu" in settings.sources else None
    duties = Duties(parts.database, huey, parts.ticker, worker, parts.durations, parts.clock, heart, turns)
    declare_task(huey, parts)
    if not replay:
        declare_ticks(huey, duties, settings.cron_schedule, settings.cron_timezone)
        declare_mail(huey, parts)
        declare_alerts(huey, parts)
        declare_maintenance(huey, parts.maintenance)

    @huey.control(every=parts.durations.beat)
    def beat(turn: Turn) -> None:
        if not turn.is_stopping:
            heed(duties.beat(pulse.current_jobs, pulse.figures()), consumer)

    huey.on_startup(name="register")(lambda: duties.register(time.sleep))

    @huey.on_shutdown(name="sign_off")  # type: ignore[untyped-decorator]  # huey has no types
    def sign_off() -> None:
        # With jobs still in its name it stays listed until the others find it dead, and take them over first.
        if turns:
            turns.leave()
        if consumer.left_cleanly:
            duties.sign_off()

    if not replay and settings.looks_per_minute != 0 and settings.cron_schedule != OFF:
        declare_looks(huey, parts, lambda: consumer.snapshot())

    consumer = huey.create_consumer(workers=settings.workers, worker_id=parts.incarnation)  # knows what was declared
    pulse = Pulse(parts, consumer, errors)
    return consumer


def declare_task(huey: LeasedHuey, parts: Wiring) -> None:
    """The one task of the queue."""

    @huey.task(name="process_section", context=True)  # type: ignore[untyped-decorator]  # huey has no types
    def process_section(task: Task, **_payload: Any) -> None:
        delivery: Delivery = task.delivery
        if "listing" in delivery.payload:
            looked = look_queued(parts.checker, parts.looker, delivery, parts.durations)
            emails = looked.emails
            huey.dead_letters.resolve_seen([section.key for section in looked.seen])
            if looked.alone:
                tick_id, replay = delivery.payload["tick_id"], delivery.now is not None
                parts.ticker.requeue(looked.alone, tick_id, replay=replay, urgent=False)
        else:
            emails = check_queued(parts.checker, delivery, parts.durations).emails_queued
        if emails:
            huey.wake("mail")


def declare_ticks(huey: LeasedHuey, duties: Duties, schedule: str, timezone: str) -> None:
    """The scheduler's tick, the catch-up of a missed one, and the rescue of sections lost on the way."""
    if schedule != OFF:

        @huey.periodic_task(is_due(schedule), name="tick")  # type: ignore[untyped-decorator]  # huey has no types
        def tick(turn: Turn) -> None:
            duties.tick(turn.scheduled_at or duties.clock(), turn.wait)

    is_late = False

    @huey.control(every=duties.durations.rescue)
    def rescue(turn: Turn) -> None:
        nonlocal is_late
        ran = duties.catch_up(latest_slots(schedule, timezone, duties.clock()), turn.wait)
        if not any(report.begun for report in ran):  # what was queued a moment ago is not lost yet
            is_late = duties.rescue(search=is_late)


def declare_looks(huey: LeasedHuey, parts: Wiring, snapshot: Callable[[], Snapshot]) -> None:
    """Looks between the ticks; while checks of the floor are under way those go first."""

    def is_busy() -> bool:
        seen = snapshot()
        return bool(seen.running or seen.buffered or seen.delayed or seen.waiting)

    @huey.control(every=parts.durations.minute)
    def looks(turn: Turn) -> float:
        began = time.monotonic()
        try:
            parts.looks.minute(lambda: turn.is_stopping or is_busy(), lambda: huey.wake("mail"))
        except DatabaseError as error:
            log.warning("no extra looks in this minute", extra={"error": str(error)})
        return max(parts.durations.minute - (time.monotonic() - began), 0.0)

    @huey.on_shutdown(name="leave_looks")  # type: ignore[untyped-decorator]  # huey has no types
    def leave_looks() -> None:
        with suppress(DatabaseError):  # the lease ends by itself
            parts.looks.leave()


def declare_mail(huey: LeasedHuey, parts: Wiring) -> None:
    """The mailer: woken by a commit that owes mail and by a beat that knows of some."""

    @huey.control(every=20 * parts.durations.beat, stops_last=True)
    def mail(turn: Turn) -> float | None:
        return send_due_mail(parts.mail, f"{parts.incarnation}:mail", stop=turn.stop).wait_seconds


def declare_alerts(huey: LeasedHuey, parts: Wiring) -> None:
    """Tells the operator what is wrong, from what the beats say: no Redis command."""
    unclaimed = Unclaimed()

    @huey.control(every=4 * parts.durations.beat)
    def alerts(turn: Turn) -> None:
        if not turn.is_stopping:
            raise_alerts(parts, parts.health, unclaimed)


def declare_maintenance(huey: LeasedHuey, maintenance: Maintenance) -> None:
    """The daily tidying, at night; on several servers each takes what the others leave."""

    @huey.periodic_task(is_due("20 3 * * *"), name="maintenance")  # type: ignore[untyped-decorator]  # huey has no types
    def tidy(turn: Turn) -> None:
        maintenance.run(interrupted=lambda: turn.is_stopping)


def heed(heard: Heard | None, consumer: LeasedConsumer) -> None:
    """Do what the registry answered to a beat: pause, resume, drain as an operator wished, send mail that is due.

    Without an answer no check could be committed either: what is held goes back, to those who may have one.
    """
    if heard is None:
        consumer.pause()
        return
    if heard.status == "draining":
        consumer.request_stop()
    elif heard.status == "paused":
        consumer.pause()
    else:
        consumer.resume(heard.share)
    if heard.mail_due:
        consumer.huey.wake("mail")


def run_consumer(*, replay: bool = False) -> None:
    """Run until SIGTERM, then leave within 30 s: unstarted jobs go back at once, running ones get 25 s."""
    parts, supervisor = wiring(), take_supervisor()
    log.info("consumer starts", extra={"worker_id": parts.incarnation, "threads": parts.settings.workers})
    errors = LastError(parts.clock)
    logging.getLogger().addHandler(errors)
    consumer = build(parts, replay=replay, errors=errors)
    watchdog = Watchdog(Notifier(supervisor.notify_socket), supervisor.watchdog_seconds, Pulse(parts, consumer).hung)
    watchdog.start()
    try:
        consumer.run()
    finally:
        watchdog.stop()
        parts.close()


def _worker(parts: Wiring, replay: bool) -> Worker:
    ticks = not replay and parts.settings.cron_schedule != OFF
    abilities = {"scheduler": ticks, "mailer": not replay, "release": ROOT.resolve().name}
    return Worker(parts.incarnation, parts.name, socket.gethostname(), parts.settings.workers, abilities)
