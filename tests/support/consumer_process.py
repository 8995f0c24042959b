"""A consumer to be killed: `python -m tests.support.consumer_process URL WORKER_ID DIVISOR LOG`.

Its task `nap` sleeps as long as its job says and notes beginning, end and how many ran beside it; `suicide` takes
the whole process with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace

from huey.api import Task

from shared.durations import Durations
from shared.queue import LeasedHuey
from shared.queue.jobs import Delivery, RetryLater


def main(url: str, worker_id: str, divisor: str, log: str) -> None:
    """Run until SIGTERM."""
    durations = replace(Durations().divided_by(float(divisor)), doorbell=5.0)
    huey = LeasedHuey(redis_url=url, durations=durations)
    lock, running = threading.Lock(), 0

    def note(event: str, key: str, beside: int = 0) -> None:
        line = json.dumps({"event": event, "key": key, "at": time.time(), "beside": beside})
        with open(log, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    @huey.task(name="nap", context=True)
    def nap(seconds: float, task: Task) -> None:
        nonlocal running
        delivery: Delivery = task.delivery
        with lock:
            note("begin", delivery.key, running)
            running += 1
        time.sleep(seconds)
        with lock:
            running -= 1
            note("end", delivery.key)

    @huey.task(name="suicide", context=True)
    def suicide(task: Task) -> None:
        delivery: Delivery = task.delivery
        note("begin", delivery.key)
        os.kill(os.getpid(), signal.SIGKILL)

    @huey.task(name="fail", context=True)
    def fail(delay: float, task: Task) -> None:
        delivery: Delivery = task.delivery
        note("begin", f"{delivery.key}#{delivery.attempt}")
        if delivery.attempt == 1:
            raise RetryLater(delay, "not yet")

    consumer = huey.create_consumer(workers=4, worker_id=worker_id)
    huey.on_startup("ready")(lambda: note("ready", ""))
    consumer.run()
    os._exit(0 if consumer.left_cleanly else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
