"""Builds the stores and clients once and hands them to the flows. Nothing connects before it is used.

`wiring()` is the process's own; tests and the demo build a `Wiring` of their own with another clock.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from shared import logs
from shared.checks.check import Checker
from shared.checks.check_now import CheckNow
from shared.checks.look import Looker
from shared.checks.looks import Looks, Pace
from shared.checks.measures import MeasuredChecker, Measures
from shared.checks.tick import Ticker
from shared.clock import Clock, DatabaseClock, in_milliseconds
from shared.database import Database, connect_postgres
from shared.database_supabase import SupabaseDatabase
from shared.durations import Durations
from shared.health.health import Health
from shared.health.maintenance import Maintenance
from shared.lock import Lock
from shared.mail.renderer import Renderer
from shared.mail.resend import ResendClient
from shared.mail.send import MailRoom, MailTiming
from shared.mail.tokens import UnsubscribeTokens
from shared.queue import LeasedHuey
from shared.redis import Redis, connect_redis
from shared.sections.section import Section
from shared.settings import Settings, SettingsError, load
from shared.source.answers import Source
from shared.source.asu import Asu
from shared.source.breaker import Breaker
from shared.source.scraper import Scraper
from shared.source.sources import Guarded, Paced, Sources
from shared.source.turns import Lane, Pause, Turns
from shared.students.account import Account, Unsubscribe
from shared.students.adding import Adding
from shared.students.address_tests import AddressTests
from shared.students.auth_service import AuthService
from shared.students.front import Front
from shared.students.lookups import room_for_lookups
from shared.students.sessions import Sessions
from shared.students.signing_in import SigningIn
from shared.students.tokens import AccessTokens, access_tokens
from shared.students.watches import Watches
from shared.students.webhooks import Webhooks

T = TypeVar("T")


class part(Generic[T]):  # noqa: N801 - it is read as a decorator
    """A property that is built once per `Wiring`, whatever the number of threads that ask at the same time."""

    def __init__(self, build: Callable[[Wiring], T]) -> None:
        self._build, self.__doc__ = build, build.__doc__

    def __set_name__(self, owner: type[Wiring], name: str) -> None:
        self._name = name

    def __get__(self, parts: Wiring, owner: type[Wiring]) -> T:
        with parts.building:
            if self._name not in parts.__dict__:
                parts.__dict__[self._name] = self._build(parts)
            made: T = parts.__dict__[self._name]
            return made


class Wiring:
    """The parts of one process, each made at first use. Safe to share between threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        durations: Durations | None = None,
        replay: bool = False,
    ) -> None:
        """`clock` stands for every clock of the flows; none: the database's. `replay`: it is a replay's, and jobs carry
        its time.
        """
        self.settings, self.clock, self.replay = settings, clock or DatabaseClock(), replay
        self.lane: Lane = "people"  # a consumer's is "queue"
        self.durations = durations or Durations()
        self.name = settings.worker_name or socket.gethostname()
        self.incarnation = f"{self.name}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.building = threading.RLock()

    @part
    def database(self) -> Database:
        """The gateway, over the transport that the settings choose."""
        clock = self.clock if isinstance(self.clock, DatabaseClock) else None
        if self.settings.transport == "supabase":
            return SupabaseDatabase(self.needed("supabase_url"), self.needed("supabase_service_role_key"), clock=clock)
        return connect_postgres(self.needed("database_url"), pool_size=self.settings.workers + 4, clock=clock)

    # For what is asked and answered; the consumer's fetcher has a client of its own.
    redis: part[Redis] = part(lambda its: connect_redis(its.needed("redis_url"), timeout=2.0))

    @part
    def huey(self) -> LeasedHuey:
        """The leased queue."""
        return LeasedHuey(
            redis_url=self.needed("redis_url"),
            prefix=self.settings.redis_prefix,
            timezone=self.settings.cron_timezone,
            durations=self.durations,
            clock=in_milliseconds(self.clock),  # jobs expire by the clock that the slots use
            gate=self.settings.source if len(self.settings.sources) == 1 else "queue",
        )

    @part
    def breakers(self) -> dict[str, Breaker]:
        """Each source's breaker, in the order of choice. The only one is the queue's own."""
        names, queue = self.settings.sources, self.huey
        if len(names) == 1:
            return {names[0]: queue.breaker}
        client, prefix, bell = queue.storage.client, self.settings.redis_prefix, queue.storage.doorbell
        return {name: Breaker(client, prefix, bell, self.durations, name) for name in names}

    breaker: part[Breaker] = part(lambda its: next(iter(its.breakers.values())))
    pauses: part[dict[str, Pause]] = part(
        lambda its: {
            name: Pause(its.huey.storage.client, breaker.key, its.durations) for name, breaker in its.breakers.items()
        }
    )

    @part
    def turns(self) -> Turns:
        """When the catalog may be called."""
        calls, client = self.settings.calls_a_minute or 1, self.huey.storage.client
        return Turns(
            client,
            self.pauses["asu"],
            lane=self.lane,
            holder=self.incarnation,
            calls_a_minute=calls,
            durations=self.durations,
        )

    lock: part[Lock] = part(lambda its: its.huey.lock)
    scraper: part[Scraper] = part(lambda its: Scraper(its.needed("scraper_url"), its.needed("scraper_secret_token")))

    @part
    def asu(self) -> Asu:
        """The catalog's client."""
        contact, seconds = self.needed("source_contact"), self.durations.call
        if self.replay:  # its minutes are not ours, and nobody is to be spared
            return Asu(self.settings.asu_catalog_url, contact, call_seconds=seconds)
        return Asu(self.settings.asu_catalog_url, contact, self.turns.turn, call_seconds=seconds)

    sources: part[Sources] = part(lambda its: Sources(*map(its._guarded, its.settings.sources)))
    measures: part[Measures] = part(lambda _: Measures())
    checker: part[Checker] = part(lambda its: MeasuredChecker(its.database, its.sources, its.clock, its.measures))

    tokens: part[UnsubscribeTokens] = part(
        lambda its: UnsubscribeTokens(its.needed("unsubscribe_signing_secret"), its.settings.unsubscribe_legacy_secret)
    )

    @part
    def mail(self) -> MailRoom:
        """What sending mail needs; without a Resend key mail stays pending."""
        key, sender = self.settings.resend_api_key, self.settings.notification_from_email
        zone, site = ZoneInfo(self.settings.cron_timezone), self.needed("site_url")
        return MailRoom(
            database=self.database,
            resend=ResendClient(self.settings.resend_api_url, key, seconds=self.durations.mail_answer) if key else None,
            renderer=Renderer(site_url=site, sender=sender or "", zone=zone, tokens=self.tokens),
            on_recheck=self._recheck,
            timing=MailTiming(unit=self.durations.retry_base, lease=self.durations.mail_lease),
        )

    check_now: part[CheckNow] = part(
        lambda its: CheckNow(its.checker, its.mail, its.huey.dead_letters, its.durations.mail_lease)
    )
    watches: part[Watches] = part(lambda its: Watches(its.database, its.check_now, its.durations.user_scrape))
    lookups: part[threading.BoundedSemaphore] = part(lambda _: room_for_lookups())
    ticker: part[Ticker] = part(
        lambda its: Ticker(its.database, its.huey, its.lock, its.clock, its.durations, its.sources.listing_of)
    )
    looker: part[Looker] = part(
        lambda its: Looker(its.database, its.checker.read_listing, its.checker.strike, its.clock)
    )

    @part
    def looks(self) -> Looks:
        """Decides where to look between the ticks."""
        return Looks(
            self.database,
            self.looker,
            self.checker,
            listing_of=self.sources.listing_of,
            pace=lambda: Pace.of(
                self.settings, self.measures.seconds_of_a_look or self.durations.scrape, self.durations.minute
            ),
            expect=self.turns.expect if self.settings.sources[0] == "asu" else lambda _calls: None,
            worker=self.incarnation,
            timezone=self.settings.cron_timezone,
            clock=self.clock,
            durations=self.durations,
            replay=self.replay,
        )

    auth: part[AuthService] = part(lambda its: AuthService(its.needed("supabase_url"), its.needed("supabase_anon_key")))
    signing_in: part[SigningIn] = part(
        lambda its: SigningIn(its.auth, its.database, its.redis, its.settings.redis_prefix, its.clock)
    )
    front: part[Front] = part(lambda its: Front(its.database, its.clock))
    adding: part[Adding] = part(lambda its: Adding(its.database, its.watches, its.sources, its.clock, its.lookups))

    @part
    def address_tests(self) -> AddressTests:
        """Tries addresses again that bounced."""
        sender = self.settings.notification_from_email or ""
        return AddressTests(self.database, self.mail.resend, sender, self.needed("site_url"), self.clock)

    access_tokens: part[AccessTokens | None] = part(lambda its: access_tokens(its.settings))
    health: part[Health] = part(lambda its: Health(its))

    @part
    def sessions(self) -> Sessions:
        """Finds the sessions of the pages' visitors."""
        if self.access_tokens is None:
            raise SettingsError([self.settings.problem("SUPABASE_URL")])
        return Sessions(self.auth, self.access_tokens, self.redis, self.settings.redis_prefix)

    account: part[Account] = part(lambda its: Account(its.database, its.clock))
    unsubscribe: part[Unsubscribe] = part(lambda its: Unsubscribe(its.database, its.tokens, its.clock))
    webhooks: part[Webhooks] = part(lambda its: Webhooks(its.database, its.clock))
    maintenance: part[Maintenance] = part(lambda its: Maintenance(its.database, its.clock))

    def close(self) -> None:
        """Close what was opened. Parts that were never used are not opened for that."""
        for name in ("database", "redis", "huey"):
            if name in self.__dict__:
                getattr(self, name).close()

    def page_of(self, section: Section) -> str:
        """Where a student finds a section: the page of the first source. Needs nothing else to be set."""
        source: type[Scraper | Asu] = {"scraper": Scraper, "asu": Asu}[self.settings.sources[0]]
        return source.page_of(section)

    def _guarded(self, name: str) -> Guarded:
        """A source with what stands before it."""
        source: Source = self.asu if name == "asu" else self.scraper
        breaker, pause, is_asu = self.breakers[name], self.pauses[name], name == "asu"
        # The scraper's pause alone holds queued jobs, not people; where another source can stand in, it holds it all.
        paced = is_asu or len(self.breakers) > 1
        gate = Paced(breaker, pause, self.turns if is_asu and not self.replay else None) if paced else breaker
        return Guarded(source, gate, pause, self.measures.looked)

    def _recheck(self, sections: Sequence[Section]) -> bool:
        """Queue the sections that the mass-event guard wants to see once more; whether all of them went in."""
        return self.ticker.requeue(list(sections), "mass-event", replay=self.replay) == len(sections)

    def needed(self, name: str) -> str:
        """A required setting; raises `SettingsError` naming it when it is missing."""
        value: str | None = getattr(self.settings, name)
        if value is None:
            raise SettingsError([self.settings.problem(name.upper())])
        return value


def start_logs(settings: Settings) -> None:
    """Let this process log as the settings say: from the start on, also where nothing is built before it is asked."""
    key, secrets = settings.cron_secret or "", settings.secrets()
    logs.configure(level=settings.log_level, form=settings.log_format, key=key, secrets=secrets)


_wiring: Wiring | None = None
_making = threading.Lock()


def wiring(*, clock: Clock | None = None, durations: Durations | None = None) -> Wiring:
    """The process's own parts, from its environment. Raises `SettingsError` when a value is malformed.

    `clock` and `durations` count when the parts are made, at the first call: a chaos run hands its own in.
    """
    global _wiring
    with _making:
        if _wiring is None:
            settings = load()
            start_logs(settings)
            _wiring = Wiring(settings, clock=clock, durations=durations)
        return _wiring


def use(parts: Wiring | None) -> None:
    """Make `parts` the process's own (tests, the demo); `None` forgets them, so that the next call builds anew."""
    global _wiring
    with _making:
        _wiring = parts
