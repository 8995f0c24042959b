"""Asking several dependencies at once, none of which may hold up the answer.

Each question runs in a thread of its own and is given up at a common deadline. A thread cannot be stopped, so a
question that still hangs is not asked again beside itself: the next caller waits for the same answer. One that has
hung for long counts as lost and is asked anew, a few times at most, so that threads never pile up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from shared.health.faults import TIMEOUT, Fault, fault_of

DEADLINE_SECONDS = 2.0
LOST_SECONDS = 20.0
MOST_THREADS = 3

Question = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `value`, or with a `fault` none to rely on; `latency_ms` either way."""

    value: Any = None
    fault: Fault | None = None
    latency_ms: int = 0


class _Asked:
    """A question that is being asked by a thread of its own."""

    def __init__(self, question: Question) -> None:
        self.began = time.monotonic()
        self.answer: Answer | None = None
        self.done = threading.Event()
        context = copy_context()  # so that what is logged there still names the request
        threading.Thread(target=context.run, args=(self._ask, question), name="probe", daemon=True).start()

    def _ask(self, question: Question) -> None:
        value, fault = None, None
        try:
            value = question()
        except Exception as problem:
            fault = fault_of(problem)
        self.answer = Answer(value, fault, round((time.monotonic() - self.began) * 1000))
        self.done.set()


class Probes:
    """Asks named questions in parallel. Safe to share between threads."""

    def __init__(self, deadline: float = DEADLINE_SECONDS) -> None:
        """`deadline`: seconds that one round may take, whatever hangs."""
        self._deadline = deadline
        self._lock = threading.Lock()
        self._asked: dict[str, list[_Asked]] = {}

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Answer]:
        """The answer to each question; one that did not come in time is an error."""
        began = time.monotonic()
        asked = {name: self._start(name, question) for name, question in questions.items()}
        answers = {}
        for name, one in asked.items():
            one.done.wait(max(0.0, began + self._deadline - time.monotonic()))
            answers[name] = one.answer or Answer(
                fault=Fault(TIMEOUT, f"no answer within {self._deadline:g} s"),
                latency_ms=round((time.monotonic() - began) * 1000),
            )
        return answers

    def _start(self, name: str, question: Question) -> _Asked:
        with self._lock:
            running = [one for one in self._asked.get(name, ()) if not one.done.is_set()]
            lost = not running or time.monotonic() - running[-1].began > LOST_SECONDS
            if lost and len(running) < MOST_THREADS:
                running.append(_Asked(question))
            self._asked[name] = running
            return running[-1]
