"""The messages of the queue: JSON text that any program can read, and that is refused when it is not ours."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from huey.exceptions import ConfigurationError
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.queue.dead_letters import letter_for
from shared.queue.jobs import Delivery, Job
from shared.settings import load
from shared.wiring import Wiring

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(payload=st.dictionaries(st.text(), values), attempts=st.integers(0, 9), now=st.none() | st.integers(0, 2**45))
def test_a_delivery_survives_its_way_through_redis(payload: dict[str, Any], attempts: int, now: int | None) -> None:
    sent = Delivery("2261:12345", "abc", "work", payload, attempts=attempts, now=now, expires=7, due=8, pushed=9)
    text = sent.as_json()
    assert Delivery.from_json(sent.entry, text) == sent
    assert json.loads(text)["payload"] == payload
    assert text.startswith('{"id":"abc","deaths":0,"attempts":'), "the scripts read these where they stand"


@given(text=st.text())
def test_what_is_not_ours_becomes_a_delivery_without_a_task(text: str) -> None:
    delivery = Delivery.from_json("a x", text)
    assert delivery.task == "" or json.loads(text)["task"]


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ü", "x" * 201])
def test_a_key_that_the_bookkeeping_could_not_hold_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        Job("work", key)


def test_a_dead_letter_is_json_and_keeps_no_endless_error() -> None:
    letter = json.loads(letter_for(Delivery("a", "x", "work", {"k": 'ü"\n'}), "word", "long " * 1000, 17))
    assert letter["first_failure"] == letter["last_failure"] == 17
    assert len(letter["error"]) == 500
    assert letter["job"]["payload"] == {"k": 'ü"\n'}


@pytest.mark.parametrize("word", ["args", "eta", "on_complete", "on_error"])
def test_what_a_leased_job_cannot_keep_is_refused_when_it_is_queued(word: str) -> None:
    task = SimpleNamespace(args=(), eta=None, on_complete=None, on_error=None)
    setattr(task, word, ("anything",))
    parts = Wiring(load({"REDIS_URL": "redis://127.0.0.1:1/0"}, None))
    with pytest.raises(ConfigurationError, match="keyword arguments only"):
        parts.huey.enqueue(task)
