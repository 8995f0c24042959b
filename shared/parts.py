"""A process's parts as the rooms see them that are built before the wiring: what they may ask for, and nothing more."""

from __future__ import annotations

from typing import Protocol

from shared.checks.measures import Measures
from shared.clock import Clock
from shared.database import Database
from shared.lock import Lock
from shared.mail.send import MailRoom
from shared.queue import LeasedHuey
from shared.redis import Redis
from shared.settings import Settings
from shared.source.asu import Asu
from shared.source.breaker import Breaker
from shared.source.turns import Pause


class Parts(Protocol):
    """`shared.wiring.Wiring` is one. Each part is made at first use; `incarnation` names this process for good."""

    @property
    def settings(self) -> Settings: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def database(self) -> Database: ...
    @property
    def redis(self) -> Redis: ...
    @property
    def huey(self) -> LeasedHuey: ...
    @property
    def breaker(self) -> Breaker: ...
    @property
    def breakers(self) -> dict[str, Breaker]: ...
    @property
    def pauses(self) -> dict[str, Pause]: ...
    @property
    def asu(self) -> Asu: ...
    @property
    def lock(self) -> Lock: ...
    @property
    def mail(self) -> MailRoom: ...
    @property
    def measures(self) -> Measures: ...
