"""SIGTERM under load, to the real processes: nothing is lost, nobody waits for a scrape that hangs.

The processes run with their durations divided by ten: what is 25 s of grace there is 2.5 s here.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import settings
from shared.checks.tick import TickOrder
from shared.sections.section import Section
from shared.settings import ROOT, load
from shared.wiring import Wiring
from tests.support.redis import wait_until
from tests.support.stage import COURSE, SECRET, Stage
from tests.support.term import TERM
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Timeline, Values
from workshop.parts.processes import Child, free_port, start_child

SECTIONS = [Section(TERM, f"{20000 + 2 * number}") for number in range(60)]
HANGING = SECTIONS[0]
LIMIT = 30.0  # seconds: what systemd would allow, whatever the speed
Start = Callable[..., Child]


@pytest.fixture
def load_of_work(stage: Stage) -> Iterator[Wiring]:
    """Sixty sections of the slot, each watched, one of which the scraper hangs on; parts on the real clock."""
    timelines = [Timeline(section.class_nbr, COURSE, [(0, Values("Staff", 0, 30))]) for section in SECTIONS]
    stage.campus.campus = Campus(TERM, timelines, VirtualClock(1))
    stage.campus.latency_ms = 150
    users = [stage.world.add_user() for _ in range(6)]
    for number, section in enumerate(SECTIONS):
        stage.world.add_watch(section, user=users[number % 6])
    parts = Wiring(load(stage.environment, None))
    yield parts
    parts.close()


@pytest.fixture
def start(stage: Stage, tmp_path: Path) -> Iterator[Start]:
    """`start("consumer")` starts the real command with the stage's settings and a tenth of every duration."""
    children: list[Child] = []

    def go(*words: str, **more: str) -> Child:
        environment = dict.fromkeys(settings.names(), "") | stage.environment | {"LOG_FORMAT": "text"} | more
        with (tmp_path / f"{len(children)}.log").open("wb") as log:
            command = [sys.executable, "commands.py", *words, "--speed", "10"]
            children.append(start_child(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return children[-1]

    yield go
    for child in children:
        child.kill()
        child.wait(10)


def running(stage: Stage) -> int:
    return int(stage.world.one("select count(*) from pickmyclass.section_checks where checked_at is not null"))


def test_a_consumer_told_to_stop_leaves_cleanly_although_a_scrape_hangs_and_the_next_one_does_the_rest(
    stage: Stage, load_of_work: Wiring, start: Start
) -> None:
    stage.campus.faults.add({"kind": "hang", "match": HANGING.class_nbr, "seconds": 60.0})
    queue = load_of_work.huey
    load_of_work.ticker.tick(TickOrder(load_of_work.clock(), "even", "http"))

    first = start("consumer", CRON_SCHEDULE="off")
    wait_until(lambda: running(stage) >= 5, timeout=LIMIT)
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGTERM)  # a second one changes nothing
    assert first.wait(LIMIT) == 0

    done, counts = running(stage), queue.counts()
    assert 5 <= done < len(SECTIONS)
    assert (counts.waiting, counts.leased, counts.delayed) == (len(SECTIONS) - done, 0, 0)
    assert stage.world.one("select status from pickmyclass.workers") == "offline"

    stage.campus.faults.clear()
    stage.campus.latency_ms = 0
    second = start("consumer", CRON_SCHEDULE="off")
    wait_until(lambda: running(stage) == len(SECTIONS), timeout=LIMIT)
    second.send_signal(signal.SIGTERM)
    assert second.wait(LIMIT) == 0
    assert stage.campus.campus.lookups.total() <= len(SECTIONS) + 4, "only what was running was looked up twice"


def test_a_consumer_that_cannot_hand_back_stays_listed_for_a_take_over(
    stage: Stage, load_of_work: Wiring, start: Start
) -> None:
    load_of_work.ticker.tick(TickOrder(load_of_work.clock(), "even", "http"))
    consumer = start("consumer", CRON_SCHEDULE="off")
    wait_until(lambda: running(stage) >= 5, timeout=LIMIT)
    stage.redis.kill()
    try:
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(LIMIT) == 0
    finally:
        stage.redis.start()
    assert stage.world.one("select status from pickmyclass.workers") == "active"


def test_functions_told_to_stop_answer_what_they_have_begun_and_take_nothing_new(
    stage: Stage, load_of_work: Wiring, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, told = threading.Event(), threading.Event()
    look_up = stage.campus.campus.look_up

    def slowly(class_nbr: str, term: str) -> dict[str, Any] | None:
        asked.set()
        told.wait(LIMIT)
        return look_up(class_nbr, term)

    monkeypatch.setattr(stage.campus.campus, "look_up", slowly)
    port = free_port()
    functions = start("functions", HOST="127.0.0.1", PORT=str(port))
    address = f"http://127.0.0.1:{port}/api"
    wait_until(lambda: answers(f"{address}/monitoring/health?probe=live"), timeout=LIMIT)
    got: list[requests.Response] = []

    def ask() -> None:
        body = {"term": TERM, "class_nbr": SECTIONS[1].class_nbr}
        headers = {"Authorization": f"Bearer {SECRET}"}
        got.append(requests.post(f"{address}/queue/process-section", json=body, headers=headers, timeout=LIMIT))

    asking = threading.Thread(target=ask)
    asking.start()
    assert asked.wait(LIMIT)
    functions.send_signal(signal.SIGTERM)
    wait_until(lambda: not answers(f"{address}/monitoring/health?probe=live"), timeout=LIMIT)
    told.set()
    asking.join(LIMIT)
    assert functions.wait(LIMIT) == 0
    assert [answer.status_code for answer in got] == [200]


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False
