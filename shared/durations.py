"""Every duration that the moving parts agree on, in one table of seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Durations:
    """All in seconds. Handed to whoever waits, so that chaos can run the same rules ten times as fast."""

    lease: float = 35.0
    """How long a consumer keeps its jobs without a sign of life. With a beat on top, after which the others look, a
    lost server's sections are checked within a minute."""
    lease_renewal: float = 15.0
    """How often it gives one while it holds jobs: one that is lost can be made up for."""
    doorbell: float = 300.0
    """The longest an idle fetcher blocks before it looks at itself again."""
    beat: float = 15.0
    """How often a consumer reports to Postgres."""
    beat_is_old: float = 35.0
    """The age at which such a report no longer counts as a sign of life."""
    scrape: float = 90.0
    """How long a look-up may take in all."""
    user_scrape: float = 60.0
    """The same for a student who waits for it."""
    breaker_open: float = 120.0
    """How long an open breaker refuses before it lets a probe through."""
    probe_lease: float = 100.0
    """How long a probe may take: longer than the scraper's 90 s, so that only a killed probe runs out."""
    pause: float = 60.0
    """How long queued jobs are held where a pause has no end of its own."""
    pause_floor: float = 5.0
    """The shortest pause that a source gets when it asks for one, whatever it says; the next is twice as long."""
    pause_quiet: float = 600.0
    """After so long without a pause the next is the first again."""
    call: float = 20.0
    """How long one call to the catalog may take."""
    minute: float = 60.0
    """The minute of LOOKS_PER_MINUTE."""
    turns_ahead: float = 60.0
    """The longest time that one process is given turns for."""
    hand_on: float = 15.0
    """How long a consumer leaves the work to others after the source could not be reached from there."""
    retry_base: float = 1.0
    retry_cap: float = 60.0
    rescue: float = 180.0
    """How often sections without an ended attempt are looked for."""
    slot_grace: float = 120.0
    """How old a slot must be before the rescue looks at it."""
    tick_stale: float = 600.0
    """The age at which an unfinished tick counts as lost and its slot may be ticked again."""
    tick_spread: float = 3.0
    """How far apart several servers begin the same tick, so that all but one find it begun."""
    lock: float = 1500.0
    """How long a tick may hold its lock."""
    lock_first_delay: float = 5.0
    lock_patience: float = 300.0
    """How long the scheduler's own tick waits for it, in all."""
    mail_lease: float = 120.0
    """How long a mailer keeps its rows or its batch: longer than one exchange with Resend."""
    mail_answer: float = 20.0
    """How long Resend may take to answer."""
    drain: float = 25.0
    """How long running jobs may go on after SIGTERM."""
    stop: float = 30.0
    """After SIGTERM the process is gone by then."""

    def divided_by(self, factor: float) -> Durations:
        """The same table, every wait `factor` times as short."""
        return Durations(**{name: value / factor for name, value in asdict(self).items()})


DEFAULT = Durations()
"""The table as production has it. Whatever has a duration of its own by default takes it from here."""
