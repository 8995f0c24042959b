"""The trials on Huey as it comes: a Redis list, no results, four threads; at most once."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from huey import RedisHuey

from workshop.bench.peers.trial import Notes, run


class PlainHuey:
    """`RedisHuey` with its defaults."""

    def __init__(self, url: str, notes: Notes) -> None:
        self.huey = RedisHuey("bench", url=url, results=False)
        logging.getLogger("huey").setLevel(logging.CRITICAL)  # it logs each failure that we make on purpose

        @self.huey.task(retries=1, retry_delay=1)  # type: ignore[untyped-decorator]  # huey has no types
        def nap(number: int, seconds: float, fails_once: bool) -> None:
            times = notes.began(number)
            if seconds:
                time.sleep(seconds)
            notes.ended()
            if fails_once and times == 1:
                raise RuntimeError("on purpose")

        self._nap: Any = nap

    def enqueue(self, count: int, nap: float) -> None:
        for number in range(count):  # it has no way to queue many at once
            self._nap(number, nap, False)

    def enqueue_one(self, number: int, *, fails_once: bool = False) -> None:
        self._nap(number, 0.0, fails_once)

    def work(self) -> None:
        consumer = self.huey.create_consumer(workers=4)
        consumer._set_signal_handlers = lambda: None  # it runs in a thread here
        threading.Thread(target=consumer.run, daemon=True).start()

    def is_empty(self) -> bool:
        return True  # it does not acknowledge


if __name__ == "__main__":
    run(PlainHuey)
    os._exit(0)
