"""One section's way through the files of `shared/`, measured: docs/architecture.md lists what a reader has to open."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import huey_app
from shared.queue import Turn
from shared.sections.slots import group_at
from shared.settings import ROOT
from tests.support.redis import wait_until
from tests.support.stage import EVEN, ODD, Stage

pytestmark = pytest.mark.real_redis

BESIDE = {"beat", "rescue", "alerts", "looks", "maintenance"}
"""Controls whose threads no section passes."""


class Footprints:
    """The files of `shared/` whose functions are called, in every thread that begins after this."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.counts = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or not self.counts or threading.current_thread().name in BESIDE:
            return
        code, path = frame.f_code, frame.f_code.co_filename
        if path == "<string>" and "self" in frame.f_locals:  # the methods that dataclasses write
            path = getattr(sys.modules.get(type(frame.f_locals["self"]).__module__), "__file__", None) or path
        if path.startswith(f"{ROOT}/shared/") and path.endswith(".py") and code.co_name != "<module>":
            self.files.add(str(Path(path).relative_to(ROOT / "shared")))


@contextmanager
def consuming(stage: Stage, feet: Footprints) -> Iterator[Callable[[], None]]:
    """A consumer with all of its duties; what this hands out is the scheduler's tick, run here and now."""
    consumer = huey_app.build(stage.parts)
    threading.setprofile(feet)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    sys.setprofile(feet)
    tick = next(control for control in consumer.controls if control.name == "tick")
    try:
        yield lambda: tick.function(Turn(threading.Event(), stage.clock())) and None
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        consumer.request_stop()
        thread.join(30)


def files_told() -> set[str]:
    """The files that docs/architecture.md names on the way."""
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.split("### File by file\n")[1].split("\n## ")[0]
    rows = (re.match(r"\| `(.*?)/?` \|(.*)\|", line) for line in section.splitlines())
    return {f"{row[1]}/{name}".removeprefix("./") for row in rows if row for name in re.findall(r"`(\w+\.py)`", row[2])}


def test_a_section_goes_through_the_files_that_the_architecture_names(stage: Stage, redis_url: str) -> None:
    stage.rewire(REDIS_URL=redis_url)
    section = EVEN if group_at(stage.clock()) == "even" else ODD
    stage.world.add_watch(section)
    feet = Footprints()
    with consuming(stage, feet) as tick:
        tick()
        wait_until(lambda: stage.world.one("select count(*) from class_states") == 1, 20)
        stage.show(section, seats_available=3)
        stage.clock.forward(hours=1)
        feet.counts = True
        tick()
        wait_until(lambda: stage.inbox.addresses(), 20)
        wait_until(lambda: stage.world.outbox(section)[0][2] == "sent", 20)
        feet.counts = False
    assert feet.files == files_told()
