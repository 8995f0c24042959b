"""The doctor: every dependency tried for real, and for each that is not well, what to do about it.

Examinations run side by side and none may take longer than ten seconds. They change nothing: the scraper is asked to
scrape nothing, the catalog for a number that no section has, Resend to send nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import AuthenticationError, ResponseError

from shared.database import DatabaseError
from shared.health.checks_workers import WorkersCheck, living
from shared.health.doctor_machine import clock, disk, timezone, units
from shared.health.doctor_services import asu, resend, scraper
from shared.health.findings import Finding, fine, note, problem
from shared.health.probes import Probes
from shared.migrations import MIGRATIONS, read_migrations
from shared.parts import Parts
from shared.redis import RedisError, Writes, refuses_writes
from shared.routines import outdated
from shared.settings import ROOT, SettingsError, unknown_names

DEADLINE_SECONDS = 10.0
SLOW_REDIS_MS = 50.0
_REMEMBERING = ("noeviction",)

Examination = Callable[[Parts], Iterator[Finding]]


def examine(parts: Parts) -> list[Finding]:
    """All findings, in the order of the examinations."""
    questions = {name: _asking(examination, parts) for name, examination in EXAMINATIONS.items()}
    answers = Probes(DEADLINE_SECONDS).ask(questions)
    found: list[Finding] = []
    for name, answer in answers.items():
        again = "Look at the message; `./run.sh ops doctor` again when mended."
        found += [problem(name, answer.fault.words, again)] if answer.fault else answer.value
    return found


def unreadable_settings(error: SettingsError) -> list[Finding]:
    """The findings when the settings cannot be read: each problem with its remedy."""
    return [problem("settings", one.name, f"{one.remedy}. Then restart both services.") for one in error.problems]


def _asking(examination: Examination, parts: Parts) -> Callable[[], list[Finding]]:
    return lambda: list(examination(parts))


def settings(parts: Parts) -> Iterator[Finding]:
    """Everything that production needs is set, and what is optional is known to be missing."""
    missing = parts.settings.missing()
    for name in missing:
        meaning = parts.settings.problem(name).remedy.removeprefix("not set; ")
        yield problem("settings", f"{name} is not set", f"Set it in .env: {meaning}")
    for unknown in unknown_names():
        yield note("settings", str(unknown), "Mend the name in .env, or take the line out")
    if not missing:
        yield fine("settings", "everything that is required is set")
    optional = {
        "ALERT_EMAIL": "nobody is told by mail when something is wrong",
        "HEARTBEAT_URL": "nobody notices when the whole server is gone",
        "RESEND_WEBHOOK_SECRET": "bounces and complaints are not heard of",
    }
    for name, consequence in optional.items():
        if getattr(parts.settings, name.lower()) is None:
            yield note("settings", f"{name} is not set: {consequence}", f"Set {name} in .env (see .env.example)")


def redis(parts: Parts) -> Iterator[Finding]:
    """It answers quickly, is new enough, and forgets nothing when memory gets short."""
    if parts.settings.redis_url is None:
        return
    try:
        latency = min(_milliseconds(parts.redis.ping) for _ in range(3))
        Writes().try_one(parts.redis, parts.settings.redis_prefix)
    except AuthenticationError:
        yield problem("redis", "it refuses the password", "Correct the password in REDIS_URL")
        return
    except RedisError as error:
        if refuses_writes(error):
            remedy = "Raise `maxmemory`, or let REDIS_URL lead to the master"
            yield problem("redis", f"it takes no writes ({type(error).__name__})", remedy)
            return
        remedy = "Start it (`systemctl start redis-server`) or correct host and port in REDIS_URL"
        yield problem("redis", f"it does not answer ({type(error).__name__})", remedy)
        return
    slow = latency > SLOW_REDIS_MS
    far = note("redis", f"an answer takes {latency:.0f} ms", "Take one in the same region, or on this machine")
    yield far if slow else fine("redis", f"answers in {latency:.1f} ms")
    yield from _redis_server(parts)


def _redis_server(parts: Parts) -> Iterator[Finding]:
    try:
        told: Any = parts.redis.info()
    except ResponseError:
        yield note("redis", "it does not tell its version (a stand-in, or INFO is forbidden)")
        return
    version = str(told.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        yield problem("redis", f"version {version} is too old", "Redis 6.2, Valkey 7.2 or newer")
    else:
        yield fine("redis", f"version {version}")
    policy = told.get("maxmemory_policy")
    if policy not in (None, *_REMEMBERING):
        remedy = "`maxmemory-policy noeviction`: with another one queued checks are forgotten when memory is short"
        yield problem("redis", f"eviction policy {policy}", remedy)
    elif policy:
        yield fine("redis", f"eviction policy {policy}")


def database(parts: Parts) -> Iterator[Finding]:
    """It answers, has every migration, and its clock agrees with ours."""
    chosen = parts.settings.transport
    if not (parts.settings.database_url or parts.settings.supabase_url):
        return
    try:
        schema = parts.database.call("pmc_read_schema")
        before = datetime.now(UTC)
        server_time = datetime.fromisoformat(parts.database.call("pmc_read_schema")["server_time"])
    except DatabaseError as error:
        missing = error.code in ("42883", "PGRST202")
        remedy = "`./run.sh migrate`" if missing else "See whether it runs, and whether address and key are right"
        yield problem("database", "it has not been migrated" if missing else str(error), remedy)
        return
    yield fine("database", f"PostgreSQL {schema['server_version']} over the {chosen} transport")
    if schema["migrations"] is None:
        yield note("database", "the migrations were applied by another tool than `./run.sh migrate`")
    elif pending := {one.version for one in read_migrations(MIGRATIONS)} - set(schema["migrations"]):
        yield problem("database", f"{len(pending)} migrations are missing", "`./run.sh migrate`")
    elif old := outdated(schema.get("routines") or {}):
        yield problem("database", f"SQL functions of another release: {', '.join(old)}", "`./run.sh migrate`")
    else:
        yield fine("database", "every migration and SQL function is in place")
    for what in schema.get("outside") or ():
        yield problem("database", f"missing: {what}", "`./run.sh migrate` puts it back")
    yield clock("the database's", server_time, before)


def consumers(parts: Parts) -> Iterator[Finding]:
    """At least one is alive."""
    try:
        check = WorkersCheck(living(parts.database.call("pmc_list_workers")))
    except (DatabaseError, SettingsError):
        return  # said by the database's own examination
    if alive := [one.worker_name for one in check.alive()]:
        yield fine("consumers", f"alive: {', '.join(alive)}")
    else:
        remedy = "`systemctl start pickmyclass-consumer`, or `./run.sh consumer`"
        yield problem("consumers", "none is alive: nothing is checked", remedy)
    if parts.settings.cron_schedule == "off":
        yield note("consumers", "CRON_SCHEDULE is off: someone else must call /api/cron every half hour")


def machine(parts: Parts) -> Iterator[Finding]:
    """Disk, time zone, units."""
    yield disk(ROOT)
    yield timezone(parts.settings.cron_timezone)
    yield from units(shutil.which("systemctl"))


EXAMINATIONS: dict[str, Examination] = {
    "settings": settings,
    "redis": redis,
    "database": database,
    "scraper": scraper,
    "asu": asu,
    "resend": resend,
    "consumers": consumers,
    "machine": machine,
}


def _milliseconds(call: Callable[[], object]) -> float:
    began = datetime.now(UTC)
    call()
    return (datetime.now(UTC) - began).total_seconds() * 1000
