"""Between one side of a rehearsal and the scraper: writes down who looked at what, and keeps look-ups in flight.

An answer is fetched before it is kept, so what a side gets later is what was true when it asked.
"""

from __future__ import annotations

import threading

import requests

from workshop.parts.web import Answer, Request

_PATIENCE = 60.0  # seconds


class Turnstile:
    """Answers the look-ups of one side; give it to `workshop.parts.web.Server`."""

    def __init__(self, scraper_url: str) -> None:
        """Pass everything on to the scraper at `scraper_url`."""
        self._scraper_url = scraper_url
        self._to_keep: frozenset[str] = frozenset()
        self._kept: set[str] = set()
        self._looks: set[str] = set()
        self._changed = threading.Condition()

    def __call__(self, request: Request) -> Answer:
        """Pass a look-up on; keep its answer as long as its section's answers are to be kept."""
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        answer = requests.post(
            f"{self._scraper_url}{request.path}", data=request.body, headers=headers, timeout=_PATIENCE
        )
        class_nbr = str(request.fields().get("sectionNumber"))
        with self._changed:
            self._looks.add(class_nbr)
            if class_nbr in self._to_keep:
                self._kept.add(class_nbr)
                self._changed.notify_all()
                self._changed.wait_for(lambda: class_nbr not in self._to_keep, _PATIENCE)
                self._kept.discard(class_nbr)
        return Answer(answer.status_code, answer.content, answer.headers.get("content-type", "application/json"))

    def keep(self, *class_nbrs: str) -> None:
        """From now on keep the answers about these sections."""
        with self._changed:
            self._to_keep = frozenset(class_nbrs)

    def wait_until_kept(self) -> bool:
        """Wait until look-ups of all these sections are in flight, and say whether they are."""
        with self._changed:
            return self._changed.wait_for(self._are_kept, _PATIENCE)

    def let_go(self) -> bool:
        """Hand over what was kept, and say whether all of it was still in flight."""
        with self._changed:
            in_flight = self._are_kept()
            self._to_keep = frozenset()
            self._changed.notify_all()
            return in_flight

    def take_looks(self) -> set[str]:
        """The sections looked at since this was last asked."""
        with self._changed:
            looks, self._looks = self._looks, set()
            return looks

    def _are_kept(self) -> bool:
        return self._kept >= self._to_keep
