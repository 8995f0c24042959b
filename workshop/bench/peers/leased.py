"""The trials on the leased queue of this project."""

from __future__ import annotations

import os
import threading
import time

from shared.queue import Job, LeasedHuey
from shared.queue.jobs import RetryLater
from shared.redis import connect_redis
from workshop.bench.peers.trial import Notes, run


class Leased:
    """`LeasedHuey` as the product uses it."""

    def __init__(self, url: str, notes: Notes) -> None:
        self.huey = LeasedHuey(redis_url=url, prefix="bench:")
        self._looks = connect_redis(url)

        @self.huey.task(name="nap")  # type: ignore[untyped-decorator]  # huey has no types
        def nap(number: int, seconds: float, fails_once: bool) -> None:
            times = notes.began(number)
            if seconds:
                time.sleep(seconds)
            notes.ended()
            if fails_once and times == 1:
                raise RetryLater(1.0, "on purpose")

    def enqueue(self, count: int, nap: float) -> None:
        self.huey.push([_job(number, nap) for number in range(count)], int(time.time() * 1000))

    def enqueue_one(self, number: int, *, fails_once: bool = False) -> None:
        self.huey.push([_job(number, 0.0, fails_once)], int(time.time() * 1000))

    def work(self) -> None:
        consumer = self.huey.create_consumer(workers=4, worker_id=f"bench-{os.getpid()}")
        threading.Thread(target=consumer.run, daemon=True).start()

    def is_empty(self) -> bool:
        return not self._looks.exists(self.huey.storage.jobs)


def _job(number: int, seconds: float, fails_once: bool = False) -> Job:
    return Job("nap", f"job:{number}", {"number": number, "seconds": seconds, "fails_once": fails_once})


if __name__ == "__main__":
    run(Leased)
    os._exit(0)  # workers are daemons and hold nothing
